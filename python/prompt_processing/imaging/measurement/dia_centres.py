"""Centre peaks of the significance on the light."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

CORE = 8
"""Half width of the PSF that is compared, pixels."""


@numba.njit(cache=True, nogil=True)
def centre_peaks(
    image: NDArray[np.float32],
    usable: NDArray[np.bool_],
    stamps: NDArray[np.float32],
    grid: NDArray[np.int64],
    most: int,
    peaks: NDArray[np.void],
) -> None:
    """Move peaks to the nearest maximum of the light in the PSF, in place.

    Where a star changed, noise and the match's error are largest in its middle, so the
    significance peaks beside it, up to a PSF's width away.

    Parameters
    ----------
    image : `~numpy.ndarray` of float32, shape (height, width)
        Difference.
    usable : `~numpy.ndarray` of bool, shape (height, width)
        Pixels that count.
    stamps : `~numpy.ndarray`, shape (n, size, size)
        PSF on a coarse grid.
    grid : `~numpy.ndarray`, shape (2,)
        Step of the grid, pixels, and number of its columns.
    most : `int`
        Largest number of steps of a pixel.
    peaks : `~numpy.ndarray` of `dia_detection.PEAK`
        Peaks; ``x`` and ``y`` change.
    """
    height, width = image.shape
    for k in range(len(peaks)):
        row, column = int(peaks[k]["y"]), int(peaks[k]["x"])
        sign = 1.0 if peaks[k]["score"] > 0 else -1.0
        stamp = stamps[row // grid[0] * grid[1] + column // grid[0]]
        best = sign * _light(image, usable, stamp, row, column)
        for _ in range(most):
            to_row, to_column = row, column
            for j in range(max(row - 1, 0), min(row + 2, height)):
                for i in range(max(column - 1, 0), min(column + 2, width)):
                    if (j == row and i == column) or not usable[j, i]:
                        continue
                    light = sign * _light(image, usable, stamp, j, i)
                    if light > best:
                        best, to_row, to_column = light, j, i
            if to_row == row and to_column == column:
                break
            row, column = to_row, to_column
        peaks[k]["y"], peaks[k]["x"] = row, column


@numba.njit(cache=True, nogil=True)
def _light(
    image: NDArray[np.float32], usable: NDArray[np.bool_], stamp: NDArray[np.float32], row: int, column: int
) -> float:
    half = stamp.shape[0] // 2
    core = min(half, CORE)
    total = 0.0
    for j in range(max(row - core, 0), min(row + core + 1, image.shape[0])):
        for i in range(max(column - core, 0), min(column + core + 1, image.shape[1])):
            if usable[j, i]:
                total += stamp[j - row + half, i - column + half] * image[j, i]
    return total


def distinct(peaks: NDArray[np.void]) -> NDArray[np.void]:
    """Return the first of peaks of one sign at one pixel."""
    keys = np.column_stack([peaks["x"], peaks["y"], peaks["score"] > 0])
    _, first = np.unique(keys, axis=0, return_index=True)
    return peaks[np.sort(first)]
