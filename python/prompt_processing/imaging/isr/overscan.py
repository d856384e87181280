"""Electronic zero level of each row of a segment, from its serial overscan."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from prompt_processing.images.robust import MAD_TO_SIGMA

SKIPPED_COLUMNS = 4
"""Number of first overscan columns, which contain deferred charge."""

TRAIL_SIGNIFICANCE = 7.0
"""Significance of the fall along an overscan row above which it contains a bleed's charge."""

COUNTED = 256
"""Largest range of integers, ADU, whose median is found by counting."""


@dataclass(frozen=True, slots=True, eq=False)
class OverscanFit:
    """Level and noise from the overscan of one segment.

    Attributes
    ----------
    level : `~numpy.ndarray` of float32, shape (rows,)
        Zero level of each row, ADU.
    read_noise : `float`
        Standard deviation of a pixel, ADU; NaN if there are too few columns.
    n_replaced : `int`
        Number of rows whose level comes from their neighbours.
    """

    level: NDArray[np.float32]
    read_noise: float
    n_replaced: int


@numba.njit(cache=True, nogil=True)
def _median(values, counts):  # type: ignore[no-untyped-def]
    """Return the exact median; integers of a narrow range are counted, which takes a fifth of the time."""
    n = values.shape[0]
    least, largest, are_integers = values[0], values[0], True
    for i in range(n):
        least, largest = min(least, values[i]), max(largest, values[i])
        are_integers &= values[i] == np.floor(values[i])
    # Not a number fails the comparison.
    if not (are_integers and largest - least < counts.shape[0]):
        return np.median(values)
    span = int(largest - least) + 1
    counts[:span] = 0
    for i in range(n):
        counts[int(values[i] - least)] += 1
    low, place = (n - 1) // 2, 0
    seen = counts[0]
    while seen <= low:
        place += 1
        seen += counts[place]
    median = least + place
    if seen > n // 2:
        return median
    place += 1
    while counts[place] == 0:
        place += 1
    return 0.5 * (median + least + place)


@numba.njit(cache=True, nogil=True)
def _row_statistics(overscan, level, scatter, fall):  # type: ignore[no-untyped-def]
    """Fill clipped mean, scatter and first-half-minus-second-half of each row."""
    rows, columns = overscan.shape
    values, counts = np.empty(columns, np.float64), np.zeros(COUNTED, np.int32)
    for row in range(rows):
        for column in range(columns):
            values[column] = overscan[row, column]
        median = _median(values, counts)
        # Twice the deviations, because the median of integers may be half of one.
        sigma = MAD_TO_SIGMA * (0.5 * _median(np.abs(2.0 * values - 2.0 * median), counts))
        # Integers of a quiet amplifier may have a median deviation of 0.
        limit = 4.0 * max(sigma, 0.5)
        total = squares = first = second = 0.0
        n = n_first = n_second = 0
        for column in range(columns):
            value = values[column]
            deviation = value - median
            if abs(deviation) <= limit:
                total += deviation
                squares += deviation * deviation
                n += 1
            if column < columns // 3:
                first += value
                n_first += 1
            elif column >= columns - columns // 3:
                second += value
                n_second += 1
        mean = total / n
        level[row] = median + mean
        scatter[row] = squares / n - mean * mean
        fall[row] = first / max(n_first, 1) - second / max(n_second, 1)


def fit_overscan(overscan: NDArray[np.integer] | NDArray[np.floating]) -> OverscanFit:
    """Estimate the zero level of each row.

    Parameters
    ----------
    overscan : `~numpy.ndarray`, shape (rows, columns)
        Serial overscan, ADU, first-read column first, rows of the data section.

    Returns
    -------
    fit : `OverscanFit`
        Level 0 without columns: the bias of a camera without overscan has the whole level.

    Notes
    -----
    Each row has its own clipped mean, which follows true jumps of the level
    between rows. Charge of a saturated star that trails into
    the overscan also looks like a jump, but falls along the row. Such rows,
    and those with excess scatter, take the level of the nearest good rows
    instead.
    """
    if overscan.shape[1] == 0:
        return OverscanFit(np.zeros(overscan.shape[0], np.float32), float("nan"), 0)
    overscan = overscan[:, min(SKIPPED_COLUMNS, max(overscan.shape[1] - 8, 0)) :]
    rows, columns = overscan.shape
    if columns < 3:
        raise ValueError(f"An overscan of {columns} columns is too narrow.")
    level, variance, fall = np.empty(rows), np.empty(rows), np.empty(rows)
    _row_statistics(np.ascontiguousarray(overscan), level, variance, fall)
    read_noise = float(np.sqrt(max(np.median(variance), 1.0 / 12)))
    fall_error = read_noise * np.sqrt(2.0 / max(columns // 3, 1))
    bad = (np.abs(fall) > TRAIL_SIGNIFICANCE * fall_error) | (variance > (4 * read_noise) ** 2)
    n_bad = int(bad.sum())
    if 0 < n_bad < rows:
        good = np.flatnonzero(~bad)
        level[bad] = np.interp(np.flatnonzero(bad), good, _running_median(level[good], 5))
    return OverscanFit(level.astype(np.float32), read_noise if columns >= 8 else float("nan"), n_bad)


def _running_median(values: NDArray[np.float64], half_width: int) -> NDArray[np.float64]:
    """Return the median of each value's neighbourhood; the ends repeat."""
    padded = np.pad(values, half_width, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half_width + 1), axis=1)
