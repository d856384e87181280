"""Find dark pieces of columns and rows: traps, and the trails of charge that they hold back."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

PIECE = 15
"""Length of the shortest dark piece of a column, pixels ..."""
DARK = 1.8
"""... its least depth below both sides, in the noise of a pixel ..."""
DARK_SHARE = 0.85
"""... and the least share of its pixels that are darker."""

MOST_DARK = 0.01
"""Largest share of pixels in dark pieces; with more, the sky itself has structure."""


def oriented[Value: np.generic](image: NDArray[Value], axis: int) -> NDArray[Value]:
    """Return an image with axis 0, and with axis 1 the view whose columns are its rows."""
    return image if axis == 0 else image.T


def dark_pieces(
    image: NDArray[np.float32], usable: NDArray[np.bool_], axis: int, noise: float
) -> NDArray[np.bool_] | None:
    """Find pieces of columns or rows that are darker than both sides; nothing in the sky looks like that.

    They may be as short as `PIECE`: traps, and the trails of charge that they hold back.

    Parameters
    ----------
    image : `~numpy.ndarray` of float32, shape (height, width)
        Image with any level of sky.
    usable : `~numpy.ndarray` of bool, shape (height, width)
        Pixels to use.
    axis : `int`
        0 for pieces of columns, 1 for pieces of rows.
    noise : `float`
        Noise of a pixel, unit of the image.

    Returns
    -------
    dark : `~numpy.ndarray` of bool, shape (height, width), or `None`
        Their pixels; `None` if no mean of `PIECE` pixels is low.
    """
    height, width = oriented(image, axis).shape
    if width < 9 or height < PIECE:
        return None
    # The minimum of two means of two pixels lies 0.4 noise below the sky.
    low = np.zeros(image.shape, np.bool_)
    if not (_dark_columns if axis == 0 else _dark_rows)(image, usable, PIECE, -DARK * noise, low):
        return None
    places = np.stack(np.divmod(np.flatnonzero(low), image.shape[1]), axis=-1)
    dark = np.zeros(image.shape, np.bool_)
    if axis == 1:
        places = places[:, ::-1]
    _confirm(oriented(image, axis), oriented(usable, axis), places, noise, oriented(dark, axis))
    return dark


@numba.njit(cache=True, nogil=True)
def _dark_columns(
    image: NDArray[np.float32], usable: NDArray[np.bool_], length: int, limit: float, dark: NDArray[np.bool_]
) -> bool:
    """Mark pixels where the mean depth along the column is low; return whether there are any.

    The depth of a pixel is below the darker mean of the two pixels at a distance of 2 and 3 on either side.
    Unusable pixels count as 0, and so does their depth. The mean has a mirror at the ends.
    """
    height, width = image.shape
    reach = length // 2
    half, nothing = np.float32(0.5), np.float32(0)
    # The depths of the rows that the mean needs.
    kept = np.empty((length + 1, width), np.float32)
    line = np.zeros(width + 6, np.float32)
    total = np.zeros(width, np.float64)
    lowest = limit * length
    found = False
    for row in range(height + reach):
        if row < height:
            for column in range(width):
                line[column + 3] = image[row, column] if usable[row, column] else nothing
            line[:3], line[width + 3 :] = line[3], line[width + 2]
            depth = kept[row % (length + 1)]
            for column in range(width):
                darker = min(line[column] + line[column + 1], line[column + 5] + line[column + 6])
                depth[column] = line[column + 3] - half * darker if usable[row, column] else nothing
        middle = row - reach
        if middle < 0:
            continue
        if middle == 0:
            for k in range(-reach, reach + 1):
                depth = kept[k if k >= 0 else -k - 1]
                for column in range(width):
                    total[column] += depth[column]
        else:
            new, old = row, middle - reach - 1
            newer = kept[(new if new < height else 2 * height - new - 1) % (length + 1)]
            older = kept[(old if old >= 0 else -old - 1) % (length + 1)]
            for column in range(width):
                total[column] += np.float64(newer[column]) - np.float64(older[column])
        found |= _mark_low(total, lowest, dark[middle])
    return found


@numba.njit(cache=True, nogil=True)
def _dark_rows(
    image: NDArray[np.float32], usable: NDArray[np.bool_], length: int, limit: float, dark: NDArray[np.bool_]
) -> bool:
    """Mark pixels as `_dark_columns` does, along rows."""
    height, width = image.shape
    reach = length // 2
    half, nothing = np.float32(0.5), np.float32(0)
    lowest = limit * length
    found = False
    # The five rows around the one in hand, unusable pixels as 0, and its depth with the mirror.
    kept = np.empty((7, width), np.float32)
    depth, totals = np.empty(width + 2 * reach, np.float32), np.empty(width, np.float64)
    for row in range(-3, height):
        ahead = row + 3
        if ahead < height:
            line = kept[ahead % 7]
            for column in range(width):
                line[column] = image[ahead, column] if usable[ahead, column] else nothing
        if row < 0:
            continue
        one, two = kept[max(row - 3, 0) % 7], kept[max(row - 2, 0) % 7]
        three, four = kept[min(row + 2, height - 1) % 7], kept[min(row + 3, height - 1) % 7]
        line = kept[row % 7]
        for column in range(width):
            darker = min(one[column] + two[column], three[column] + four[column])
            depth[column + reach] = line[column] - half * darker if usable[row, column] else nothing
        for k in range(reach):
            depth[reach - 1 - k] = depth[reach + k]
            depth[width + reach + k] = depth[width + reach - 1 - k]
        # One addition per pixel, because each waits for the previous one.
        for column in range(1, width):
            totals[column] = np.float64(depth[column + length - 1]) - np.float64(depth[column - 1])
        totals[0] = 0.0
        for column in range(length):
            totals[0] += depth[column]
        for column in range(1, width):
            totals[column] += totals[column - 1]
        found |= _mark_low(totals, lowest, dark[row])
    return found


@numba.njit(cache=True, nogil=True)
def _mark_low(totals: NDArray[np.float64], lowest: float, dark: NDArray[np.bool_]) -> bool:
    """Mark the sums of a row that are below a limit; return whether there are any."""
    low = False
    for column in range(len(totals)):
        low |= totals[column] < lowest
    if low:
        for column in range(len(totals)):
            dark[column] = totals[column] < lowest
    return low


@numba.njit(cache=True, nogil=True)
def _confirm(
    image: NDArray[np.float32],
    usable: NDArray[np.bool_],
    places: NDArray[np.int64],
    noise: float,
    dark: NDArray[np.bool_],
) -> None:
    """Mark the pieces of columns around places of low mean that are dark all along."""
    height = image.shape[0]
    reach = PIECE // 2
    depth = np.empty(2 * reach + 1, np.float32)
    for k in range(len(places)):
        row, column = places[k]
        total, deepest, darker = 0.0, np.inf, 0
        for j in range(-reach, reach + 1):
            # With a mirror at the ends.
            at = row + j if row + j >= 0 else -(row + j) - 1
            at = at if at < height else 2 * height - at - 1
            value = _depth(image, usable, at, column)
            depth[j + reach] = value
            total += value
            deepest = min(deepest, value)
            darker += value < 0
        # A gap between two stars is much deeper in its middle.
        if not (deepest > 2 * total / PIECE - 3 * noise and darker > DARK_SHARE * PIECE):
            continue
        for at in range(max(row - reach, 0), min(row + reach + 1, height)):
            if depth[at - row + reach] < -0.5 * noise and usable[at, column]:
                dark[at, column] = True


@numba.njit(cache=True, nogil=True)
def _depth(image: NDArray[np.float32], usable: NDArray[np.bool_], row: int, column: int) -> np.float32:
    """Return the depth of a pixel below both sides of its column, as `_dark_columns` finds it."""
    nothing = np.float32(0)
    if not usable[row, column]:
        return nothing
    last = image.shape[1] - 1
    left, right = np.float32(0), np.float32(0)
    for distance in (2, 3):
        before, after = max(column - distance, 0), min(column + distance, last)
        left += image[row, before] if usable[row, before] else nothing
        right += image[row, after] if usable[row, after] else nothing
    return image[row, column] - np.float32(0.5) * min(left, right)
