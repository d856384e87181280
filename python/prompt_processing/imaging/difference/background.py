"""Subtract the residual sky from a difference, and scale its variance to its pixels."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from prompt_processing.domain.planes import new_plane
from prompt_processing.images import UNUSABLE, Mask
from prompt_processing.images.background import Background
from prompt_processing.imaging.percentiles import percentiles
from prompt_processing.imaging.row_bands import in_bands, scale_plane, subtract_background

CLIP = 2.5
"""Standard deviations within which pixels enter the mean."""

FINE_SAMPLE = 100
"""Number of boxes that decide whether the sky has fine structure."""

FINE_SIGNIFICANCE = 5.0
"""Scatter of boxes, in their noise, above which it has. Correlated noise reaches three to four."""

SAMPLING = 3
"""Every third pixel along each axis is enough for medians of thousands."""


def quiet_pixels(
    image: NDArray[np.float32], variance: NDArray[np.float32], mask: NDArray[np.int32]
) -> tuple[NDArray[np.bool_], float]:
    """Return which pixels are usable and within 5 sigma of 0, and the usable fraction."""
    quiet = new_plane(image.shape, np.bool_)
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
        Rms of the subtracted background, in the image's unit.
    """
    height, width = image.shape
    rows, columns = max(height // box_size, 1), max(width // box_size, 1)
    box = max(-(-height // rows), -(-width // columns))
    rows, columns = -(-height // box), -(-width // box)
    values = np.full((rows, columns), np.nan, np.float32)
    for j in range(rows):
        for i in range(columns):
            sky = _quiet_values(image, quiet, j * box, i * box, box, SAMPLING)
            if sky.size > 50:
                values[j, i] = _clipped_mean(sky)
    if np.isnan(values).all():
        return 0.0
    values[np.isnan(values)] = np.nanmedian(values)
    subtract_background(image, Background(values, box, (height, width)))
    return float(np.sqrt(np.mean(values**2)))


def remove_fine_background(image: NDArray[np.float32], quiet: NDArray[np.bool_], box_size: int) -> float:
    """Subtract structure of the sky finer than the boxes of the smooth part, in place, if it is significant.

    Fringes, imperfect flats and nebulae differ between exposures; a matched filter detects them as sources.

    Parameters
    ----------
    image : `~numpy.ndarray` of float32, shape (height, width)
        Image without the smooth part; changed in place.
    quiet : `~numpy.ndarray` of bool, shape (height, width)
        Sky pixels.
    box_size : `int`
        Width of the boxes, pixels; several times the width of a source.

    Returns
    -------
    rms : `float`
        Rms of the subtracted structure, in the image's unit; 0 if pixel noise explains the boxes' scatter.
    """
    height, width = image.shape
    rows, columns = height // box_size, width // box_size
    if min(rows, columns) < 3:
        return 0.0
    cells = np.stack(np.divmod(np.arange(rows * columns), columns), axis=-1)
    sample = cells[:: max(len(cells) // FINE_SAMPLE, 1)]
    levels, errors = np.array([_level(image, quiet, int(j), int(i), box_size) for j, i in sample]).T
    known = np.isfinite(levels)
    if np.count_nonzero(known) < 5:
        return 0.0
    low, high = np.percentile(levels[known], [15.865, 84.135])
    if 0.5 * (high - low) < FINE_SIGNIFICANCE * np.median(errors[known]):
        return 0.0
    shape = -(-height // box_size), -(-width // box_size)
    values = np.array(
        [_level(image, quiet, j, i, box_size)[0] for j in range(shape[0]) for i in range(shape[1])],
        np.float32,
    ).reshape(shape)
    values[np.isnan(values)] = np.nanmedian(values)
    subtract_background(image, Background(values, box_size, (height, width)))
    return float(np.sqrt(np.mean(values**2)))


def _level(
    image: NDArray[np.float32], quiet: NDArray[np.bool_], row: int, column: int, box: int
) -> tuple[float, float]:
    """Return the level of a box, and its error for independent pixels; NaN with too few pixels."""
    sky = _quiet_values(image, quiet, row * box, column * box, box, 1)
    if sky.size < max(0.3 * box * box, 30):
        return float("nan"), float("nan")
    return _clipped_mean(sky), float(np.std(sky)) / float(np.sqrt(sky.size))


@numba.njit(cache=True, nogil=True)
def _quiet_values(
    image: NDArray[np.float32], quiet: NDArray[np.bool_], top: int, left: int, box: int, step: int
) -> NDArray[np.float32]:
    """Return the quiet pixels of a box, of every ``step``-th row and column."""
    values = np.empty((box // step + 1) ** 2, np.float32)
    found = 0
    for row in range(top, min(top + box, image.shape[0]), step):
        for column in range(left, min(left + box, image.shape[1]), step):
            # Without a branch, which could not be predicted.
            values[found] = image[row, column]
            found += quiet[row, column]
    return values[:found]


@numba.njit(cache=True, nogil=True)
def _pulls(
    image: NDArray[np.float32], variance: NDArray[np.float32], quiet: NDArray[np.bool_], step: int
) -> NDArray[np.float32]:
    """Return quiet pixels in units of their noise, of every ``step``-th row and column."""
    values = np.empty((image.shape[0] // step + 1) * (image.shape[1] // step + 1), np.float32)
    found = 0
    for row in range(0, image.shape[0], step):
        for column in range(0, image.shape[1], step):
            if quiet[row, column]:
                values[found] = image[row, column] / np.sqrt(variance[row, column])
                found += 1
    return values[:found]


def _clipped_mean(values: NDArray[np.float32]) -> float:
    """Return the mean of the values near their median, which is biased where the data have coarse steps."""
    low, middle, high = percentiles(values, (15.865, 50, 84.135))
    near = np.abs(values - middle) < CLIP * 0.5 * (high - low)
    return float(np.mean(values[near])) if near.any() else float(middle)


def scale_variance(
    image: NDArray[np.float32], variance: NDArray[np.float32], quiet: NDArray[np.bool_]
) -> float:
    """Scale a variance, in place, so that it matches the scatter of quiet pixels.

    Returns
    -------
    factor : `float`
        Factor by which the variance was multiplied; 1 if no pixels can be
        compared.
    """
    pulls = _pulls(image, variance, quiet, SAMPLING)
    if pulls.size < 100:
        return 1.0
    low, high = percentiles(pulls, (15.865, 84.135))
    factor = float((0.5 * (high - low)) ** 2)
    scale_plane(variance, factor)
    return factor
