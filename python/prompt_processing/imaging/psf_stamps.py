"""Compiled evaluation of a varying PSF at subpixel positions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from prompt_processing.images import Psf


@dataclass(frozen=True, slots=True, eq=False)
class SplinePsf:
    """A `Psf` prepared for compiled loops: B-spline coefficients instead of pixel values.

    Attributes
    ----------
    splines : `~numpy.ndarray`, shape (n_terms, size, size)
        Cubic B-spline coefficients of each polynomial term's image.
    order : `int`
        Degree of the polynomial.
    frame : `~numpy.ndarray`, shape (3,)
        ``x_centre, y_centre, scale`` of the polynomial, pixels.
    """

    splines: NDArray[np.float64]
    order: int
    frame: NDArray[np.float64]

    @classmethod
    def of(cls, psf: Psf) -> SplinePsf:
        """Prepare a PSF; filtering commutes with the sum over terms, so it is done once."""
        return _prepared(psf)

    @property
    def size(self) -> int:
        """Width of the stamps, pixels."""
        return int(self.splines.shape[-1])


@lru_cache(maxsize=4)
def _prepared(psf: Psf) -> SplinePsf:
    """Prepare a PSF; several steps ask for that of the same image."""
    splines = np.stack(
        [
            ndimage.spline_filter(np.asarray(term, np.float64), order=3, mode="mirror")
            for term in psf.coefficients
        ]
    )
    return SplinePsf(splines, psf.order, np.array([psf.x_centre, psf.y_centre, psf.scale], float))


@numba.njit(cache=True, fastmath=True)
def spline_at(
    splines: NDArray[np.float64],
    order: int,
    frame: NDArray[np.float64],
    x: float,
    y: float,
    out: NDArray[np.float64],
) -> None:
    """Write the spline coefficients of the PSF at a position into ``out`` (size, size)."""
    u = (x - frame[0]) / frame[2]
    v = (y - frame[1]) / frame[2]
    size = out.shape[0]
    out[:, :] = 0.0
    term = 0
    for degree in range(order + 1):
        for j in range(degree + 1):
            weight = u ** (degree - j) * v**j
            image = splines[term]
            for r in range(size):
                for c in range(size):
                    out[r, c] += weight * image[r, c]
            term += 1


@numba.njit(cache=True, fastmath=True)
def _cubic_weights(t: float, weights: NDArray[np.float64]) -> None:
    """Compute the weights of the coefficients at floor-1 .. floor+2 for fraction ``t``."""
    s = 1.0 - t
    weights[0] = s * s * s / 6.0
    weights[1] = 2.0 / 3.0 - 0.5 * t * t * (2.0 - t)
    weights[2] = 2.0 / 3.0 - 0.5 * s * s * (2.0 - s)
    weights[3] = t * t * t / 6.0


@numba.njit(cache=True, fastmath=True)
def _cubic_slopes(t: float, weights: NDArray[np.float64]) -> None:
    """Compute the derivatives of `_cubic_weights` with respect to ``t``."""
    s = 1.0 - t
    weights[0] = -0.5 * s * s
    weights[1] = -2.0 * t + 1.5 * t * t
    weights[2] = 2.0 * s - 1.5 * s * s
    weights[3] = 0.5 * t * t


@numba.njit(cache=True, fastmath=True)
def _along_rows(
    spline: NDArray[np.float64], weights: NDArray[np.float64], column: int, size: int
) -> NDArray[np.float64]:
    """Apply weights along rows: ``out[r, c]`` is around column ``c + column`` of the spline."""
    n = spline.shape[0]
    out = np.zeros((n, size))
    # Columns around which all four coefficients exist.
    first, last = min(max(0, 1 - column), size), max(min(size, n - column - 2), 0)
    one, two, three, four = weights[0], weights[1], weights[2], weights[3]
    for r in range(n):
        if first < last:
            # One loop over memory, which the compiler vectorises.
            source, target = spline[r, first + column - 1 : last + column + 2], out[r, first:last]
            for c in range(last - first):
                target[c] = (
                    one * source[c] + two * source[c + 1] + three * source[c + 2] + four * source[c + 3]
                )
        for c in range(first):
            out[r, c] = _at_edge(spline, weights, r, c + column - 1)
        for c in range(max(first, last), size):
            out[r, c] = _at_edge(spline, weights, r, c + column - 1)
    return out


@numba.njit(cache=True, fastmath=True)
def _at_edge(spline: NDArray[np.float64], weights: NDArray[np.float64], row: int, first: int) -> float:
    """Apply weights to those coefficients from a column on that exist."""
    total = 0.0
    for k in range(4):
        if 0 <= first + k < spline.shape[1]:
            total += weights[k] * spline[row, first + k]
    return total


@numba.njit(cache=True, fastmath=True)
def _along_columns(
    part: NDArray[np.float64], weights: NDArray[np.float64], row: int, out: NDArray[np.float64]
) -> None:
    """Apply weights along columns: ``out[r, c]`` is around row ``r + row`` of the result of `_along_rows`."""
    size, n = out.shape[0], part.shape[0]
    one, two, three, four = weights[0], weights[1], weights[2], weights[3]
    for r in range(size):
        i = r + row - 1
        if i >= 0 and i + 3 < n:
            for c in range(size):
                out[r, c] = (
                    one * part[i, c] + two * part[i + 1, c] + three * part[i + 2, c] + four * part[i + 3, c]
                )
            continue
        for c in range(size):
            out[r, c] = 0.0
        for k in range(4):
            if 0 <= i + k < n:
                for c in range(size):
                    out[r, c] += weights[k] * part[i + k, c]


@numba.njit(cache=True, fastmath=True)
def shifted_stamp(spline: NDArray[np.float64], dx: float, dy: float, out: NDArray[np.float64]) -> float:
    """Write the PSF of a source ``(dx, dy)`` pixels off the stamp's middle pixel; return its sum."""
    wx, wy = np.empty(4), np.empty(4)
    fx, fy = int(np.floor(-dx)), int(np.floor(-dy))
    _cubic_weights(-dx - fx, wx)
    _cubic_weights(-dy - fy, wy)
    _along_columns(_along_rows(spline, wx, fx, out.shape[0]), wy, fy, out)
    return out.sum()


@numba.njit(cache=True, fastmath=True)
def shifted_stamp_and_slopes(
    spline: NDArray[np.float64],
    dx: float,
    dy: float,
    out: NDArray[np.float64],
    slope_x: NDArray[np.float64],
    slope_y: NDArray[np.float64],
) -> None:
    """Write the unit-sum PSF of a shifted source and its derivatives with the source's x and y."""
    wx, wy, sx, sy = np.empty(4), np.empty(4), np.empty(4), np.empty(4)
    fx, fy = int(np.floor(-dx)), int(np.floor(-dy))
    _cubic_weights(-dx - fx, wx)
    _cubic_weights(-dy - fy, wy)
    _cubic_slopes(-dx - fx, sx)
    _cubic_slopes(-dy - fy, sy)
    part = _along_rows(spline, wx, fx, out.shape[0])
    _along_columns(part, wy, fy, out)
    _along_columns(part, sy, fy, slope_y)
    _along_columns(_along_rows(spline, sx, fx, out.shape[0]), wy, fy, slope_x)
    total = out.sum()
    out /= total
    # Moving the source right moves the sampled coordinate left.
    slope_x /= -total
    slope_y /= -total
