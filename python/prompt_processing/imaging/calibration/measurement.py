"""Positions and fluxes of sources under a PSF."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from prompt_processing.images import UNUSABLE, Exposure, Mask, Psf
from prompt_processing.imaging.psf_stamps import SplinePsf, shifted_stamp_and_slopes, spline_at
from prompt_processing.imaging.row_bands import in_bands

_EDGE = int(Mask.EDGE)


@dataclass(frozen=True, slots=True, eq=False)
class PsfFits:
    """PSF fits of n sources.

    Attributes
    ----------
    x, y, x_err, y_err : `~numpy.ndarray`, shape (n,)
        Positions, pixels; the first guesses where the fit failed.
    flux, flux_err : `~numpy.ndarray`, shape (n,)
        Unit of the image; NaN where too few pixels are usable.
    chi2 : `~numpy.ndarray`, shape (n,)
        Chi squared of the fitted pixels.
    n_pixels : `~numpy.ndarray` of int32, shape (n,)
        Number of fitted pixels.
    planes : `~numpy.ndarray` of int32, shape (n,)
        All mask planes within the fit radius, and ``EDGE`` where the image ends there.
    moved : `~numpy.ndarray` of bool, shape (n,)
        Whether the position converged.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    x_err: NDArray[np.float64]
    y_err: NDArray[np.float64]
    flux: NDArray[np.float64]
    flux_err: NDArray[np.float64]
    chi2: NDArray[np.float64]
    n_pixels: NDArray[np.int32]
    planes: NDArray[np.int32]
    moved: NDArray[np.bool_]


@numba.njit(cache=True, nogil=True)
def _inner_share(sums, order, frame, x, y):  # type: ignore[no-untyped-def]
    """Return the share of the PSF at a position that lies within the inner part."""
    u = (x - frame[0]) / frame[2]
    v = (y - frame[1]) / frame[2]
    inner = total = 0.0
    term = 0
    for degree in range(order + 1):
        for j in range(degree + 1):
            weight = u ** (degree - j) * v**j
            inner += weight * sums[term, 0]
            total += weight * sums[term, 1]
            term += 1
    return inner / total


@numba.njit(cache=True, nogil=True, fastmath=False)
def _fit_sources(  # type: ignore[no-untyped-def]
    image, variance, mask, splines, order, frame, sums, x, y, radius, max_shift, iterations, bad,
    positions, errors, fluxes, chi2, n_pixels, planes, moved, start, stop,
):  # fmt: skip
    height, width = image.shape
    size = splines.shape[1]
    half = size // 2
    spline = np.empty((size, size))
    stamp = np.empty((size, size))
    slope_x = np.empty((size, size))
    slope_y = np.empty((size, size))
    for i in range(start, stop):
        px, py = x[i], y[i]
        if not (math.isfinite(px) and math.isfinite(py)):
            continue
        spline_at(splines, order, frame, px, py, spline)
        share = _inner_share(sums, order, frame, px, py)
        centred = frozen = False
        for iteration in range(iterations + 1):
            last = iteration == iterations or centred or frozen
            column, row = int(np.floor(px + 0.5)), int(np.floor(py + 0.5))
            shifted_stamp_and_slopes(spline, px - column, py - row, stamp, slope_x, slope_y)
            stamp *= share
            slope_x *= share
            slope_y *= share
            pp = px_ = py_ = xx = xy = yy = dp = 0.0
            vpp = 0.0
            n = 0
            # The remainder of a source beyond the image constrains neither its position nor its flux.
            cut = min(px, py) < radius or px > width - 1 - radius or py > height - 1 - radius
            seen = _EDGE if cut else 0
            for j in range(max(row - half, 0), min(row + half + 1, height)):
                chord = radius * radius - (j - py) ** 2
                if chord < 0:
                    continue
                reach, r = math.sqrt(chord), j - row + half
                first = max(math.ceil(px - reach), column - half, 0)
                for k in range(first, min(math.floor(px + reach), column + half, width - 1) + 1):
                    c = k - column + half
                    seen |= mask[j, k]
                    v = variance[j, k]
                    if mask[j, k] & bad or not v > 0:
                        continue
                    p = stamp[r, c]
                    d = image[j, k]
                    pp += p * p
                    dp += p * d
                    vpp += p * p * v
                    px_ += p * slope_x[r, c]
                    py_ += p * slope_y[r, c]
                    xx += slope_x[r, c] ** 2
                    xy += slope_x[r, c] * slope_y[r, c]
                    yy += slope_y[r, c] ** 2
                    n += 1
            planes[i] = seen
            n_pixels[i] = n
            if n < 6 or pp <= 0:
                break
            flux = dp / pp
            fluxes[i, 0] = flux
            fluxes[i, 1] = math.sqrt(vpp) / pp
            # The slopes without the part that a change of flux explains.
            sxx, sxy, syy = xx - px_ * px_ / pp, xy - px_ * py_ / pp, yy - py_ * py_ / pp
            determinant = sxx * syy - sxy * sxy
            if determinant <= 0 or flux <= 0:
                break
            bx = by = vxx = vxy = vyy = residuals = 0.0
            for j in range(max(row - half, 0), min(row + half + 1, height)):
                chord = radius * radius - (j - py) ** 2
                if chord < 0:
                    continue
                reach, r = math.sqrt(chord), j - row + half
                first = max(math.ceil(px - reach), column - half, 0)
                for k in range(first, min(math.floor(px + reach), column + half, width - 1) + 1):
                    c = k - column + half
                    v = variance[j, k]
                    if mask[j, k] & bad or not v > 0:
                        continue
                    p = stamp[r, c]
                    ux = slope_x[r, c] - p * px_ / pp
                    uy = slope_y[r, c] - p * py_ / pp
                    residual = image[j, k] - flux * p
                    bx += ux * residual
                    by += uy * residual
                    vxx += ux * ux * v
                    vxy += ux * uy * v
                    vyy += uy * uy * v
                    residuals += residual * residual / v
            chi2[i] = residuals
            inverse = 1.0 / (determinant * flux)
            # Rows of the inverse of the 2 x 2 matrix, applied to the pixels' variances.
            ax, ay = syy * inverse, -sxy * inverse
            cx, cy = -sxy * inverse, sxx * inverse
            errors[i, 0] = math.sqrt(max(ax * ax * vxx + 2 * ax * ay * vxy + ay * ay * vyy, 0.0))
            errors[i, 1] = math.sqrt(max(cx * cx * vxx + 2 * cx * cy * vxy + cy * cy * vyy, 0.0))
            if last:
                moved[i] = centred
                positions[i, 0], positions[i, 1] = px, py
                break
            step_x, step_y = ax * bx + ay * by, cx * bx + cy * by
            length = math.hypot(step_x, step_y)
            if length > 1.0:
                step_x /= length
                step_y /= length
            px += step_x
            py += step_y
            if math.hypot(px - x[i], py - y[i]) > max_shift:
                # Not a point source, or no source: a forced flux at the first guess.
                px, py = x[i], y[i]
                frozen = True
            centred = length < 0.003 and not frozen


def _inner_part(psf: Psf, spline: SplinePsf, half: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cut the PSF's splines to the fitted area; also return each term's sum there and in total (n, 2)."""
    middle = psf.size // 2
    half = min(half, middle)
    inner = slice(middle - half, middle + half + 1)
    coefficients = psf.coefficients.astype(np.float64)
    sums = np.stack([coefficients[:, inner, inner].sum(axis=(1, 2)), coefficients.sum(axis=(1, 2))], axis=-1)
    return np.ascontiguousarray(spline.splines[:, inner, inner]), sums


def fit_psf(
    exposure: Exposure,
    x: ArrayLike,
    y: ArrayLike,
    radius: float | None = None,
    max_shift: float = 2.0,
    iterations: int = 8,
    unusable: int = int(UNUSABLE),
) -> PsfFits:
    """Fit position and flux of point sources.

    Parameters
    ----------
    exposure : `Exposure`
        Background-subtracted, with a PSF.
    x, y : array_like, shape (n,)
        First guesses, pixels.
    radius : `float`, optional
        Radius of the fitted pixels; by default 1.5 FWHM.
    max_shift : `float`, optional
        Largest shift of a source, pixels; a source that would exceed it keeps its
        first guess and the flux there.
    iterations : `int`, optional
        Gauss-Newton steps; 0 keeps the positions.
    unusable : `int`, optional
        Mask planes to leave out.

    Returns
    -------
    fits : `PsfFits`

    Raises
    ------
    ValueError
        Raised if the exposure has no PSF.

    Notes
    -----
    All pixels weigh the same, so that the flux scale does not depend on the
    flux when the model is not perfect; errors are propagated from the variance.
    """
    if exposure.psf is None:
        raise ValueError("A PSF fit needs an exposure with a PSF.")
    px = np.array(x, np.float64, ndmin=1)
    py = np.array(y, np.float64, ndmin=1)
    if radius is None:
        radius = 1.5 * exposure.psf.fwhm_at()
    spline = SplinePsf.of(exposure.psf)
    splines, sums = _inner_part(exposure.psf, spline, int(np.ceil(radius)) + 4)
    n = px.size
    positions = np.stack([px, py], axis=-1)
    errors, fluxes = np.full((n, 2), np.nan), np.full((n, 2), np.nan)
    chi2 = np.full(n, np.nan)
    n_pixels, planes = np.zeros(n, np.int32), np.zeros(n, np.int32)
    moved = np.zeros(n, np.bool_)

    def fit(start: int, stop: int) -> None:
        _fit_sources(
            exposure.image, exposure.variance, exposure.mask, splines, spline.order, spline.frame, sums,
            px, py, float(radius), max_shift, iterations, np.int32(unusable),
            positions, errors, fluxes, chi2, n_pixels, planes, moved, start, stop,
        )  # fmt: skip

    in_bands(fit, n)
    return PsfFits(
        positions[:, 0], positions[:, 1], errors[:, 0], errors[:, 1],
        fluxes[:, 0], fluxes[:, 1], chi2, n_pixels, planes, moved,
    )  # fmt: skip
