"""Turn an image into coefficients of its interpolating cubic spline, in place and in compiled passes.

`filter_rows` over all rows, then `filter_columns` over all columns, of an image of float32 that is finite
everywhere; it is mirrored at its edges. By Unser, Aldroubi & Eden 1993, IEEE Trans. Signal Process. 41, 821:
one recursive filter in each direction along each axis.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

POLE = math.sqrt(3.0) - 2.0
START = 16
"""Pixels after which the filter's memory of an edge is below float32's precision."""


@numba.njit(cache=True, nogil=True, fastmath=True)
def filter_rows(image: NDArray[np.float32], start: int, stop: int) -> None:
    """Filter rows, four at a time: each value waits for the one before it, but not for other rows."""
    n = image.shape[1]
    z = np.float32(POLE)
    end = np.float32(POLE / (POLE * POLE - 1.0))
    six = np.float32(6.0)
    for row in range(start, stop):
        line = image[row]
        total, power = np.float32(0.0), np.float32(1.0)
        for i in range(min(START, n)):
            total += power * line[i]
            power *= z
        line[0] = six * total
    whole = start + (stop - start) // 4 * 4
    for row in range(start, whole, 4):
        l0, l1, l2, l3 = image[row], image[row + 1], image[row + 2], image[row + 3]
        v0, v1, v2, v3 = l0[0], l1[0], l2[0], l3[0]
        for i in range(1, n):
            v0, v1 = six * l0[i] + z * v0, six * l1[i] + z * v1
            v2, v3 = six * l2[i] + z * v2, six * l3[i] + z * v3
            l0[i], l1[i], l2[i], l3[i] = v0, v1, v2, v3
        v0, v1 = end * (v0 + z * l0[n - 2]), end * (v1 + z * l1[n - 2])
        v2, v3 = end * (v2 + z * l2[n - 2]), end * (v3 + z * l3[n - 2])
        l0[n - 1], l1[n - 1], l2[n - 1], l3[n - 1] = v0, v1, v2, v3
        for i in range(n - 2, -1, -1):
            v0, v1, v2, v3 = z * (v0 - l0[i]), z * (v1 - l1[i]), z * (v2 - l2[i]), z * (v3 - l3[i])
            l0[i], l1[i], l2[i], l3[i] = v0, v1, v2, v3
    for row in range(whole, stop):
        line = image[row]
        for i in range(1, n):
            line[i] = six * line[i] + z * line[i - 1]
        line[n - 1] = end * (line[n - 1] + z * line[n - 2])
        for i in range(n - 2, -1, -1):
            line[i] = z * (line[i + 1] - line[i])


@numba.njit(cache=True, nogil=True, fastmath=True)
def filter_columns(image: NDArray[np.float32], start: int, stop: int) -> None:
    """Filter columns ``start`` to ``stop``, all at once and row by row, in memory order."""
    n = image.shape[0]
    z = np.float32(POLE)
    end = np.float32(POLE / (POLE * POLE - 1.0))
    six = np.float32(6.0)
    power = np.float32(1.0)
    first = np.zeros(stop - start, np.float32)
    for j in range(min(START, n)):
        for i in range(start, stop):
            first[i - start] += power * image[j, i]
        power *= z
    for i in range(start, stop):
        image[0, i] = six * first[i - start]
    for j in range(1, n):
        for i in range(start, stop):
            image[j, i] = six * image[j, i] + z * image[j - 1, i]
    for i in range(start, stop):
        image[n - 1, i] = end * (image[n - 1, i] + z * image[n - 2, i])
    for j in range(n - 2, -1, -1):
        for i in range(start, stop):
            image[j, i] = z * (image[j + 1, i] - image[j, i])
