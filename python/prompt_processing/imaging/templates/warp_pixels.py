"""The warp's compiled passes over pixels."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from .spline_filter import filter_rows

CELL = 32
"""Spacing of the exactly transformed points, pixels; positions between them are bilinear (to 1e-4 pixel)."""


_CACHED_ROWS = 32
"""Rows that are cut out and filtered together, while they are in the processor's cache."""


@numba.njit(cache=True, nogil=True)
def cut_spline(  # type: ignore[no-untyped-def]
    patch_image, patch_variance, patch_mask, row0, column0, no_data, spline, start, stop
):  # fmt: skip
    """Cut out a part of a patch, and filter its rows for the spline; return the number of missing values."""
    missing = 0
    for first in range(start, stop, _CACHED_ROWS):
        last = min(first + _CACHED_ROWS, stop)
        for row in range(first, last):
            for column in range(spline.shape[1]):
                value = patch_image[row0 + row, column0 + column]
                noise = patch_variance[row0 + row, column0 + column]
                if patch_mask[row0 + row, column0 + column] & no_data or np.isnan(value) or np.isnan(noise):
                    value = np.float32(0)
                    missing += 1
                spline[row, column] = value
        filter_rows(spline, first, last)
    return missing


@numba.njit(cache=True, nogil=True)
def mark_missing(  # type: ignore[no-untyped-def]
    patch_image, patch_variance, row0, column0, no_data, mask, start, stop
):  # fmt: skip
    """Set the plane of missing values in a part of a patch where image or variance are NaN."""
    for row in range(start, stop):
        for column in range(mask.shape[1]):
            value = patch_image[row0 + row, column0 + column]
            noise = patch_variance[row0 + row, column0 + column]
            if np.isnan(value) or np.isnan(noise):
                mask[row, column] |= no_data


@numba.njit(cache=True, nogil=True)
def begin_planes(image, variance, mask, start, stop):  # type: ignore[no-untyped-def]
    """Mark all pixels as not yet filled: variance below 0."""
    image[start:stop] = np.nan
    variance[start:stop] = -1
    mask[start:stop] = 0


@numba.njit(cache=True, nogil=True)
def finish_planes(variance, mask, no_data, start, stop):  # type: ignore[no-untyped-def]
    """Mark pixels that remain unfilled; return the number of filled pixels."""
    covered = 0
    for row in range(start, stop):
        for column in range(variance.shape[1]):
            if variance[row, column] < 0:
                variance[row, column] = np.nan
                mask[row, column] |= no_data
            else:
                covered += 1
    return covered


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "arcp", "nsz"})
def warp_patch(
    spline: NDArray[np.float32],
    patch_variance: NDArray[np.float32],
    patch_mask: NDArray[np.signedinteger],
    row0: int,
    column0: int,
    px: NDArray[np.float64],
    py: NDArray[np.float64],
    factor: float,
    no_data: int,
    unfilled: NDArray[np.int16],
    image: NDArray[np.float32],
    variance: NDArray[np.float32],
    mask: NDArray[np.int32],
    start: int,
    stop: int,
) -> None:
    """Fill pixels without a value (variance below 0) from one patch; ``unfilled`` counts them by cell.

    The part of the patch to which ``spline`` and the positions belong begins at ``row0`` and ``column0`` of
    the variance and the mask.
    """
    height, width = image.shape
    patch_height, patch_width = spline.shape
    n_columns = px.shape[1] - 1
    one, two, sixth, third2 = np.float32(1), np.float32(2), np.float32(1 / 6), np.float32(2 / 3)
    half = np.float32(0.5)
    # Unsigned, because numba counts a negative index from the end: a test for each of 24 values a pixel.
    step1, step3 = np.uint64(1), np.uint64(3)
    first_row, first_column = np.uint64(row0), np.uint64(column0)
    for cell_row in range(start, stop):
        for cell_column in range(n_columns):
            if unfilled[cell_row, cell_column] == 0:
                continue
            filled = 0
            x00, x01 = px[cell_row, cell_column], px[cell_row, cell_column + 1]
            x10, x11 = px[cell_row + 1, cell_column], px[cell_row + 1, cell_column + 1]
            y00, y01 = py[cell_row, cell_column], py[cell_row, cell_column + 1]
            y10, y11 = py[cell_row + 1, cell_column], py[cell_row + 1, cell_column + 1]
            # A point behind the projection is NaN, which fails both comparisons.
            if not (max(x00, x01, x10, x11) >= 1 and min(x00, x01, x10, x11) < patch_width - 2):
                continue
            if not (max(y00, y01, y10, y11) >= 1 and min(y00, y01, y10, y11) < patch_height - 2):
                continue
            # Sides of the cell's middle in patch pixels: area of one pixel, as the flux scales with it.
            ax = 0.5 * (x01 - x00 + x11 - x10) / CELL
            ay = 0.5 * (y01 - y00 + y11 - y10) / CELL
            bx = 0.5 * (x10 - x00 + x11 - x01) / CELL
            by = 0.5 * (y10 - y00 + y11 - y01) / CELL
            scale = np.float32(factor * abs(ax * by - ay * bx))
            rows, columns = min(CELL, height - cell_row * CELL), min(CELL, width - cell_column * CELL)
            # Through the patch in the order of memory: backwards takes two thirds longer.
            for j in range(rows):
                r = rows - 1 - j if by < 0 else j
                row = cell_row * CELL + r
                t = r / CELL
                x, y = x00 + t * (x10 - x00), y00 + t * (y10 - y00)
                dx = (x01 + t * (x11 - x01) - x) / CELL
                dy = (y01 + t * (y11 - y01) - y) / CELL
                for k in range(columns):
                    c = columns - 1 - k if dx < 0 else k
                    column = cell_column * CELL + c
                    xc, yc = x + c * dx, y + c * dy
                    # Compared as floats: NaN and values beyond all integers have no pixel.
                    inside = xc >= 1 and yc >= 1 and xc < patch_width - 2 and yc < patch_height - 2
                    if not inside or variance[row, column] >= 0:
                        continue
                    left, low = int(xc), int(yc)
                    fx, fy = np.float32(xc - left), np.float32(yc - low)
                    gx, gy = one - fx, one - fy
                    x1, y1 = np.uint64(left), np.uint64(low)
                    x0, y0, x2, y2 = x1 - step1, y1 - step1, x1 + step1, y1 + step1
                    m1, m2, n1, n2 = first_row + y1, first_row + y2, first_column + x1, first_column + x2
                    flags = patch_mask[m1, n1] | patch_mask[m1, n2] | patch_mask[m2, n1] | patch_mask[m2, n2]
                    if flags & no_data:
                        continue
                    wx0 = gx * gx * gx * sixth
                    wx1 = third2 - half * fx * fx * (two - fx)
                    wx2 = third2 - half * gx * gx * (two - gx)
                    wx3 = fx * fx * fx * sixth
                    total = np.float32(0)
                    for j in range(4):
                        line = y0 + np.uint64(j)
                        part = (
                            wx0 * spline[line, x0]
                            + wx1 * spline[line, x1]
                            + wx2 * spline[line, x2]
                            + wx3 * spline[line, x0 + step3]
                        )
                        if j == 0:
                            weight = gy * gy * gy * sixth
                        elif j == 1:
                            weight = third2 - half * fy * fy * (two - fy)
                        elif j == 2:
                            weight = third2 - half * gy * gy * (two - gy)
                        else:
                            weight = fy * fy * fy * sixth
                        total += weight * part
                    noise = gy * (gx * patch_variance[m1, n1] + fx * patch_variance[m1, n2]) + fy * (
                        gx * patch_variance[m2, n1] + fx * patch_variance[m2, n2]
                    )
                    if not noise >= 0:
                        continue
                    image[row, column] = total * scale
                    variance[row, column] = noise * scale * scale
                    mask[row, column] = flags
                    filled += 1
            unfilled[cell_row, cell_column] -= np.int16(filled)
