"""Options of the subtraction and of its kernel."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class KernelOptions:
    """Options of the kernel fit.

    Attributes
    ----------
    degrees : `tuple` of `int`
        Polynomial degree with each Gaussian, narrowest first.
    widths : `tuple` of `float`
        Sigma of each Gaussian in units of the expected kernel's; one of them is 1.
    minimum_sigma : `float`
        Least sigma of a Gaussian, pixels; a narrower one is undersampled.
    spatial_order : `int`
        Degree of the variation over the image; lowered for few stamps.
    maximum_half : `int`
        Largest half width of the kernel, pixels.
    iterations : `int`
        Solutions, with rejection of stamps between them.
    clip : `float`
        Stamps are rejected beyond this many robust sigmas of ln(chi2 / dof).
    model_error : `float`
        Fractional error of a pixel's flux under any kernel; it keeps the
        brightest stars from dominating the fit.
    prior : `float`
        Expected size of the weights of the unit-norm basis images.
    variations : `tuple` of `float`
        Expected sizes of those weights' variation over the image to choose from, largest first; the one that
        best predicts stars left out of the fit is used.
    flux_variation : `float`
        Expected variation of the flux ratio over the image, as a fraction: residuals of
        flat fields and clouds. Without it, corners without stars would have any flux scale.
    flux_change : `float`
        Stars whose flux ratio differs from the median by less than this fraction are never taken for
        variable.
    """

    degrees: tuple[int, ...] = (6, 4, 2)
    widths: tuple[float, ...] = (0.6, 1.0, 2.2)
    minimum_sigma: float = 0.7
    spatial_order: int = 2
    maximum_half: int = 36
    iterations: int = 4
    clip: float = 3.5
    model_error: float = 0.001
    prior: float = 0.015
    variations: tuple[float, ...] = (0.0075, 0.0025, 0.0008, 0.0002)
    flux_variation: float = 0.01
    flux_change: float = 0.08


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
        below, the less noisy one is. The axis along which a kernel widens least decides ...
    blurry_share : `float`
        ... and the same as a share of the sharper PSF's sigma, if that is less: in undersampled images, the
        errors of interpolation are at the scales that sharpening amplifies.
    convolve : {"science", "template"} or `None`
        Image to convolve with the fitted kernel, overriding that rule.
    from_psfs : `bool`
        Whether the kernel is that between the two PSF models where too few sources are in both images.
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
    blurry_share: float = 0.47
    convolve: Literal["science", "template"] | None = None
    from_psfs: bool = False
