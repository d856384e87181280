"""Compiled access to the pixels around a difference source."""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(cache=True, nogil=True)
def cut(
    image: NDArray[np.float32],
    variance: NDArray[np.float32],
    mask: NDArray[np.int32],
    planes: int,
    column: int,
    row: int,
    data: NDArray[np.float64],
    noise: NDArray[np.float64],
) -> None:
    """Copy a square; pixels off the image or unusable get a variance of 0."""
    height, width = image.shape
    half = data.shape[0] // 2
    for r in range(data.shape[0]):
        for c in range(data.shape[1]):
            j, i = row - half + r, column - half + c
            data[r, c] = noise[r, c] = 0.0
            if 0 <= j < height and 0 <= i < width and not mask[j, i] & planes:
                value, v = image[j, i], variance[j, i]
                if math.isfinite(value) and v > 0:
                    data[r, c], noise[r, c] = value, v
