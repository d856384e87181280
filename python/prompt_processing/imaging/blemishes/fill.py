"""Fill bad pixels, and single pixels without data, from the light around them."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from prompt_processing.images import Exposure, Mask

FEWEST_NEIGHBOURS = 5
"""Number of usable pixels around one without data that is filled from them."""


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
    # Faster than searching for both indices.
    rows, columns = np.divmod(np.flatnonzero(holes), holes.shape[1])
    _fill(image, rows, columns, np.ascontiguousarray(unusable))


@numba.njit(cache=True, nogil=True)
def _fill(
    image: NDArray[np.float32],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    unusable: NDArray[np.bool_],
) -> None:
    height, width = image.shape
    near = np.empty(81, np.float32)
    for k in range(len(rows)):
        row, column = rows[k], columns[k]
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
        Background-subtracted. Pixels without data that have at least `FEWEST_NEIGHBOURS` usable
        neighbours lose ``NO_DATA`` and get ``INTRP``; and ``BAD`` where the light is too steep to fill.
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
    rows, columns = np.divmod(np.flatnonzero(empty), empty.shape[1])
    rows, columns = _with_neighbours(rows, columns, unusable)
    _fill(exposure.image, rows, columns, unusable)
    exposure.mask[rows, columns] &= ~np.int32(int(Mask.NO_DATA))
    exposure.mask[rows, columns] |= np.int32(int(Mask.INTRP))
    steep = exposure.image[rows, columns] > 30 * noise
    exposure.mask[rows[steep], columns[steep]] |= np.int32(int(Mask.BAD))
    return len(rows)


def _with_neighbours(
    rows: NDArray[np.int64], columns: NDArray[np.int64], unusable: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return those pixels that have at least `FEWEST_NEIGHBOURS` usable ones beside them."""
    padded = np.pad(unusable, 1, constant_values=True)
    usable = np.zeros(len(rows), np.int8)
    for down in range(3):
        for right in range(3):
            usable += ~padded[rows + down, columns + right]
    enough = usable >= FEWEST_NEIGHBOURS
    return rows[enough], columns[enough]
