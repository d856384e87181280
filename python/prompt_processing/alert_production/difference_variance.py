"""Variance of a difference: that of the two images through the squares of their filters."""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np
from numpy.typing import NDArray

from ..images import Psf
from .block_convolution import BlockGrid, PolynomialSpectra, convolve_blocks
from .row_bands import in_bands

BIN = 2
"""Variances are smooth beside images: a quarter of the pixels tells them to a per cent."""


def filtered_variance(
    variances: Sequence[NDArray[np.float32]], filters: Sequence[Psf], margin: int
) -> NDArray[np.float32]:
    """Return the sum of variances convolved with squared filters.

    Parameters
    ----------
    variances : sequence of `~numpy.ndarray` of float32, shape (height, width)
        Pixels without one (not above 0, or not finite) count as 0.
    filters : sequence of `Psf`
        Squared filters, not of sum 1, as they vary over the image.
    margin : `int`
        Half width of the filters, pixels.
    """
    height, width = variances[0].shape
    shape = (-(-height // BIN), -(-width // BIN))
    grid = BlockGrid(shape, -(-margin // BIN) + 1, 128)
    binned = [np.empty(shape, np.float32) for _ in variances]
    for variance, small in zip(variances, binned, strict=True):
        in_bands(lambda a, b, v=variance, s=small: _bin(v, s, a, b), shape[0])  # type: ignore[misc]
    spectra = [PolynomialSpectra.of(_binned_filter(square), grid.transform) for square in filters]
    result = np.empty(shape, np.float32)
    convolve_blocks(binned, [result], grid, lambda x, y: [[each.at(x, y) for each in spectra]])
    out = np.empty((height, width), np.float32)
    in_bands(lambda start, stop: _enlarge(result, out, start, stop), height)
    return out


def _binned_filter(square: Psf) -> Psf:
    """Return a filter as the binned image's pixels see it, of the same sum."""
    half = square.size // 2
    small = -(-half // BIN) + 1
    offsets, bins = np.arange(-half, half + 1), np.arange(-small, small + 1)
    # Two binned pixels' distance, over all positions of the pixels in them, spreads triangularly.
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
    """Average the usable ones of each 2 x 2 pixels."""
    height, width = image.shape
    for row in range(start, stop):
        for column in range(out.shape[1]):
            total, count = np.float32(0.0), 0
            for j in range(2 * row, min(2 * row + 2, height)):
                for i in range(2 * column, min(2 * column + 2, width)):
                    value = image[j, i]
                    if value > 0 and value < np.inf:
                        total += value
                        count += 1
            out[row, column] = total / max(count, 1)


@numba.njit(cache=True, nogil=True)
def _enlarge(small: NDArray[np.float32], out: NDArray[np.float32], start: int, stop: int) -> None:
    """Interpolate between the centres of 2 x 2 pixels; never below the least positive number."""
    rows, columns = small.shape
    width = out.shape[1]
    near, far, least = np.float32(0.75), np.float32(0.25), np.float32(1e-30)
    for row in range(start, stop):
        j = row // 2
        k = min(max(j + 2 * (row % 2) - 1, 0), rows - 1)
        for column in range(width):
            i = column // 2
            h = min(max(i + 2 * (column % 2) - 1, 0), columns - 1)
            value = near * (near * small[j, i] + far * small[j, h]) + far * (
                near * small[k, i] + far * small[k, h]
            )
            out[row, column] = max(value, least)
