"""Options of the subtraction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from .kernel import KernelOptions


@dataclass(frozen=True, slots=True)
class SubtractionOptions:
    """Options of the subtraction.

    Attributes
    ----------
    kernel : `KernelOptions`
        Options of the kernel fit.
    stamps : `int`
        Number of sources to fit the kernel on.
    minimum_snr : `float`
        Least signal-to-noise ratio of those sources.
    whitening_half : `int`
        Half width of the noise-whitening filter, pixels.
    grid : `int`
        Points along each side where the whitening filter is computed.
    background_box : `int`
        Boxes of the residual background, pixels.
    fine_background_box : `int`
        Boxes for the remaining fine structure, if any, pixels; wider for wide PSFs.
    bright_sigma : `float`
        Pixels connected to a saturated core and this many sky sigmas bright are
        flagged: no kernel fits wings to better than about a per cent.
    maximum_flux_ratio : `float`
        A kernel whose sum differs from 1 by more than this factor is refused.
    sharpening_sigma : `float`
        Smallest sigma of a kernel, pixels; below, the image to be matched
        is smoothed first.
    blurry_sigma : `float`
        Sigma of the kernel from one image to the other, pixels, above which the sharper image is convolved;
        below, the less noisy one is. The axis along which a kernel widens least decides.
    convolve : {"science", "template"} or `None`
        Image to convolve with the fitted kernel, overriding that rule.
    """

    kernel: KernelOptions = field(default_factory=KernelOptions)
    stamps: int = 250
    minimum_snr: float = 30.0
    whitening_half: int = 12
    grid: int = 5
    background_box: int = 256
    fine_background_box: int = 28
    bright_sigma: float = 20.0
    maximum_flux_ratio: float = 2.0
    sharpening_sigma: float = 0.6
    blurry_sigma: float = 0.8
    convolve: Literal["science", "template"] | None = None
