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
    sample = image[::rows].astype(np.float64)
    values = sample[np.isfinite(sample)]
    # A fill value covers much of some images; it carries no information on the sky.
    kinds, counts = np.unique(values, return_counts=True)
    floor = _noiseless_sky(sample, values, kinds, counts)
    if floor is not None:
        bright = float(np.percentile(values[values > floor], 90)) - floor
        return SkyStatistics(floor, SMALL_NOISE * bright, 0.0, 0.0, noiseless=True)
    quantised = len(kinds) < 0.5 * len(values)
    common = kinds[counts > 0.2 * len(values)]
    kept = values[~np.isin(values, common)] if len(common) else values
    if len(kept) < 0.05 * len(values):
        kept = values
    low, level, high = np.percentile(kept, [15.9, 50, 84.1]) if len(kept) else (0.0, 0.0, 0.0)
    near = kinds[(kinds >= low) & (kinds <= high)]
    step = float(np.min(np.diff(near))) if len(near) > 1 and _is_grid(near, len(kept)) else 0.0
    differences = np.abs(np.diff(sample, axis=1))
    usable = np.isfinite(differences) & (differences < 3 * max(high - low, step))
    if not step:
        usable &= differences > 0
    local = 1.0484 * float(np.median(differences[usable])) if usable.any() else 0.0
    wide = float(high - low) / 2
    # The median of few quantised steps is 0 or 1 of them.
    scatter = min(max(local, 0.5 * step), wide) or wide
    repeat = min(step / (2.5 * scatter), 1.0) if scatter > 0 else 1.0
    if quantised and len(near) < 6:
        repeat = max(repeat, float(counts.max()) / max(len(values), 1))
    return SkyStatistics(float(level), scatter, step, repeat)


def _noiseless_sky(
    sample: NDArray[np.float64],
    values: NDArray[np.float64],
    kinds: NDArray[np.float64],
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


def _is_grid(values: NDArray[np.float64], sample: int) -> bool:
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
    far = np.abs(image - np.float32(sky.level)) > np.float32(FAR_SIGMA * sky.scatter)
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
            runs |= _runs(image, axis, length) & ~far
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
        if not any(_runs(indicator, axis, min(length, image.shape[axis] // 2)).any() for axis in (0, 1)):
            runs &= ~same


def _runs(image: NDArray[np.float32], axis: int, length: int) -> NDArray[np.bool_]:
    """Return pixels in runs of at least ``length`` equal values along an axis."""
    along = np.ascontiguousarray(image if axis == 1 else image.T)
    runs = np.zeros(along.shape, np.bool_)
    _mark_runs(along, length, runs)
    return runs if axis == 1 else runs.T


@numba.njit(cache=True, nogil=True)
def _mark_runs(image: NDArray[np.float32], length: int, runs: NDArray[np.bool_]) -> None:
    """Mark runs of at least ``length`` equal values along rows."""
    height, width = image.shape
    for row in range(height):
        first = 0
        for column in range(1, width + 1):
            if column < width and image[row, column] == image[row, column - 1]:
                continue
            if column - first >= length:
                runs[row, first:column] = True
            first = column


def _fill_values(image: NDArray[np.float32], sky: SkyStatistics, far: NDArray[np.bool_]) -> list[float]:
    """Return values far from the sky that many pixels share and that are isolated in the histogram."""
    values = image[far & np.isfinite(image)]
    if values.size < 3:
        return []
    values.sort()
    starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]])
    counts = np.diff(np.r_[starts, values.size])
    kinds = values[starts]
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
    labels, n = ndimage.label(same, np.ones((3, 3), int))
    if n == 0:
        return same
    ring = ndimage.grey_dilation(labels, size=(3, 3))
    ring[same] = 0
    inside = (ring > 0) & np.isfinite(image)
    index = np.arange(1, n + 1)
    around = np.asarray(
        ndimage.median(image[inside], ring[inside], index) if inside.any() else np.full(n, np.nan)
    )
    height = float(image[same][0]) - sky.level
    star = around - sky.level > max(FAR_SIGMA * sky.scatter, 0.02 * min(height, 1e3 * sky.scatter))
    star &= np.isfinite(around)
    for label, box in enumerate(ndimage.find_objects(labels)):
        assert box is not None
        rows, columns = box
        tall, wide = rows.stop - rows.start, columns.stop - columns.start
        if min(tall, wide) >= SMALLEST_TOP and max(tall, wide) <= LARGEST_TOP:
            # A round top without wings is also saturated: nothing else fills so small a square.
            star[label] |= np.count_nonzero(labels[rows, columns] == label + 1) > 0.6 * tall * wide
    return np.asarray(np.r_[False, star][labels])


def _single_pixels(
    image: NDArray[np.float32], sky: SkyStatistics, far: NDArray[np.bool_], bad: NDArray[np.bool_]
) -> None:
    """Mark pixels far above or below all of their neighbours."""
    rows, columns = np.nonzero(far & ~bad)
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
