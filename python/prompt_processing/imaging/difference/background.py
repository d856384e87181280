"""Take the last of the sky out of a difference, and hold its variance against its pixels."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from prompt_processing.images import UNUSABLE, Mask
from prompt_processing.images.background import Background
from prompt_processing.imaging.row_bands import in_bands, scale_plane, subtract_background

SAMPLING = 3
"""Every third pixel along each axis is enough for medians of thousands."""


def quiet_pixels(
    image: NDArray[np.float32], variance: NDArray[np.float32], mask: NDArray[np.int32]
) -> tuple[NDArray[np.bool_], float]:
    """Return which pixels are usable and within 5 sigma of 0, and the fraction that is usable."""
    quiet = np.empty(image.shape, np.bool_)
    planes = np.int32(int(UNUSABLE | Mask.SAT_TEMPLATE))
    counts: list[int] = []
    in_bands(
        lambda start, stop: counts.append(_find_quiet(image, variance, mask, planes, quiet, start, stop)),
        image.shape[0],
    )
    return quiet, sum(counts) / image.size


@numba.njit(cache=True, nogil=True)
def _find_quiet(
    image: NDArray[np.float32],
    variance: NDArray[np.float32],
    mask: NDArray[np.int32],
    planes: int,
    quiet: NDArray[np.bool_],
    start: int,
    stop: int,
) -> int:
    usable = 0
    for row in range(start, stop):
        for column in range(image.shape[1]):
            good = not mask[row, column] & planes
            usable += good
            value = image[row, column]
            quiet[row, column] = good and value * value < 25 * variance[row, column]
    return usable


def remove_residual_background(image: NDArray[np.float32], quiet: NDArray[np.bool_], box_size: int) -> float:
    """Subtract the smooth median of quiet pixels, in place.

    Parameters
    ----------
    image : `~numpy.ndarray` of float32, shape (height, width)
        Changed in place.
    quiet : `~numpy.ndarray` of bool, shape (height, width)
        Sky pixels.
    box_size : `int`
        Width of the boxes, pixels.

    Returns
    -------
    rms : `float`
        Of what was subtracted, in the image's unit.
    """
    height, width = image.shape
    rows, columns = max(height // box_size, 1), max(width // box_size, 1)
    box = max(-(-height // rows), -(-width // columns))
    rows, columns = -(-height // box), -(-width // box)
    values = np.full((rows, columns), np.nan, np.float32)
    for j in range(rows):
        for i in range(columns):
            part = np.s_[j * box : (j + 1) * box : SAMPLING, i * box : (i + 1) * box : SAMPLING]
            sky = image[part][quiet[part]]
            if sky.size > 50:
                values[j, i] = np.median(sky)
    if np.isnan(values).all():
        return 0.0
    values[np.isnan(values)] = np.nanmedian(values)
    subtract_background(image, Background(values, box, (height, width)))
    return float(np.sqrt(np.mean(values**2)))


def scale_variance(
    image: NDArray[np.float32], variance: NDArray[np.float32], quiet: NDArray[np.bool_]
) -> float:
    """Scale a variance, in place, so that quiet pixels scatter as it says.

    Returns
    -------
    factor : `float`
        By which the variance was multiplied; 1 where there is nothing to
        compare with.
    """
    part = np.s_[::SAMPLING, ::SAMPLING]
    good = quiet[part]
    if np.count_nonzero(good) < 100:
        return 1.0
    ratio = image[part][good] / np.sqrt(variance[part][good])
    low, high = np.percentile(ratio, [15.865, 84.135])
    factor = float((0.5 * (high - low)) ** 2)
    scale_plane(variance, factor)
    return factor
