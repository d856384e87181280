"""Find bad columns and rows that no mask declares, and fill them."""

from __future__ import annotations

from collections.abc import Iterator

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from prompt_processing.images import Exposure, Mask
from prompt_processing.images.robust import MAD_TO_SIGMA

from .dark_pieces import MOST_DARK, dark_pieces, oriented
from .fill import fill_pixels

SEGMENTS = (256, 40)
"""Pixels of a column (or row) judged separately: not all bad columns extend from end to end."""

REACH = 3
"""Number of columns on either side that a column is compared with."""

LONG = 100
"""Length of a segment, pixels, that no star fills."""

SHORTEST = 48
"""Minimum number of usable pixels for a column to be judged."""

STEADY = 0.75
"""Least share of its pixels that deviate in the same direction."""

SIGNIFICANCE = 8.0
"""Least deviation of a column's median from its neighbours', in its standard errors ..."""
LEAST = 0.5
"""... and in the noise of a pixel; smaller deviations are harmless."""

UNEVEN = 3.0
"""Largest deviation of a bad column's pixels in units of their median deviation, besides noise."""

MOST = 0.1
"""Largest share of bad columns; with more, the cause is not bad columns."""


def mark_bad_lines(exposure: Exposure, noise: float) -> int:
    """Mark columns and rows, or parts of them, that stand out from both neighbours, and fill them, in place.

    Parameters
    ----------
    exposure : `~prompt_processing.images.Exposure`
        Image with any level of sky; marked pixels get ``BAD`` and ``INTRP``.
    noise : `float`
        Noise of a pixel, unit of the image.

    Returns
    -------
    pixels : `int`
        Number of marked pixels.
    """
    usable = np.ascontiguousarray(~exposure.has(Mask.NO_DATA))
    image = np.ascontiguousarray(exposure.image)
    bad = np.zeros(exposure.shape, np.bool_)
    for axis in (0, 1):
        # Rows are judged without what is marked in columns.
        left = usable & ~bad
        for segment in SEGMENTS:
            found = _bad_lines(image, left, axis, noise, segment)
            if found is not None and np.mean(found.any(axis=axis)) < MOST:
                bad |= found
                left &= ~found
        found = dark_pieces(image, left, axis, noise)
        if found is not None and np.count_nonzero(found) < MOST_DARK * found.size:
            bad |= found
    if not bad.any():
        return 0
    unusable = exposure.has(Mask.BAD | Mask.SAT | Mask.NO_DATA) | bad
    exposure.mask[bad] |= np.int32(int(Mask.BAD | Mask.INTRP))
    fill_pixels(exposure.image, bad, unusable)
    return int(np.count_nonzero(bad))


def _bad_lines(
    image: NDArray[np.float32], usable: NDArray[np.bool_], axis: int, noise: float, segment: int
) -> NDArray[np.bool_] | None:
    """Return the pixels of columns (rows with axis 1) whose median differs from their neighbours', if any."""
    height, width = oriented(image, axis).shape
    if width < 9 or height < SHORTEST:
        return None
    bad = None
    edges = np.linspace(0, height, max(height // segment, 1) + 1).astype(np.int64)
    for index, columns, excess, around in _candidates(image, usable, axis, edges, noise):
        first, last = int(edges[index]), int(edges[index + 1])
        part = oriented(image, axis)[first:last]
        good = oriented(usable, axis)[first:last]
        standing = [
            k
            for k, column in enumerate(columns)
            if _stands_out(
                (part[:, column] - around[k])[good[:, column]] * np.sign(excess[k]), noise, segment > LONG
            )
        ]
        if not standing:
            continue
        # Among stars, columns differ by more than noise.
        medians = _median(np.ascontiguousarray(np.where(good, part, np.float32(np.nan)).T))
        padded = np.pad(medians, REACH, constant_values=np.nan)[np.newaxis]
        differences = medians - _around(padded, np.zeros(width, np.intp), np.arange(width))
        spread = MAD_TO_SIGMA * float(np.nanmedian(np.abs(differences)))
        for k in standing:
            if abs(excess[k]) > SIGNIFICANCE * spread:
                bad = np.zeros(image.shape, np.bool_) if bad is None else bad
                oriented(bad, axis)[first:last, columns[k]] = True
    return None if bad is None else bad & usable


def _stands_out(values: NDArray[np.float32], noise: float, long: bool) -> bool:
    """Return whether enough pixels of a column deviate alike, and evenly if stars may be as long."""
    if len(values) <= SHORTEST // 2 or np.mean(values > 0) < STEADY:
        return False
    # Stars are shorter than long segments, where they leave the median alone.
    return long or _is_even(values, noise)


def _around(
    medians: NDArray[np.float32], segments: NDArray[np.intp], columns: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Return the medians of the neighbours of some columns; there are `REACH` more of these at either end."""
    return _median(
        np.stack([medians[segments, columns + k] for k in range(2 * REACH + 1) if k != REACH], axis=-1)
    )


def _candidates(
    image: NDArray[np.float32], usable: NDArray[np.bool_], axis: int, edges: NDArray[np.int64], noise: float
) -> Iterator[tuple[int, NDArray[np.intp], NDArray[np.float32], NDArray[np.float32]]]:
    """Yield the segments in which columns deviate enough: index, columns, deviations, medians of neighbours.

    Two medians that differ by so much are not both within half of it. Counting finds those that are not in a
    tenth of the time of sorting, and only these columns and their neighbours need medians.
    """
    least = np.maximum(SIGNIFICANCE * 1.25 * noise / np.sqrt(np.diff(edges)), LEAST * noise)
    beyond = _medians_beyond(image, usable, axis, edges, np.float32(0.49999 * least.min()))
    near = ndimage.maximum_filter1d(beyond.view(np.uint8), 4 * REACH + 1, axis=1, mode="constant")
    segments, columns = np.nonzero(near)
    if not len(segments):
        return
    values = np.full((len(segments), int(np.diff(edges).max())), np.nan, np.float32)
    _gather(image, usable, axis, edges, segments, columns, values)
    medians = np.full((len(least), beyond.shape[1] + 2 * REACH), np.nan, np.float32)
    medians[segments, columns + REACH] = _median(values)
    around = _around(medians, segments, columns)
    excess = medians[segments, columns + REACH] - around
    with np.errstate(invalid="ignore"):
        deviating = np.flatnonzero(np.abs(excess) > least[segments])
    for index in np.unique(segments[deviating]):
        here = deviating[segments[deviating] == index]
        yield int(index), columns[here], excess[here], around[here]


@numba.njit(cache=True, nogil=True)
def _medians_beyond(
    image: NDArray[np.float32],
    usable: NDArray[np.bool_],
    axis: int,
    edges: NDArray[np.int64],
    limit: np.float32,
) -> NDArray[np.bool_]:
    """Return for segments of columns (rows with axis 1) whether medians are farther from 0 than a limit."""
    height, width = image.shape
    n_segments = len(edges) - 1
    beyond = np.zeros((n_segments, width if axis == 0 else height), np.bool_)
    # Three counts in one number: of usable pixels, and of those above and below. A segment has at most 511.
    counts = np.zeros(width, np.int32)
    segment = 0
    for row in range(height):
        for column in range(width):
            value = image[row, column]
            some = 1 + (np.int32(value > limit) << 10) + (np.int32(value < -limit) << 20)
            counts[column] += some if usable[row, column] else 0
        if axis == 1:
            for k in range(n_segments):
                total = 0
                for column in range(edges[k], edges[k + 1]):
                    total += counts[column]
                beyond[k, row] = _most(total)
            counts[:] = 0
        elif row + 1 == edges[segment + 1]:
            for column in range(width):
                beyond[segment, column] = _most(counts[column])
            counts[:] = 0
            segment += 1
    return beyond


@numba.njit(cache=True, nogil=True)
def _most(counts: int) -> bool:
    """Return whether at least half of the pixels are above, or below, by the numbers of `_medians_beyond`."""
    n, above, below = counts & 1023, (counts >> 10) & 1023, counts >> 20
    return n > 0 and (2 * above >= n or 2 * below >= n)


@numba.njit(cache=True, nogil=True)
def _gather(
    image: NDArray[np.float32],
    usable: NDArray[np.bool_],
    axis: int,
    edges: NDArray[np.int64],
    segments: NDArray[np.int64],
    columns: NDArray[np.int64],
    values: NDArray[np.float32],
) -> None:
    """Collect the usable pixels of segments of columns (rows with axis 1)."""
    for k in range(len(segments)):
        first, last = edges[segments[k]], edges[segments[k] + 1]
        for place in range(first, last):
            row, column = (place, columns[k]) if axis == 0 else (columns[k], place)
            if usable[row, column]:
                values[k, place - first] = image[row, column]


def _is_even(values: NDArray[np.float32], noise: float) -> bool:
    """Return whether a column deviates by about the same everywhere; one that crosses a star does not."""
    middle, high = np.percentile(values, [50, 95])
    return bool(high < UNEVEN * middle + 3 * noise)


def _median(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the median of the finite values in each row, NaN if there are none, without a warning."""
    ordered = np.sort(values, axis=1)
    n = np.count_nonzero(np.isfinite(values), axis=1)
    rows = np.arange(len(values))
    low = ordered[rows, np.maximum((n - 1) // 2, 0)]
    high = ordered[rows, np.minimum(n // 2, values.shape[1] - 1)]
    return np.where(n > 0, np.float32(0.5) * (low + high), np.float32(np.nan))
