"""Level and noise of the sky in the boxes of a mesh, in compiled passes."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from prompt_processing.imaging.row_bands import in_bands

FEWEST_USABLE = 0.5
"""Share of a box's pixels that must be usable; other boxes have the level of the nearest ones."""

FIRST_CLIP, CLIP = 2.0, 3.0
"""Standard deviations within which pixels count: before the histogram, and in it until nothing changes."""

HALF_WIDTH = 5.0
"""Standard deviations on each side of the mean that the histogram covers."""

BINS = 2048
"""Bins of the histogram at most; fewer pixels have half as many bins as pixels."""

SKEWED = 0.3
"""Distance of mean and median, in standard deviations, above which the median is the level, not the mode."""

PASSES = 100
SETTLED = 1e-4
"""Number of clips at most, and the relative change of the standard deviation below which they end."""


def measure_mesh(
    image: NDArray[np.float32], unusable: NDArray[np.bool_] | None, box: int, step: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Measure the sky in boxes.

    Parameters
    ----------
    image : `~numpy.ndarray` of float32, shape (height, width)
        Any unit.
    unusable : `~numpy.ndarray` of bool, shape (height, width), or `None`
        Pixels to leave out.
    box : `int`
        Width of a box, pixels; the last box of a row or column may be smaller.
    step : `int`
        Every how many rows and columns a pixel counts.

    Returns
    -------
    level, noise : `~numpy.ndarray` of float32, shape (rows of boxes, columns of boxes)
        Mode of the pixels, and their standard deviation without sources: medians of 3 x 3 boxes. NaN if no
        box has enough usable pixels.

    Notes
    -----
    The estimator of SExtractor (Bertin & Arnouts 1996, A&AS 117, 393): the mode is 2.5 times the median minus
    1.5 times the mean of the pixels that clipping leaves, or the median in a skewed distribution.
    """
    height, width = image.shape
    shape = -(-height // box), -(-width // box)
    level, noise = np.empty(shape, np.float32), np.empty(shape, np.float32)
    mask = np.zeros((1, 1), np.bool_) if unusable is None else unusable
    in_bands(lambda start, stop: _measure(image, mask, box, step, level, noise, start, stop), shape[0])
    _fill(level, noise)
    return _median_of_nine(level), _median_of_nine(noise)


@numba.njit(cache=True, nogil=True)
def _measure(
    image: NDArray[np.float32],
    unusable: NDArray[np.bool_],
    box: int,
    step: int,
    level: NDArray[np.float32],
    noise: NDArray[np.float32],
    start: int,
    stop: int,
) -> None:
    height, width = image.shape
    is_masked = unusable.shape == image.shape
    values = np.empty((box // step + 1) ** 2, np.float32)
    histogram = np.empty(BINS, np.int64)
    for j in range(start, stop):
        for i in range(level.shape[1]):
            n = pixels = 0
            for row in range(j * box, min((j + 1) * box, height), step):
                for column in range(i * box, min((i + 1) * box, width), step):
                    value = image[row, column]
                    # Without a branch, which could not be predicted.
                    values[n] = value
                    n += np.isfinite(value) and not (is_masked and unusable[row, column])
                    pixels += 1
            level[j, i], noise[j, i] = np.nan, np.nan
            if n > 0 and n >= FEWEST_USABLE * pixels:
                level[j, i], noise[j, i] = _mode(values[:n], histogram)


@numba.njit(cache=True, nogil=True)
def _mode(values: NDArray[np.float32], histogram: NDArray[np.int64]) -> tuple[float, float]:
    """Return the mode of some numbers, and the standard deviation of those around it."""
    mean, sigma = _moments(values, -np.inf, np.inf)
    mean, sigma = _moments(values, mean - FIRST_CLIP * sigma, mean + FIRST_CLIP * sigma)
    if not sigma > 0:
        return mean, 0.0
    bins = max(min(BINS, len(values) // 2), 8)
    lowest, size = mean - HALF_WIDTH * sigma, 2 * HALF_WIDTH * sigma / bins
    counts = histogram[:bins]
    counts[:] = 0
    for value in values:
        place = (value - lowest) / size
        if 0 <= place < bins:
            counts[int(place)] += 1
    first, last = 0, bins
    before = -1.0
    middle = median = 0.0
    for _ in range(PASSES):
        total, first_moment, second_moment = 0, 0.0, 0.0
        for k in range(first, last):
            total += counts[k]
            first_moment += counts[k] * (k + 0.5)
            second_moment += counts[k] * (k + 0.5) ** 2
        if total == 0:
            break
        middle = first_moment / total
        spread = np.sqrt(max(second_moment / total - middle * middle, 0.0))
        median = _median_of(counts, first, last, total)
        if spread < 0.1 or abs(spread - before) <= SETTLED * before:
            before = spread
            break
        before = spread
        first = max(int(median - CLIP * spread), 0)
        last = min(int(median + CLIP * spread) + 1, bins)
    if abs(middle - median) < SKEWED * before:
        median = 2.5 * median - 1.5 * middle
    return lowest + size * median, size * before


@numba.njit(cache=True, nogil=True)
def _moments(values: NDArray[np.float32], low: float, high: float) -> tuple[float, float]:
    """Return mean and standard deviation of the numbers between two limits, those included."""
    n, total, squares = 0, 0.0, 0.0
    # From the first number, so that a high level costs no digits.
    origin = float(values[0])
    for value in values:
        if low <= value <= high:
            n += 1
            offset = value - origin
            total += offset
            squares += offset * offset
    if n == 0:
        return origin, 0.0
    mean = total / n
    return origin + mean, np.sqrt(max(squares / n - mean * mean, 0.0))


@numba.njit(cache=True, nogil=True)
def _median_of(counts: NDArray[np.int64], first: int, last: int, total: int) -> float:
    """Return the median in units of bins; numbers are spread evenly over their bin."""
    below = 0
    for k in range(first, last):
        if 2 * (below + counts[k]) >= total:
            return float(k + (0.5 * total - below) / counts[k])
        below += counts[k]
    return float(last)


def _fill(level: NDArray[np.float32], noise: NDArray[np.float32]) -> None:
    """Give boxes without a level the mean of those that are nearest, in place."""
    missing = np.isnan(level)
    if not missing.any() or missing.all():
        return
    rows, columns = np.nonzero(~missing)
    known = level[~missing], noise[~missing]
    for j, i in np.argwhere(missing):
        distance = (rows - j) ** 2 + (columns - i) ** 2
        nearest = distance == distance.min()
        level[j, i], noise[j, i] = (values[nearest].mean() for values in known)


def _median_of_nine(mesh: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the medians of 3 x 3 boxes, or of those that exist at the edge."""
    if np.isnan(mesh).any():
        return mesh
    framed = np.pad(mesh, 1, constant_values=np.nan)
    nine = np.lib.stride_tricks.sliding_window_view(framed, (3, 3)).reshape(*mesh.shape, 9)
    return np.asarray(np.nanmedian(nine, axis=-1), np.float32)
