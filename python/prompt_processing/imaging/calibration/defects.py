"""Find and fill bad columns, rows and pixels that no mask declares."""

from __future__ import annotations

from itertools import pairwise

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from prompt_processing.images import Exposure, Mask
from prompt_processing.images.robust import MAD_TO_SIGMA

SEGMENTS = (256, 40)
"""Pixels of a column (or row) judged separately: not all bad columns extend from end to end."""

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

PIECE = 15
"""Length of the shortest dark piece of a column, pixels ..."""
DARK = 1.8
"""... its least depth below both sides, in the noise of a pixel ..."""
DARK_SHARE = 0.85
"""... and the least share of its pixels that are darker."""

MOST_DARK = 0.01
"""Largest share of pixels in dark pieces; with more, the sky itself has structure."""

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
    bad = np.zeros(exposure.shape, np.bool_)
    for image, marks, flags in (
        (exposure.image, bad, exposure.mask),
        (exposure.image.T, bad.T, exposure.mask.T),
    ):
        usable = (flags & np.int32(int(Mask.NO_DATA))) == 0
        for segment in SEGMENTS:
            found = _bad_columns(image, usable & ~marks, noise, segment)
            if np.mean(found.any(axis=0)) < MOST:
                marks |= found
        found = _dark_pieces(image, usable & ~marks, noise)
        if np.mean(found) < MOST_DARK:
            marks |= found
    if not bad.any():
        return 0
    unusable = exposure.has(Mask.BAD | Mask.SAT | Mask.NO_DATA) | bad
    exposure.mask[bad] |= np.int32(int(Mask.BAD | Mask.INTRP))
    fill_pixels(exposure.image, bad, unusable)
    return int(np.count_nonzero(bad))


def _bad_columns(
    image: NDArray[np.float32], usable: NDArray[np.bool_], noise: float, segment: int
) -> NDArray[np.bool_]:
    """Return the pixels of columns whose median deviates from that of the adjacent columns."""
    height, width = image.shape
    bad = np.zeros(image.shape, np.bool_)
    if width < 9 or height < SHORTEST:
        return bad
    edges = np.linspace(0, height, max(height // segment, 1) + 1).astype(int)
    for first, last in pairwise(edges):
        part = np.where(usable[first:last], image[first:last], np.float32(np.nan))
        medians = _median(np.ascontiguousarray(part.T))
        padded = np.pad(medians, 3, constant_values=np.nan)
        around = _median(np.stack([padded[k : k + width] for k in (0, 1, 2, 4, 5, 6)], axis=-1))
        excess = medians - around
        # Among stars, columns differ by more than noise.
        spread = MAD_TO_SIGMA * float(np.nanmedian(np.abs(excess))) if np.isfinite(excess).any() else np.inf
        error = max(spread, 1.25 * noise / np.sqrt(last - first))
        with np.errstate(invalid="ignore"):
            candidates = np.flatnonzero(np.abs(excess) > max(SIGNIFICANCE * error, LEAST * noise))
        for column in candidates:
            values = part[:, column] - around[column]
            values = values[np.isfinite(values)] * np.sign(excess[column])
            if len(values) <= SHORTEST // 2 or np.mean(values > 0) < STEADY:
                continue
            # Stars are shorter than long segments, where they leave the median alone.
            bad[first:last, column] = segment > LONG or _is_even(values, noise)
    return bad & usable


def _dark_pieces(image: NDArray[np.float32], usable: NDArray[np.bool_], noise: float) -> NDArray[np.bool_]:
    """Return pieces of columns that are darker than the columns on both sides: no light of the sky does that.

    They may be as short as `PIECE`: traps and the trails of charge that they hold back.
    """
    width = image.shape[1]
    if width < 9 or image.shape[0] < PIECE:
        return np.zeros(image.shape, np.bool_)
    below = np.empty(image.shape, np.float32)
    _below_sides(np.ascontiguousarray(image), np.ascontiguousarray(usable), below)
    # The minimum of two means of two pixels lies 0.4 noise below the sky.
    mean = np.empty(image.shape, np.float32)
    dark = np.zeros(image.shape, np.bool_)
    if not _mark_dark(below, PIECE, -DARK * noise, mean, dark):
        return dark
    # Few columns have any, and the other filters cost more than the mean.
    columns = np.flatnonzero(dark.any(axis=0))
    some, light = dark[:, columns], np.ascontiguousarray(below[:, columns])
    # A gap between two stars is much deeper in its middle.
    deepest = ndimage.minimum_filter1d(light, PIECE, axis=0)
    some &= deepest > 2 * mean[:, columns] - 3 * noise
    some &= ndimage.uniform_filter1d((light < 0).astype(np.float32), PIECE, axis=0) > DARK_SHARE
    near = ndimage.maximum_filter1d(some.view(np.uint8), PIECE, axis=0, mode="constant").view(np.bool_)
    dark[:, columns] = near & (light < -0.5 * noise) & usable[:, columns]
    return dark


@numba.njit(cache=True, nogil=True)
def _below_sides(image: NDArray[np.float32], usable: NDArray[np.bool_], below: NDArray[np.float32]) -> None:
    """Subtract from pixels the darker mean of the two pixels at a distance of 2 and 3 on either side.

    Unusable pixels count as 0, and so does their difference.
    """
    height, width = image.shape
    half = np.float32(0.5)
    line = np.zeros(width + 6, np.float32)
    for row in range(height):
        for column in range(width):
            line[column + 3] = image[row, column] if usable[row, column] else np.float32(0)
        line[:3], line[width + 3 :] = line[3], line[width + 2]
        for column in range(width):
            left, right = line[column] + line[column + 1], line[column + 5] + line[column + 6]
            darker = min(left, right)
            below[row, column] = line[column + 3] - half * darker if usable[row, column] else np.float32(0)


@numba.njit(cache=True, nogil=True)
def _mark_dark(
    below: NDArray[np.float32], length: int, limit: float, mean: NDArray[np.float32], dark: NDArray[np.bool_]
) -> bool:
    """Average pixels along columns, with a mirror at the ends, and mark low means; return whether any is."""
    height, width = below.shape
    reach = length // 2
    found = False
    total = np.zeros(width, np.float64)
    for row in range(height):
        for column in range(width):
            if row == 0:
                for k in range(-reach, reach + 1):
                    total[column] += below[k if k >= 0 else -k - 1, column]
                total[column] /= length
            else:
                new, old = row + reach, row - reach - 1
                new = new if new < height else 2 * height - new - 1
                old = old if old >= 0 else -old - 1
                total[column] += (np.float64(below[new, column]) - np.float64(below[old, column])) / length
            mean[row, column] = total[column]
            if mean[row, column] < limit:
                dark[row, column] = True
                found = True
    return found


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


def fill_pixels(image: NDArray[np.float32], holes: NDArray[np.bool_], unusable: NDArray[np.bool_]) -> None:
    """Fill pixels from usable ones around them, in place: exact where the image is quadratic.

    Parameters
    ----------
    image : `~numpy.ndarray` of float32, shape (height, width)
        Changed in place.
    holes : `~numpy.ndarray` of bool, shape (height, width)
        Pixels to fill.
    unusable : `~numpy.ndarray` of bool, shape (height, width)
        Pixels not to use as a source, the holes included.
    """
    _fill(image, np.argwhere(holes), np.ascontiguousarray(unusable))


@numba.njit(cache=True, nogil=True)
def _fill(image: NDArray[np.float32], places: NDArray[np.int64], unusable: NDArray[np.bool_]) -> None:
    height, width = image.shape
    near = np.empty(81, np.float32)
    for k in range(len(places)):
        row, column = places[k]
        if 0 < row < height - 1 and 0 < column < width - 1:
            cross, corners, good = np.float32(0), np.float32(0), 0
            for j in range(-1, 2):
                for i in range(-1, 2):
                    if (j == 0 and i == 0) or unusable[row + j, column + i]:
                        continue
                    good += 1
                    if j == 0 or i == 0:
                        cross += image[row + j, column + i]
                    else:
                        corners += image[row + j, column + i]
            if good == 8:
                image[row, column] = (2 * cross - corners) / 4
                continue
        for reach in range(1, 5):
            n = 0
            for y in range(max(row - reach, 0), min(row + reach + 1, height)):
                for x in range(max(column - reach, 0), min(column + reach + 1, width)):
                    if not unusable[y, x]:
                        near[n] = image[y, x]
                        n += 1
            if n >= 2:
                image[row, column] = np.median(near[:n])
                break


def fill_scattered_holes(exposure: Exposure, noise: float) -> int:
    """Fill single pixels without data in place, so that they do not disqualify stars.

    Parameters
    ----------
    exposure : `~prompt_processing.images.Exposure`
        Background-subtracted. Pixels without data that have at least five usable neighbours lose
        ``NO_DATA`` and get ``INTRP``; and ``BAD`` where the light is too steep to fill.
    noise : `float`
        Noise of a pixel, unit of the image.

    Returns
    -------
    pixels : `int`
        Number of filled pixels.
    """
    empty = exposure.has(Mask.NO_DATA)
    if not empty.any():
        return 0
    unusable = empty | exposure.has(Mask.BAD | Mask.SAT)
    neighbours = ndimage.convolve((~unusable).astype(np.int8), np.ones((3, 3), np.int8), mode="constant")
    holes = empty & (neighbours >= 5)
    fill_pixels(exposure.image, holes, unusable)
    exposure.mask[holes] &= ~np.int32(int(Mask.NO_DATA))
    exposure.mask[holes] |= np.int32(int(Mask.INTRP))
    steep = holes & (exposure.image > 30 * noise)
    exposure.mask[steep] |= np.int32(int(Mask.BAD))
    return int(np.count_nonzero(holes))
