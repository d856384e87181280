"""Find sources on a background-subtracted image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import sep
from numpy.typing import NDArray

from prompt_processing.imaging.errors import DetectionError
from prompt_processing.imaging.row_bands import in_bands

MAX_KERNEL_FWHM = 6.0
"""Widest detection kernel, pixels: beyond it the convolution costs more than it gains."""


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Sources above a threshold.

    Attributes
    ----------
    catalogue : structured `~numpy.ndarray`, shape (n,)
        The columns of ``sep.extract``, measured on the filtered significance.
    segmentation : `~numpy.ndarray` of int32, shape (height, width)
        Row number in the catalogue plus one; 0 is sky.
    snr : `~numpy.ndarray`, shape (n,)
        Highest significance: for a star, its signal-to-noise ratio.
    flux : `~numpy.ndarray`, shape (n,)
        Approximate isophotal flux, unit of the image.
    """

    catalogue: NDArray[Any]
    segmentation: NDArray[np.int32]
    snr: NDArray[np.float64]
    flux: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.catalogue)


@numba.njit(cache=True, nogil=True, fastmath=True)
def _filter_columns(image, kernel, out, start, stop):  # type: ignore[no-untyped-def]
    """Convolve along columns by adding whole rows, so that the loop follows memory."""
    height, width = image.shape
    half = kernel.shape[0] // 2
    for y in range(start, stop):
        for x in range(width):
            out[y, x] = 0
        for k in range(-half, half + 1):
            if 0 <= y + k < height:
                weight = kernel[k + half]
                for x in range(width):
                    out[y, x] += weight * image[y + k, x]


@numba.njit(cache=True, nogil=True, fastmath=True)
def _filter_rows(image, kernel, rms, scale, start, stop):  # type: ignore[no-untyped-def]
    """Convolve along rows, in place, and divide by the noise."""
    width = image.shape[1]
    half = kernel.shape[0] // 2
    line = np.zeros(width + 2 * half, np.float32)
    for y in range(start, stop):
        line[half : half + width] = image[y]
        for x in range(width):
            image[y, x] = 0
        for k in range(2 * half + 1):
            weight = kernel[k] * scale
            for x in range(width):
                image[y, x] += weight * line[x + k]
        for x in range(width):
            noise = rms[y, x]
            image[y, x] = image[y, x] / noise if noise > 0 else np.float32(0)


def significance_image(
    image: NDArray[np.float32], rms: NDArray[np.float32], fwhm: float
) -> tuple[NDArray[np.float32], float]:
    """Filter an image with a Gaussian and divide it by the noise of the result.

    Parameters
    ----------
    image, rms : `~numpy.ndarray`, shape (height, width)
        Background-subtracted image and the uncorrelated noise of its pixels.
    fwhm : `float`
        FWHM of the Gaussian, pixels.

    Returns
    -------
    significance : `~numpy.ndarray` of float32, shape (height, width)
        Significance; a point source's peak is its signal-to-noise ratio.
    noise_factor : `float`
        Noise of the filtered image over that of a pixel.
    """
    kernel = _gaussian(fwhm)
    noise_factor = float(np.sum(kernel.astype(float) ** 2))
    out = np.empty_like(image)

    def columns(start: int, stop: int) -> None:
        _filter_columns(image, kernel, out, start, stop)

    def rows(start: int, stop: int) -> None:
        _filter_rows(out, kernel, rms, np.float32(1 / noise_factor), start, stop)

    in_bands(columns, image.shape[0])
    in_bands(rows, image.shape[0])
    return out, noise_factor


def _gaussian(fwhm: float) -> NDArray[np.float32]:
    """Return a Gaussian of sum 1 out to 1.2 FWHM, an odd number of pixels wide."""
    half = max(1, round(1.2 * fwhm))
    x = np.arange(-half, half + 1)
    kernel = np.exp(-4 * np.log(2) * x**2 / fwhm**2)
    return (kernel / kernel.sum()).astype(np.float32)


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
        FWHM of the stars, pixels; the kernel is a Gaussian.
    threshold : `float`, optional
        Significance of a filtered pixel.
    unusable : `~numpy.ndarray`, shape (height, width), optional
        Pixels excluded from detection.
    min_pixels : `int`, optional
        Minimum number of pixels of a source.

    Returns
    -------
    detections : `Detections`

    Raises
    ------
    DetectionError
        Raised if too much of the image is above the threshold for ``sep``.

    Notes
    -----
    The filter is separable and threaded: in ``sep.extract`` it is a plain sum
    over the kernel's square that takes most of its time.
    """
    significance, noise_factor = significance_image(image, rms, min(fwhm, MAX_KERNEL_FWHM))
    sep.set_extract_pixstack(max(300_000, image.size // 8))
    try:
        catalogue, segmentation = sep.extract(
            significance,
            threshold,
            mask=unusable,
            minarea=min_pixels,
            filter_kernel=None,
            deblend_nthresh=16,
            deblend_cont=0.005,
            clean=True,
            segmentation_map=True,
        )
    except MemoryError:
        raise
    except Exception as error:
        # sep has no exception type of its own, and its messages name functions of sep.
        covered = float(np.mean(significance > threshold))
        raise DetectionError(
            "Sources or structure cover so much of the image that they cannot be separated.",
            fraction_above_threshold=covered,
        ) from error
    local = rms[catalogue["ypeak"], catalogue["xpeak"]] * noise_factor
    return Detections(
        catalogue, segmentation, catalogue["peak"].astype(float), (catalogue["flux"] * local).astype(float)
    )
