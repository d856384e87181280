"""Find sources on a background-subtracted image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import sep
from numpy.typing import NDArray

from prompt_processing.domain.planes import new_plane
from prompt_processing.images import Background
from prompt_processing.imaging.errors import DetectionError
from prompt_processing.imaging.row_bands import in_bands

MAX_KERNEL_FWHM = 6.0
"""Widest detection kernel, pixels: beyond it the convolution costs more than it gains."""

_CACHED_ROWS = 32


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
    """Convolve along rows, in place, and divide by the noise, whose first row is ``start``."""
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
            noise = rms[y - start, x]
            image[y, x] = image[y, x] / noise if noise > 0 else np.float32(0)


def significance_image(
    image: NDArray[np.float32], rms: NDArray[np.float32] | Background, fwhm: float
) -> tuple[NDArray[np.float32], float]:
    """Filter an image with a Gaussian and divide it by the noise of the result.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (height, width)
        Background-subtracted.
    rms : `~numpy.ndarray`, shape (height, width), or `Background`
        Uncorrelated noise of the pixels.
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
    out = new_plane(image.shape, image.dtype)

    rms_rows = rms.by_rows() if isinstance(rms, Background) else lambda start, stop: rms[start:stop]

    def filter_band(start: int, stop: int) -> None:
        # Both directions of a few rows, while they are in the processor's cache.
        for first in range(start, stop, _CACHED_ROWS):
            last = min(first + _CACHED_ROWS, stop)
            _filter_columns(image, kernel, out, first, last)
            _filter_rows(out, kernel, rms_rows(first, last), np.float32(1 / noise_factor), first, last)

    in_bands(filter_band, image.shape[0])
    return out, noise_factor


def _gaussian(fwhm: float) -> NDArray[np.float32]:
    """Return a Gaussian of sum 1 out to 1.2 FWHM, an odd number of pixels wide."""
    half = max(1, round(1.2 * fwhm))
    x = np.arange(-half, half + 1)
    kernel = np.exp(-4 * np.log(2) * x**2 / fwhm**2)
    return (kernel / kernel.sum()).astype(np.float32)


def detect(
    image: NDArray[np.float32],
    rms: NDArray[np.float32] | Background,
    fwhm: float,
    threshold: float = 5.0,
    unusable: NDArray[np.bool_] | None = None,
    min_pixels: int = 4,
) -> Detections:
    """Find sources with a matched filter, and separate those that overlap.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (height, width)
        Background-subtracted.
    rms : `~numpy.ndarray`, shape (height, width), or `Background`
        Noise of the pixels.
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
    rows, columns = catalogue["ypeak"], catalogue["xpeak"]
    local = (
        rms.at_points(rows, columns) if isinstance(rms, Background) else rms[rows, columns]
    ) * noise_factor
    return Detections(
        catalogue, segmentation, catalogue["peak"].astype(float), (catalogue["flux"] * local).astype(float)
    )
