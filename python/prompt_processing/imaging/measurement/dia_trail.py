"""Compiled fit of a source that moved during the exposure."""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from prompt_processing.imaging.psf_stamps import shifted_stamp_and_slopes

from .dia_fits import MAX_ITERATIONS, best_flux, covariance_of, invert, misfit, sums, times


@numba.njit(cache=True, nogil=True)
def _trail_and_slopes(
    spline: NDArray[np.float64],
    parameters: NDArray[np.float64],
    radius: int,
    stamp: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Write the PSF smeared along a line last into ``out`` (5, n, n), and its derivatives before it.

    The parameters are dx, dy, length (pixels) and angle (radian from x); the smeared PSF has the sum 1.
    ``stamp`` is room for a PSF and its slopes, (3, size, size).
    """
    size = stamp.shape[1]
    half = size // 2
    n = 2 * radius + 1
    length = abs(parameters[2])
    steps = max(math.ceil(length / 0.7), 1)
    cosine, sine = math.cos(parameters[3]), math.sin(parameters[3])
    out[:, :, :] = 0.0
    for s in range(steps):
        place = (s + 0.5) / steps - 0.5
        along = place * length
        dx, dy = parameters[0] + along * cosine, parameters[1] + along * sine
        # A trail may be longer than the PSF's stamp, which moves along it.
        column, row = round(dx), round(dy)
        shifted_stamp_and_slopes(spline, dx - column, dy - row, stamp[0], stamp[1], stamp[2])
        first_row, first_column = radius + row - half, radius + column - half
        for r in range(max(first_row, 0), min(first_row + size, n)):
            for c in range(max(first_column, 0), min(first_column + size, n)):
                light = stamp[0, r - first_row, c - first_column]
                right = stamp[1, r - first_row, c - first_column]
                up = stamp[2, r - first_row, c - first_column]
                out[0, r, c] += right
                out[1, r, c] += up
                out[2, r, c] += place * (cosine * right + sine * up)
                out[3, r, c] += along * (cosine * up - sine * right)
                out[4, r, c] += light
    out /= steps


@numba.njit(cache=True, nogil=True)
def keep_band(variance: NDArray[np.float64], length: float, angle: float, reach: float) -> None:
    """Exclude (variance 0) pixels farther than ``reach`` pixels from a line through the middle."""
    half = variance.shape[0] // 2
    for r in range(variance.shape[0]):
        for c in range(variance.shape[1]):
            u, v = c - half, r - half
            along = abs(u * math.cos(angle) + v * math.sin(angle)) - 0.5 * length
            across = u * math.sin(angle) - v * math.cos(angle)
            if math.hypot(max(along, 0.0), across) > reach:
                variance[r, c] = 0.0


@numba.njit(cache=True, nogil=True)
def fit_trail(
    data: NDArray[np.float64],
    variance: NDArray[np.float64],
    spline: NDArray[np.float64],
    start: NDArray[np.float64],
    result: NDArray[np.float64],
) -> bool:
    """Fit a trail of uniform brightness.

    Parameters
    ----------
    data, variance, spline : `~numpy.ndarray`
        As for `fit_point`.
    start : `~numpy.ndarray`, shape (4,)
        dx, dy, length (pixels), angle (radian from x towards y).
    result : `~numpy.ndarray`, shape (12,)
        Receives dx, dy, length, angle, flux, their standard errors, chi squared, and the
        number of pixels.
    """
    n, size = data.shape[0], spline.shape[0]
    radius = n // 2
    stamp = np.empty((3, size, size))
    shape, trial_shape, design = np.empty((5, n, n)), np.empty((5, n, n)), np.empty((5, n, n))
    normal, sandwich, right = np.empty((5, 5)), np.empty((5, 5)), np.empty(5)
    covariance, inverse, step = np.empty((5, 5)), np.empty((5, 5)), np.empty(5)
    at = start.copy()
    damping = 1e-2
    _trail_and_slopes(spline, at, radius, stamp, shape)
    flux = best_flux(data, variance, shape[4])
    best = misfit(data, flux * shape[4], variance)
    for _ in range(MAX_ITERATIONS):
        design[:4] = flux * shape[:4]
        design[4] = shape[4]
        sums(design, data, flux * shape[4], variance, normal, sandwich, right)
        matrix = normal.copy()
        for a in range(5):
            matrix[a, a] = matrix[a, a] * (1 + damping) + 1e-300
        if not invert(matrix, inverse):
            break
        times(inverse, right, step)
        new = at.copy()
        new[0] += min(max(step[0], -1.0), 1.0)
        new[1] += min(max(step[1], -1.0), 1.0)
        new[2] = min(max(new[2] + min(max(step[2], -2.0), 2.0), 0.2), 2.0 * radius)
        new[3] += min(max(step[3], -0.4), 0.4)
        _trail_and_slopes(spline, new, radius, stamp, trial_shape)
        new_flux = best_flux(data, variance, trial_shape[4])
        trial = misfit(data, new_flux * trial_shape[4], variance)
        if trial <= best:
            small = best - trial < 1e-5 * best
            at[:] = new
            flux, best = new_flux, trial
            shape, trial_shape = trial_shape, shape
            damping *= 0.3
            if small:
                break
        else:
            damping *= 8.0
            if damping > 1e5:
                break
    design[:4] = flux * shape[:4]
    design[4] = shape[4]
    chi2 = sums(design, data, flux * shape[4], variance, normal, sandwich, right)
    covariance_of(normal, sandwich, covariance)
    for a in range(4):
        result[a] = at[a]
        result[5 + a] = math.sqrt(abs(covariance[a, a]))
    result[4] = flux
    result[9] = math.sqrt(abs(covariance[4, 4]))
    result[10] = chi2
    result[11] = np.sum(variance > 0)
    return math.hypot(at[0], at[1]) < radius and at[2] < 1.9 * radius
