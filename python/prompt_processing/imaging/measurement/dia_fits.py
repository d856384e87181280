"""Compiled fits of a single source: a point, or two points of opposite sign."""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from prompt_processing.imaging.psf_stamps import shifted_stamp_and_slopes

MAX_ITERATIONS = 25
MAX_SHIFT = 3.0
"""Largest distance of a centroid from its peak, pixels."""


@numba.njit(cache=True, nogil=True)
def point_model(
    spline: NDArray[np.float64],
    dx: float,
    dy: float,
    radius: int,
    full: NDArray[np.float64],
    slopes: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Write the PSF of an off-centre source and its derivatives along x and y into ``out`` (3, n, n).

    They are 0 beyond the PSF's stamp, which may be narrower.
    """
    size = full.shape[0]
    half = size // 2
    shifted_stamp_and_slopes(spline, dx, dy, full, slopes[0], slopes[1])
    n = 2 * radius + 1
    beyond = max(radius - half, 0)
    if beyond:
        out[:, :, :] = 0.0
    for r in range(beyond, n - beyond):
        for c in range(beyond, n - beyond):
            j, i = half - radius + r, half - radius + c
            out[0, r, c] = full[j, i]
            out[1, r, c] = slopes[0, j, i]
            out[2, r, c] = slopes[1, j, i]


@numba.njit(cache=True, nogil=True)
def sums(
    design: NDArray[np.float64],
    data: NDArray[np.float64],
    model: NDArray[np.float64],
    variance: NDArray[np.float64],
    normal: NDArray[np.float64],
    sandwich: NDArray[np.float64],
    right: NDArray[np.float64],
) -> float:
    """Fill ``J^T J``, ``J^T V J`` and ``J^T (d - m)`` where variance > 0; return chi squared."""
    k, n = design.shape[0], data.shape[0]
    normal[:, :] = 0.0
    sandwich[:, :] = 0.0
    right[:] = 0.0
    chi2 = 0.0
    for r in range(n):
        for c in range(n):
            v = variance[r, c]
            if not v > 0:
                continue
            residual = data[r, c] - model[r, c]
            chi2 += residual * residual / v
            for a in range(k):
                da = design[a, r, c]
                right[a] += da * residual
                for b in range(a + 1):
                    product = da * design[b, r, c]
                    normal[a, b] += product
                    sandwich[a, b] += product * v
    for a in range(k):
        for b in range(a):
            normal[b, a] = normal[a, b]
            sandwich[b, a] = sandwich[a, b]
    return chi2


@numba.njit(cache=True, nogil=True)
def misfit(data: NDArray[np.float64], model: NDArray[np.float64], variance: NDArray[np.float64]) -> float:
    """Return the sum of squared residuals where variance > 0."""
    total = 0.0
    for r in range(data.shape[0]):
        for c in range(data.shape[1]):
            if variance[r, c] > 0:
                total += (data[r, c] - model[r, c]) ** 2
    return total


@numba.njit(cache=True, nogil=True)
def invert(matrix: NDArray[np.float64], out: NDArray[np.float64]) -> bool:
    """Invert a small symmetric positive matrix by Gauss-Jordan elimination; `False` if it is singular.

    It compiles in a hundredth of the time of a call to LAPACK.
    """
    n = matrix.shape[0]
    work = matrix.copy()
    out[:, :] = 0.0
    for a in range(n):
        out[a, a] = 1.0
    for a in range(n):
        pivot = work[a, a]
        if not abs(pivot) > 1e-13 * abs(matrix[a, a]) or pivot == 0.0:
            return False
        for b in range(n):
            work[a, b] /= pivot
            out[a, b] /= pivot
        for row in range(n):
            if row == a:
                continue
            factor = work[row, a]
            if factor != 0.0:
                for b in range(n):
                    work[row, b] -= factor * work[a, b]
                    out[row, b] -= factor * out[a, b]
    return True


@numba.njit(cache=True, nogil=True)
def times(matrix: NDArray[np.float64], vector: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """Write ``matrix @ vector`` of small arrays into ``out``."""
    for a in range(vector.size):
        total = 0.0
        for b in range(vector.size):
            total += matrix[a, b] * vector[b]
        out[a] = total


@numba.njit(cache=True, nogil=True)
def covariance_of(
    normal: NDArray[np.float64], sandwich: NDArray[np.float64], out: NDArray[np.float64]
) -> None:
    """Propagate the pixels' variances through an unweighted fit; NaN where it is degenerate."""
    k = normal.shape[0]
    inverse = np.empty((k, k))
    damped = normal.copy()
    for a in range(k):
        damped[a, a] *= 1 + 1e-9
    if not invert(damped, inverse):
        out[:, :] = np.nan
        return
    for a in range(k):
        for b in range(k):
            total = 0.0
            for c in range(k):
                for d in range(k):
                    total += inverse[a, c] * sandwich[c, d] * inverse[d, b]
            out[a, b] = total


@numba.njit(cache=True, nogil=True)
def fit_point(
    data: NDArray[np.float64],
    variance: NDArray[np.float64],
    spline: NDArray[np.float64],
    result: NDArray[np.float64],
) -> bool:
    """Fit flux and position of a point source.

    Parameters
    ----------
    data, variance : `~numpy.ndarray`, shape (n, n)
        Pixels around the peak; a variance of 0 excludes a pixel.
    spline : `~numpy.ndarray`, shape (size, size)
        Result of `spline_at` for the source.
    result : `~numpy.ndarray`, shape (8,)
        Receives dx, dy (pixels off the middle), flux, their standard errors, chi
        squared, and the covariance of dx and dy.

    Returns
    -------
    good : `bool`
        `False` if the position diverged; the flux is then that at the peak.
    """
    n, size = data.shape[0], spline.shape[0]
    radius = n // 2
    full, slopes = np.empty((size, size)), np.empty((2, size, size))
    base, design = np.empty((3, n, n)), np.empty((3, n, n))
    normal, sandwich, right = np.empty((3, 3)), np.empty((3, 3)), np.empty(3)
    covariance, inverse, step = np.empty((3, 3)), np.empty((3, 3)), np.empty(3)
    dx = dy = 0.0
    damping = 1e-3
    point_model(spline, dx, dy, radius, full, slopes, base)
    flux = best_flux(data, variance, base[0])
    best = misfit(data, flux * base[0], variance)
    good = True
    for _ in range(MAX_ITERATIONS):
        design[0] = flux * base[1]
        design[1] = flux * base[2]
        design[2] = base[0]
        sums(design, data, flux * base[0], variance, normal, sandwich, right)
        matrix = normal.copy()
        for a in range(3):
            matrix[a, a] *= 1 + damping
            matrix[a, a] += 1e-300
        if not invert(matrix, inverse):
            good = False
            break
        times(inverse, right, step)
        length = math.hypot(step[0], step[1])
        scale = min(1.0, 0.7 / max(length, 1e-12))
        new_x, new_y = dx + scale * step[0], dy + scale * step[1]
        if math.hypot(new_x, new_y) > MAX_SHIFT:
            good = False
            break
        point_model(spline, new_x, new_y, radius, full, slopes, base)
        new_flux = best_flux(data, variance, base[0])
        trial = misfit(data, new_flux * base[0], variance)
        if trial <= best:
            converged = length < 1e-4
            dx, dy, flux, best = new_x, new_y, new_flux, trial
            damping *= 0.1
            if converged:
                break
        else:
            damping *= 10.0
            point_model(spline, dx, dy, radius, full, slopes, base)
            if damping > 1e6 or length < 1e-5:
                break
    if not good:
        dx = dy = 0.0
        point_model(spline, dx, dy, radius, full, slopes, base)
        flux = best_flux(data, variance, base[0])
    design[0] = flux * base[1]
    design[1] = flux * base[2]
    design[2] = base[0]
    chi2 = sums(design, data, flux * base[0], variance, normal, sandwich, right)
    covariance_of(normal, sandwich, covariance)
    result[0], result[1], result[2] = dx, dy, flux
    for a in range(3):
        result[3 + a] = math.sqrt(abs(covariance[a, a]))
    # The flux error at a fixed position, as in forced photometry.
    result[5] = math.sqrt(sandwich[2, 2]) / max(normal[2, 2], 1e-300)
    result[6] = chi2
    result[7] = covariance[0, 1]
    return good


@numba.njit(cache=True, nogil=True)
def best_flux(
    data: NDArray[np.float64], variance: NDArray[np.float64], profile: NDArray[np.float64]
) -> float:
    """Return the flux that fits a profile best where variance > 0."""
    top = bottom = 0.0
    for r in range(data.shape[0]):
        for c in range(data.shape[1]):
            if variance[r, c] > 0:
                top += profile[r, c] * data[r, c]
                bottom += profile[r, c] ** 2
    return top / bottom if bottom > 0 else 0.0


@numba.njit(cache=True, nogil=True)
def fit_dipole(
    data: NDArray[np.float64],
    variance: NDArray[np.float64],
    spline: NDArray[np.float64],
    start: NDArray[np.float64],
    result: NDArray[np.float64],
) -> bool:
    """Fit two point sources of opposite sign.

    Parameters
    ----------
    data, variance, spline : `~numpy.ndarray`
        As for `fit_point`.
    start : `~numpy.ndarray`, shape (4,)
        dx, dy of the positive and of the negative lobe, pixels off the middle.
    result : `~numpy.ndarray`, shape (9,)
        Receives dx, dy, flux of the positive lobe, the same of the negative one (flux
        below 0), the standard errors of the two fluxes, and chi squared.

    Returns
    -------
    good : `bool`
        Whether both lobes kept their sign and stayed near.
    """
    n, size = data.shape[0], spline.shape[0]
    radius = n // 2
    full, slopes = np.empty((size, size)), np.empty((2, size, size))
    first, second, design = np.empty((3, n, n)), np.empty((3, n, n)), np.empty((6, n, n))
    normal, sandwich, right = np.empty((6, 6)), np.empty((6, 6)), np.empty(6)
    covariance, inverse, step = np.empty((6, 6)), np.empty((6, 6)), np.empty(6)
    at = start.copy()
    fluxes, new_fluxes = np.zeros(2), np.zeros(2)
    point_model(spline, at[0], at[1], radius, full, slopes, first)
    point_model(spline, at[2], at[3], radius, full, slopes, second)
    _two_fluxes(data, variance, first[0], second[0], fluxes)
    best = misfit(data, fluxes[0] * first[0] + fluxes[1] * second[0], variance)
    damping = 1e-2
    for _ in range(MAX_ITERATIONS):
        _dipole_design(first, second, fluxes, design)
        sums(design, data, fluxes[0] * first[0] + fluxes[1] * second[0], variance, normal, sandwich, right)
        matrix = normal.copy()
        for a in range(6):
            matrix[a, a] = matrix[a, a] * (1 + damping) + 1e-12 * abs(normal[a, a]) + 1e-300
        if not invert(matrix, inverse):
            break
        times(inverse, right, step)
        new = at.copy()
        longest = 0.0
        for a in range(4):
            move = min(max(step[a], -0.5), 0.5)
            new[a] += move
            longest = max(longest, abs(move))
        for a in range(4):
            new[a] = min(max(new[a], -0.7 * radius), 0.7 * radius)
        point_model(spline, new[0], new[1], radius, full, slopes, first)
        point_model(spline, new[2], new[3], radius, full, slopes, second)
        _two_fluxes(data, variance, first[0], second[0], new_fluxes)
        trial = misfit(data, new_fluxes[0] * first[0] + new_fluxes[1] * second[0], variance)
        if trial <= best:
            small = best - trial < 1e-6 * best
            at[:] = new
            fluxes[:] = new_fluxes
            best = trial
            damping *= 0.3
            if longest < 1e-3 or small:
                break
        else:
            damping *= 8.0
            point_model(spline, at[0], at[1], radius, full, slopes, first)
            point_model(spline, at[2], at[3], radius, full, slopes, second)
            if damping > 1e6:
                break
    _dipole_design(first, second, fluxes, design)
    model = fluxes[0] * first[0] + fluxes[1] * second[0]
    chi2 = sums(design, data, model, variance, normal, sandwich, right)
    covariance_of(normal, sandwich, covariance)
    result[0], result[1], result[2] = at[0], at[1], fluxes[0]
    result[3], result[4], result[5] = at[2], at[3], fluxes[1]
    result[6], result[7] = math.sqrt(abs(covariance[4, 4])), math.sqrt(abs(covariance[5, 5]))
    result[8] = chi2
    return fluxes[0] > 0 and fluxes[1] < 0 and max(np.abs(at)) < 0.69 * radius


@numba.njit(cache=True, nogil=True)
def _dipole_design(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    fluxes: NDArray[np.float64],
    design: NDArray[np.float64],
) -> None:
    design[0], design[1] = fluxes[0] * first[1], fluxes[0] * first[2]
    design[2], design[3] = fluxes[1] * second[1], fluxes[1] * second[2]
    design[4], design[5] = first[0], second[0]


@numba.njit(cache=True, nogil=True)
def _two_fluxes(
    data: NDArray[np.float64],
    variance: NDArray[np.float64],
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Solve for the fluxes of two profiles."""
    aa = ab = bb = da = db = 0.0
    for r in range(data.shape[0]):
        for c in range(data.shape[1]):
            if variance[r, c] > 0:
                a, b, d = first[r, c], second[r, c], data[r, c]
                aa += a * a
                ab += a * b
                bb += b * b
                da += a * d
                db += b * d
    # Coincident lobes cancel at any flux: this keeps the solution finite.
    aa *= 1 + 1e-6
    bb *= 1 + 1e-6
    determinant = aa * bb - ab * ab
    if determinant <= 0:
        out[:] = 0.0
        return
    out[0] = (da * bb - db * ab) / determinant
    out[1] = (db * aa - da * ab) / determinant
