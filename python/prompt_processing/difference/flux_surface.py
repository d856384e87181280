"""The variation of the flux ratio of two images over the field, as their stars show it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..images import Exposure, polynomial_terms
from ..images.robust import robust_scatter

__all__ = ["FluxSurface", "fit_flux_surface"]

ORDER = 2
"""Degree of the surface: vignetting, a flat field that was not applied, clouds."""

FEWEST_STARS = 36
"""Stars that determine it, six for each term."""

LEAST = 0.03
"""Standard deviation of the surface at the stars below which the PSFs' match follows it well enough."""

GAIN = 0.7
"""Scatter of the stars around a surface that is real, in units of their scatter around a constant."""


@dataclass(frozen=True, slots=True, eq=False)
class FluxSurface:
    """The flux ratio over an image, in units of the commonest one.

    Attributes
    ----------
    coefficients : `~numpy.ndarray`, shape (6,)
        Of the ratio's logarithm, for the terms of `~prompt_processing.images.polynomial_terms`.
    shape : `tuple` of `int`
        Rows and columns of the image.
    limits : `tuple` of `float`
        Least and largest logarithm at the stars: where there are none, the surface does not go beyond.
    """

    coefficients: NDArray[np.float64]
    shape: tuple[int, int]
    limits: tuple[float, float]

    @property
    def variation(self) -> float:
        """The largest ratio in units of the least one, minus 1."""
        return float(np.expm1(self.limits[1] - self.limits[0]))

    def logarithm_at(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the logarithm of the ratio at pixels."""
        return np.clip(_terms(x, y, self.shape) @ self.coefficients, *self.limits)

    def scale(self, exposure: Exposure) -> None:
        """Multiply an image and its variance, in place."""
        columns = np.arange(self.shape[1], dtype=float)
        for row in range(self.shape[0]):
            factor = np.exp(self.logarithm_at(columns, np.full_like(columns, row))).astype(np.float32)
            exposure.image[row] *= factor
            exposure.variance[row] *= factor**2


def fit_flux_surface(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    ratios: NDArray[np.float64],
    errors: NDArray[np.float64],
    shape: tuple[int, int],
) -> FluxSurface | None:
    """Fit a surface to the flux ratios of stars.

    Parameters
    ----------
    x, y : `~numpy.ndarray`, shape (n,)
        Positions, pixels.
    ratios, errors : `~numpy.ndarray`, shape (n,)
        Natural logarithms of the flux ratios, and their errors.
    shape : `tuple` of `int`
        Rows and columns of the image.

    Returns
    -------
    surface : `FluxSurface` or `None`
        `None` if a constant explains the stars as well, or they are too few.
    """
    if len(ratios) < FEWEST_STARS:
        return None
    terms = _terms(x, y, shape)
    before = robust_scatter(ratios)
    used = np.abs(ratios - np.median(ratios)) < max(4 * before, LEAST)
    coefficients = np.zeros(terms.shape[1])
    after = before
    # Stars that vary are left out one after the other.
    for _ in range(6):
        if np.count_nonzero(used) < FEWEST_STARS:
            return None
        weights = 1 / errors[used]
        coefficients = np.linalg.lstsq(
            terms[used] * weights[:, np.newaxis], ratios[used] * weights, rcond=None
        )[0]
        rest = ratios - terms @ coefficients
        after = robust_scatter(rest[used])
        used = np.abs(rest) < 3 * np.hypot(after, errors)
    smooth = terms[used] @ coefficients
    chance = after * np.sqrt(terms.shape[1] / np.count_nonzero(used))
    if np.std(smooth) < max(LEAST, 3 * chance) or after > GAIN * before:
        return None
    # Relative to the commonest ratio, which is known without a surface.
    middle = float(np.median(smooth))
    coefficients[0] -= middle
    return FluxSurface(coefficients, shape, (float(smooth.min()) - middle, float(smooth.max()) - middle))


def _terms(x: NDArray[np.float64], y: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return the terms at pixels, with coordinates from -1 to 1 along the longer side."""
    scale = max(shape) / 2
    return polynomial_terms((x - (shape[1] - 1) / 2) / scale, (y - (shape[0] - 1) / 2) / scale, ORDER)
