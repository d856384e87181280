"""Variance of a difference: that of the two images through the squares of their filters."""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np
from numpy.typing import NDArray

from prompt_processing.images import Psf
from prompt_processing.imaging.row_bands import in_bands

from .block_convolution import BlockGrid, PolynomialSpectra, convolve_blocks

LEAST = np.finfo(np.float32).tiny
"""Least variance, above 0 in any unit."""

BIN = 2
"""Variances are smoother than images: a quarter of the pixels measures them to a per cent."""


def filtered_variance(
    variances: Sequence[NDArray[np.float32]], filters: Sequence[Psf], margin: int, out: NDArray[np.float32]
) -> None:
    """Sum variances convolved with squared filters.

    Parameters
    ----------
    variances : sequence of `~numpy.ndarray` of float32, shape (height, width)
        Variances; invalid pixels (not above 0, or not finite) count as 0.
    filters : sequence of `Psf`
        Squared filters that vary over the image; their sums are not 1.
    margin : `int`
        Half width of the filters, pixels.
    out : `~numpy.ndarray` of float32, shape (height, width)
        Array to overwrite with the sum.
    """
    height, width = out.shape
    shape = (-(-height // BIN), -(-width // BIN))
    grid = BlockGrid(shape, -(-margin // BIN) + 1, 128)
    binned = [np.empty(shape, np.float32) for _ in variances]
    for variance, small in zip(variances, binned, strict=True):
        in_bands(lambda a, b, v=variance, s=small: _bin(v, s, a, b), shape[0])  # type: ignore[misc]
    spectra = [PolynomialSpectra.of(_binned_filter(square), grid.transform) for square in filters]
    result = np.empty(shape, np.float32)
    convolve_blocks(binned, [result], grid, lambda x, y: [[each.at(x, y) for each in spectra]])
    in_bands(lambda start, stop: _enlarge(result, out, start, stop), height)


def _binned_filter(square: Psf) -> Psf:
    """Return a filter for the pixels of the binned image, with the same sum."""
    half = square.size // 2
    small = -(-half // BIN) + 1
    offsets, bins = np.arange(-half, half + 1), np.arange(-small, small + 1)
    # The distance of two binned pixels has a triangular distribution over the pixels in them.
    weights = np.maximum(0.0, 1 - np.abs(offsets - BIN * bins[:, np.newaxis]) / BIN)
    coefficients = np.einsum("aj,tjk,bk->tab", weights, square.coefficients, weights, optimize=True)
    middle = (BIN - 1) / 2
    return Psf(
        coefficients.astype(np.float32),
        square.order,
        (square.x_centre - middle) / BIN,
        (square.y_centre - middle) / BIN,
        square.scale / BIN,
    )


@numba.njit(cache=True, nogil=True)
def _bin(image: NDArray[np.float32], out: NDArray[np.float32], start: int, stop: int) -> None:
    """Average the usable pixels of each 2 x 2."""
    height, width = image.shape
    zero, one, most = np.float32(0), np.float32(1), np.float32(np.inf)
    for row in range(start, stop):
        whole = width // 2 if 2 * row + 1 < height else 0
        # No branches here, so that many pixels are averaged at once.
        for column in range(whole):
            a, b = image[2 * row, 2 * column], image[2 * row, 2 * column + 1]
            c, d = image[2 * row + 1, 2 * column], image[2 * row + 1, 2 * column + 1]
            in_a, in_b = (a > zero) & (a < most), (b > zero) & (b < most)
            in_c, in_d = (c > zero) & (c < most), (d > zero) & (d < most)
            total = (a if in_a else zero) + (b if in_b else zero)
            total = total + (c if in_c else zero) + (d if in_d else zero)
            count = (one if in_a else zero) + (one if in_b else zero)
            count = count + (one if in_c else zero) + (one if in_d else zero)
            out[row, column] = total / max(count, one)
        for column in range(whole, out.shape[1]):
            total, count = zero, zero
            for j in range(2 * row, min(2 * row + 2, height)):
                for i in range(2 * column, min(2 * column + 2, width)):
                    value = image[j, i]
                    if value > zero and value < most:
                        total += value
                        count += one
            out[row, column] = total / max(count, one)


@numba.njit(cache=True, nogil=True)
def _enlarge(small: NDArray[np.float32], out: NDArray[np.float32], start: int, stop: int) -> None:
    """Interpolate between the centres of 2 x 2 pixels; never below the least positive number."""
    rows, columns = small.shape
    width = out.shape[1]
    near, far, least = np.float32(0.75), np.float32(0.25), LEAST
    # A row interpolated to the output's height, with one more value at either end.
    line = np.empty(columns + 2, np.float32)
    for row in range(start, stop):
        j = row // 2
        k = min(max(j + 2 * (row % 2) - 1, 0), rows - 1)
        for i in range(columns):
            line[i + 1] = near * small[j, i] + far * small[k, i]
        line[0], line[columns + 1] = line[1], line[columns]
        for i in range(width // 2):
            out[row, 2 * i] = max(near * line[i + 1] + far * line[i], least)
            out[row, 2 * i + 1] = max(near * line[i + 1] + far * line[i + 2], least)
        if width % 2:
            out[row, width - 1] = max(near * line[columns] + far * line[columns - 1], least)
