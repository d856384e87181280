"""Bad values that nothing in a file declares: blank areas, dead columns, fill values, single absurd pixels.

The sky is noise: neighbours rarely hold the very same value, and a histogram of values is smooth. A value
that breaks either rule is not a measurement, whatever it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from prompt_processing.imaging.percentiles import percentiles, percentiles_of_sorted

SHORTEST_RUN = 4
"""Shortest run of equal pixels that noise does not produce where values are not quantised."""

CHANCE = 1e-9
"""Probability per image of a run of equal pixels in a quantised sky; longer runs are not noise."""

FAR_SIGMA = 8.0
"""Distance from the sky's level, in units of its scatter, beyond which a value is not sky noise."""

ALONE_SIGMA = 150.0
"""Height of a single pixel, in the sky's scatter, above which its neighbours must show a star's wings."""

ALONE_SHARE = 0.02
"""Least share of a pixel's height in any neighbour: no telescope's PSF is sharper."""

SMALL_NOISE = 1e-4
"""Noise, over the brightness of stars, that stands for that of a sky without any."""

FLOOR, BELOW, SMOOTH = 0.05, 0.001, 0.7
"""Least share of pixels at the level of such a sky, largest share below it, and largest ratio of second to
first differences of the others: 1.7 for white noise, 0.6 for noise smoothed over four pixels."""

SMALLEST_TOP, LARGEST_TOP = 3, 15
"""Widths, pixels, of a saturated top that is recognised as a star without its wings."""

_VALUES = 64
"""Maximum number of different fill values to look for."""


@dataclass(frozen=True, slots=True)
class SkyStatistics:
    """Statistics of an image's pixel values.

    Attributes
    ----------
    level, scatter : `float`
        Robust level and scatter of the sky, in the unit of the image.
    step : `float`
        Interval between neighbouring values of a quantised image; 0 if the image is not quantised.
    repeat : `float`
        Probability that two pixels of the sky have the same value.
    noiseless : `bool`
        Whether the sky has no noise: most of its pixels have its level.
    """

    level: float
    scatter: float
    step: float
    repeat: float
    noiseless: bool = False


def sky_statistics(image: NDArray[np.float32], most: int = 400_000) -> SkyStatistics:
    """Measure the sky on a sample of the finite pixels.

    Parameters
    ----------
    image : `~numpy.ndarray` of float32, shape (height, width)
        Image; may contain NaN.
    most : `int`
        Size of the sample.
    """
    rows = max(image.shape[0] * image.shape[1] // most, 1)
    sample = image[::rows]
    values = np.sort(sample[np.isfinite(sample)])
    # A fill value covers much of some images; it carries no information on the sky.
    kinds, counts = _kinds(values)
    floor = _noiseless_sky(sample, values, kinds, counts)
    if floor is not None:
        bright = float(np.percentile(values[values > floor], 90)) - floor
        return SkyStatistics(floor, SMALL_NOISE * bright, 0.0, 0.0, noiseless=True)
    quantised = len(kinds) < 0.5 * len(values)
    common = kinds[counts > 0.2 * len(values)]
    kept = values[~np.isin(values, common)] if len(common) else values
    if len(kept) < 0.05 * len(values):
        kept = values
    low, level, high = percentiles_of_sorted(kept, (15.9, 50, 84.1)) if len(kept) else (0.0, 0.0, 0.0)
    near = kinds[(kinds >= low) & (kinds <= high)]
    step = float(np.min(np.diff(near))) if len(near) > 1 and _is_grid(near, len(kept)) else 0.0
    # NaN is in no range.
    differences = np.abs(np.diff(sample, axis=1))
    least = -1.0 if step else 0.0
    differences = differences[(differences > least) & (differences < 3 * max(high - low, step))]
    local = 1.0484 * percentiles(differences, (50,))[0] if differences.size else 0.0
    wide = float(high - low) / 2
    # The median of few quantised steps is 0 or 1 of them.
    scatter = min(max(local, 0.5 * step), wide) or wide
    repeat = min(step / (2.5 * scatter), 1.0) if scatter > 0 else 1.0
    if quantised and len(near) < 6:
        repeat = max(repeat, float(counts.max()) / max(len(values), 1))
    return SkyStatistics(float(level), scatter, step, repeat)


def _kinds(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Return the different ones of sorted values, and how many there are of each."""
    starts = np.flatnonzero(np.r_[values.size > 0, values[1:] != values[:-1]])
    return values[starts], np.diff(np.r_[starts, values.size])


def _noiseless_sky(
    sample: NDArray[np.float32],
    values: NDArray[np.float32],
    kinds: NDArray[np.float32],
    counts: NDArray[np.intp],
) -> float | None:
    """Return the level of a sky without noise: common, below all else, and left without a jump."""
    common = int(counts.max()) if len(values) else 0
    # The light of stars is different in each pixel; quantised noise is not.
    if common < max(FLOOR * len(values), 2) or len(kinds) < 0.1 * (len(values) - common):
        return None
    level = float(kinds[np.argmax(counts)])
    # Blank areas may be lower.
    if counts[(kinds < level) & (counts < FLOOR * len(values))].sum() > BELOW * len(values):
        return None
    first = np.diff(sample, axis=1)
    second = np.abs(np.diff(first, axis=1))
    first = np.abs(first[:, 1:])
    seen = (first > 0) & (second > 0)
    if not seen.any() or np.median(second[seen]) > SMOOTH * np.median(first[seen]):
        return None
    return level


def _is_grid(values: NDArray[np.float32], sample: int) -> bool:
    """Return whether sorted values are multiples of one step, and few enough to repeat."""
    if len(values) > 0.3 * sample:
        return False
    steps = np.diff(values)
    smallest = float(steps.min())
    ratio = steps / smallest
    return bool(np.mean(np.abs(ratio - np.round(ratio)) < 0.05) > 0.9)


def undeclared_bad(image: NDArray[np.float32], sky: SkyStatistics) -> NDArray[np.bool_]:
    """Find pixels whose value is not a measurement.

    Parameters
    ----------
    image : `~numpy.ndarray` of float32, shape (height, width)
        Image as in the file; may contain NaN.
    sky : `SkyStatistics`
        Result of `sky_statistics`.

    Returns
    -------
    bad : `~numpy.ndarray` of bool, shape (height, width)
        Fill values, wherever they are; constant areas, columns and rows; single pixels far above or below
        their neighbours. Neither saturated stars nor NaN are marked.
    """
    bad = np.zeros(image.shape, np.bool_)
    if sky.scatter <= 0 or min(image.shape) < 8:
        return bad
    far = np.zeros(image.shape, np.bool_)
    _mark_far(image, np.float32(sky.level), np.float32(FAR_SIGMA * sky.scatter), far)
    _constant_areas(image, sky, far, bad)
    for value in _fill_values(image, sky, far):
        same = image == value
        bad |= same if value < sky.level else same & ~_peaks(image, same, sky)
    _single_pixels(image, sky, far, bad)
    return bad


def _constant_areas(
    image: NDArray[np.float32], sky: SkyStatistics, far: NDArray[np.bool_], bad: NDArray[np.bool_]
) -> None:
    """Mark runs of equal values near the sky's level that noise would not produce."""
    length = SHORTEST_RUN
    if sky.repeat > 0.95:
        return
    if sky.repeat > 0:
        length = max(int(np.ceil(np.log(CHANCE / image.size) / np.log(sky.repeat))), SHORTEST_RUN)
    runs = np.zeros(image.shape, np.bool_)
    for axis in (0, 1):
        if image.shape[axis] > length:
            _mark_runs(image, axis, length, runs)
    if not runs.any():
        return
    runs &= ~far
    if sky.repeat == 0:
        _leave_clipped(image, runs)
        if sky.noiseless:
            runs &= image != np.float32(sky.level)
    bad |= runs


def _leave_clipped(image: NDArray[np.float32], runs: NDArray[np.bool_]) -> None:
    """Unmark the level at which noise was clipped, such as 0: it is common, and its long runs are chance."""
    kinds, counts = np.unique(image[runs], return_counts=True)
    for value in kinds[counts > 0.01 * image.size]:
        same = image == value
        share = float(np.count_nonzero(same)) / image.size
        length = int(np.ceil(np.log(CHANCE / image.size) / np.log(min(share, 0.95))))
        indicator = same.astype(np.float32)
        indicator[~same] = np.nan
        long = np.zeros(image.shape, np.bool_)
        for axis in (0, 1):
            _mark_runs(indicator, axis, min(length, image.shape[axis] // 2), long)
        if not long.any():
            runs &= ~same


@numba.njit(cache=True, nogil=True)
def _mark_far(
    image: NDArray[np.float32], level: np.float32, distance: np.float32, far: NDArray[np.bool_]
) -> None:
    """Mark values beyond a distance from a level."""
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            far[row, column] = abs(image[row, column] - level) > distance


@numba.njit(cache=True, nogil=True)
def _mark_runs(image: NDArray[np.float32], axis: int, length: int, runs: NDArray[np.bool_]) -> None:
    """Mark runs of at least ``length`` equal values along an axis."""
    height, width = image.shape
    if axis == 1:
        for row in range(height):
            # Noise has hardly any equal neighbours.
            if not _any_equal(image[row, 1:], image[row, :-1]):
                continue
            first = 0
            for column in range(1, width + 1):
                if column < width and image[row, column] == image[row, column - 1]:
                    continue
                if column - first >= length:
                    runs[row, first:column] = True
                first = column
        return
    starts = np.zeros(width, np.int64)
    oldest = 0
    for row in range(1, height + 1):
        if row < height and row - oldest < length and not _any_equal(image[row], image[row - 1]):
            starts[:] = row
            oldest = row
            continue
        for column in range(width):
            if row < height and image[row, column] == image[row - 1, column]:
                continue
            if row - starts[column] >= length:
                runs[starts[column] : row, column] = True
            starts[column] = row
        oldest = int(starts.min())


@numba.njit(cache=True, nogil=True)
def _any_equal(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    equal = False
    for k in range(len(one)):
        equal |= one[k] == other[k]
    return equal


def _fill_values(image: NDArray[np.float32], sky: SkyStatistics, far: NDArray[np.bool_]) -> list[float]:
    """Return values far from the sky that many pixels share and that are isolated in the histogram."""
    values = image[far & np.isfinite(image)]
    if values.size < 3:
        return []
    kinds, counts = _kinds(np.sort(values))
    found = []
    for index in np.argsort(-counts)[:_VALUES]:
        value, count = float(kinds[index]), int(counts[index])
        if count < 3:
            break
        window = max(2 * sky.scatter, 10 * sky.step)
        first = int(np.searchsorted(kinds, value - window))
        last = int(np.searchsorted(kinds, value + window, side="right"))
        around = int(counts[first:last].sum()) - count
        places = 2 * window / sky.step if sky.step else float(max(last - first - 1, 1))
        expected = around / places
        if count > 5 * expected + 6 * np.sqrt(expected + 1) + (10 if sky.step else 1):
            found.append(value)
    return found


def _peaks(image: NDArray[np.float32], same: NDArray[np.bool_], sky: SkyStatistics) -> NDArray[np.bool_]:
    """Return those pixels of one high value that top a star: bright pixels surround them."""
    labels = np.zeros(image.shape, np.int32)
    ring = np.zeros(image.shape, np.int32)
    places, sizes = _tops(same, labels, ring)
    if not len(sizes):
        return same
    values, of = image[tuple(places.T)], ring[tuple(places.T)]
    of[~np.isfinite(values)] = 0
    index = np.arange(1, len(sizes) + 1)
    around = np.where(
        np.bincount(of, minlength=len(index) + 1)[1:] > 0, ndimage.median(values, of, index), np.nan
    )
    height = float(image[same][0]) - sky.level
    star = around - sky.level > max(FAR_SIGMA * sky.scatter, 0.02 * min(height, 1e3 * sky.scatter))
    star &= np.isfinite(around)
    # A round top without wings is also saturated: nothing else fills so small a square.
    count, tall, wide = sizes.T
    square = (np.minimum(tall, wide) >= SMALLEST_TOP) & (np.maximum(tall, wide) <= LARGEST_TOP)
    star |= square & (count > 0.6 * tall * wide)
    peaks = np.zeros(image.shape, np.bool_)
    peaks[same] = star[labels[same] - 1]
    return peaks


@numba.njit(cache=True, nogil=True)
def _tops(
    same: NDArray[np.bool_], labels: NDArray[np.int32], ring: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number groups of adjacent pixels, and the pixels around each: the later group's, if beside two.

    Returns
    -------
    around : `~numpy.ndarray`, shape (n, 2)
        Rows and columns of the pixels around groups.
    sizes : `~numpy.ndarray`, shape (groups, 3)
        Number of pixels, height and width of each group.
    """
    height, width = same.shape
    found: list[tuple[int, int]] = []
    near: list[tuple[int, int]] = []
    sizes: list[tuple[int, int, int]] = []
    for start in range(height):
        for column in range(width):
            if not same[start, column] or labels[start, column]:
                continue
            number = np.int32(len(sizes) + 1)
            done = len(found)
            first = done
            found.append((start, column))
            labels[start, column] = number
            top, bottom, left, right = start, start, column, column
            while done < len(found):
                y, x = found[done]
                done += 1
                top, bottom, left, right = min(top, y), max(bottom, y), min(left, x), max(right, x)
                for j in range(max(y - 1, 0), min(y + 2, height)):
                    for i in range(max(x - 1, 0), min(x + 2, width)):
                        if not same[j, i]:
                            if ring[j, i] == 0:
                                near.append((j, i))
                            ring[j, i] = number
                        elif labels[j, i] == 0:
                            labels[j, i] = number
                            found.append((j, i))
            sizes.append((done - first, bottom - top + 1, right - left + 1))
    around = np.empty((len(near), 2), np.int64)
    for k in range(len(near)):
        around[k, 0], around[k, 1] = near[k]
    measured = np.empty((len(sizes), 3), np.int64)
    for k in range(len(sizes)):
        measured[k, 0], measured[k, 1], measured[k, 2] = sizes[k]
    return around, measured


def _single_pixels(
    image: NDArray[np.float32], sky: SkyStatistics, far: NDArray[np.bool_], bad: NDArray[np.bool_]
) -> None:
    """Mark pixels far above or below all of their neighbours."""
    rows, columns = np.divmod(np.flatnonzero(far & ~bad), image.shape[1])
    if rows.size == 0 or rows.size > 0.3 * image.size:
        return
    values = image[rows, columns]
    highest = np.full(rows.size, -np.inf, np.float32)
    lowest = np.full(rows.size, np.inf, np.float32)
    height, width = image.shape
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            if dx or dy:
                y, x = np.clip(rows + dy, 0, height - 1), np.clip(columns + dx, 0, width - 1)
                other = np.where(bad[y, x] | ((y == rows) & (x == columns)), np.nan, image[y, x])
                highest, lowest = np.fmax(highest, other), np.fmin(lowest, other)
    with np.errstate(invalid="ignore", over="ignore"):
        above = values.astype(np.float64) - sky.level
        hot = (above > ALONE_SIGMA * sky.scatter) & (
            highest - sky.level < ALONE_SHARE * above + 4 * sky.scatter
        )
        below = lowest.astype(np.float64) - values
        cold = below > np.fmax(
            FAR_SIGMA * sky.scatter, 0.5 * np.abs(highest - lowest) + FAR_SIGMA * sky.scatter
        )
    alone = (hot & np.isfinite(highest)) | (cold & np.isfinite(lowest))
    bad[rows[alone], columns[alone]] = True
