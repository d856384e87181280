"""Joint fit of a few point sources whose light overlaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prompt_processing.imaging.psf_stamps import shifted_stamp_and_slopes

__all__ = ["MOST_POINTS", "PointGroup", "fit_point_group"]

MOST_POINTS = 4
"""Maximum number of sources to fit together; more in a row are a trail or a crowded field."""
_ITERATIONS = 12
_LARGEST_STEP = 1.0
"""Largest change of a position per iteration, pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class PointGroup:
    """A fit of several point sources.

    Attributes
    ----------
    places : `~numpy.ndarray`, shape (n, 2)
        Positions, pixels from the middle of the square.
    flux, flux_error : `~numpy.ndarray`, shape (n,)
        Fluxes, and their standard errors at these positions.
    chi_squared : `float`
        Chi squared of the fit.
    """

    places: NDArray[np.float64]
    flux: NDArray[np.float64]
    flux_error: NDArray[np.float64]
    chi_squared: float


def fit_point_group(
    data: NDArray[np.float64],
    variance: NDArray[np.float64],
    spline: NDArray[np.float64],
    places: Sequence[tuple[float, float]],
) -> PointGroup:
    """Fit positions and fluxes of several point sources at once, by damped Gauss-Newton steps.

    Parameters
    ----------
    data, variance : `~numpy.ndarray`, shape (n, n)
        Pixels around the middle of the group; a variance of 0 excludes a pixel.
    spline : `~numpy.ndarray`
        Spline coefficients of the PSF there (`prompt_processing.imaging.psf_stamps.spline_at`).
    places : sequence of (`float`, `float`)
        First guesses, pixels from the middle of the square.

    Returns
    -------
    group : `PointGroup`
    """
    used = variance > 0
    weights = 1 / np.sqrt(variance[used])
    target = data[used] * weights
    at = np.array(places, float)
    best, flux = _solve(spline, at, used, weights, target)
    for _ in range(_ITERATIONS):
        model, slopes = _design(spline, at, used, weights)
        residual = target - model @ flux
        jacobian = np.hstack([model, *(slope * flux for slope in slopes)])
        step = np.linalg.lstsq(jacobian, residual, rcond=None)[0][len(at) :].reshape(2, -1).T
        step *= min(1.0, _LARGEST_STEP / max(float(np.abs(step).max()), 1e-9))
        moved, moved_flux = _solve(spline, at + step, used, weights, target)
        if not moved < best - 1e-3:
            break
        best, flux, at = moved, moved_flux, at + step
    model, _ = _design(spline, at, used, weights)
    covariance = np.linalg.pinv(model.T @ model)
    return PointGroup(at, flux, np.sqrt(np.diag(covariance)), best)


def _solve(
    spline: NDArray[np.float64],
    at: NDArray[np.float64],
    used: NDArray[np.bool_],
    weights: NDArray[np.float64],
    target: NDArray[np.float64],
) -> tuple[float, NDArray[np.float64]]:
    """Return chi squared and the fluxes for given positions."""
    model, _ = _design(spline, at, used, weights)
    flux = np.linalg.lstsq(model, target, rcond=None)[0]
    return float(((target - model @ flux) ** 2).sum()), flux


def _design(
    spline: NDArray[np.float64],
    at: NDArray[np.float64],
    used: NDArray[np.bool_],
    weights: NDArray[np.float64],
) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """Return each source's weighted pixels, and their derivatives with its x and with its y."""
    size, frame = used.shape[0], spline.shape[0]
    columns = []
    for dx, dy in at:
        # The stamp has the PSF's own size and is placed at the source's nearest pixel.
        whole_x, whole_y = round(float(dx)), round(float(dy))
        stamps = [np.empty((frame, frame)) for _ in range(3)]
        shifted_stamp_and_slopes(spline, float(dx) - whole_x, float(dy) - whole_y, *stamps)
        columns.append([_placed(stamp, whole_x, whole_y, size)[used] * weights for stamp in stamps])
    model, slope_x, slope_y = (np.stack(column, axis=1) for column in zip(*columns, strict=True))
    return model, [slope_x, slope_y]


def _placed(stamp: NDArray[np.float64], column: int, row: int, size: int) -> NDArray[np.float64]:
    """Return a square that contains a stamp, offset from the middle by whole pixels."""
    square = np.zeros((size, size))
    half, reach = size // 2, stamp.shape[0] // 2
    top, left = half + row - reach, half + column - reach
    rows = slice(max(top, 0), min(top + stamp.shape[0], size))
    columns = slice(max(left, 0), min(left + stamp.shape[1], size))
    if rows.start < rows.stop and columns.start < columns.stop:
        square[rows, columns] = stamp[
            rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
        ]
    return square
