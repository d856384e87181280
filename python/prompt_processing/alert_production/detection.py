"""Find sources on a background-subtracted image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import sep
from numpy.typing import NDArray

MAX_KERNEL_FWHM = 5.0
"""Widest detection kernel, pixels: beyond it the convolution costs more than it gains."""


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Sources above a threshold.

    Attributes
    ----------
    catalogue : structured `~numpy.ndarray`, shape (n,)
        The columns of ``sep.extract``.
    segmentation : `~numpy.ndarray` of int32, shape (height, width)
        Row number in the catalogue plus one; 0 is sky.
    """

    catalogue: NDArray[Any]
    segmentation: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.catalogue)


def detect(
    image: NDArray[np.float32],
    rms: NDArray[np.float32],
    fwhm: float,
    threshold: float = 5.0,
    unusable: NDArray[np.bool_] | None = None,
    min_pixels: int = 4,
) -> Detections:
    """Find sources with a matched filter, and separate those that overlap.

    Parameters
    ----------
    image, rms : `~numpy.ndarray`, shape (height, width)
        Background-subtracted image and the noise of its pixels.
    fwhm : `float`
        Of the stars, pixels; the kernel is a Gaussian.
    threshold : `float`, optional
        Significance of a filtered pixel.
    unusable : `~numpy.ndarray`, shape (height, width), optional
        Pixels in which nothing is to be found.
    min_pixels : `int`, optional
        Smallest source.

    Returns
    -------
    detections : `Detections`
    """
    sep.set_extract_pixstack(max(300_000, image.size // 8))
    catalogue, segmentation = sep.extract(
        image,
        threshold,
        err=rms,
        mask=unusable,
        minarea=min_pixels,
        filter_kernel=gaussian_kernel(min(fwhm, MAX_KERNEL_FWHM)),
        filter_type="matched",
        deblend_nthresh=16,
        deblend_cont=0.005,
        clean=True,
        segmentation_map=True,
    )
    return Detections(catalogue, segmentation)


def gaussian_kernel(fwhm: float) -> NDArray[np.float32]:
    """Return a Gaussian of maximum 1 out to 1 FWHM, an odd number of pixels wide."""
    half = max(1, round(fwhm))
    rows, columns = np.mgrid[-half : half + 1, -half : half + 1]
    return np.exp(-4 * np.log(2) * (rows**2 + columns**2) / fwhm**2).astype(np.float32)
