"""The error of the PSFs' match, in proportion to the light that was subtracted."""

from __future__ import annotations

import math

import numba
import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from prompt_processing.images import UNUSABLE, Mask
from prompt_processing.imaging.row_bands import in_bands

STARS = 240
"""Number of brightest stars that may measure it ..."""
FEWEST = 4
"""... and the fewest that determine it."""

DETECTABLE = 0.05
"""Error, as a share of the light, that must exceed the noise in a star that measures it. Of those stars, the
most significant third counts."""

LEAST = 0.004
"""Error below which the noise dominates in every star; it is left out."""

NEGLIGIBLE = 0.25
"""Share of the noise's variance that the error must exceed to be added, so that the sky's stays exact."""

MOST = 0.3
"""Largest error; beyond, the images do not match at all."""


def add_model_error(
    image: NDArray[np.float32],
    variance: NDArray[np.float32],
    mask: NDArray[np.int32],
    lights: tuple[NDArray[np.float32], NDArray[np.float32]],
    stars: Table | None,
    fwhm: float,
) -> float:
    """Measure the residuals of stars, and add what noise does not explain to the variance, in place.

    No kernel matches two PSFs exactly: tracking errors, detectors that are not linear and blends leave a
    share of each star's light. As part of the variance, it neither makes sources nor understates errors.

    Parameters
    ----------
    image : `~numpy.ndarray` of float32, shape (height, width)
        Difference.
    variance : `~numpy.ndarray` of float32, shape (height, width)
        Its variance from noise alone; changed in place.
    mask : `~numpy.ndarray` of int32, shape (height, width)
        Its mask.
    lights : `tuple` of `~numpy.ndarray` of float32, shape (height, width)
        The two images that were subtracted from each other. The fainter one counts: what only one shows is a
        change.
    stars : `~astropy.table.Table` or `None`
        ``x, y`` (pixels) and ``snr`` or ``psfFlux`` of stars.
    fwhm : `float`
        FWHM of the PSF, pixels.

    Returns
    -------
    error : `float`
        Residual of a pixel as a share of the light there, noise subtracted in quadrature: the median of
        bright stars, so that variable ones do not matter. 0 if stars are too few or too faint to show it.
    """
    if stars is None or not len(stars):
        return 0.0
    brightness = np.nan_to_num(np.asarray(stars["snr" if "snr" in stars.colnames else "psfFlux"], float))
    rows = np.argsort(-brightness)
    radius = max(fwhm / 2, 1.0)
    half = math.ceil(radius)
    j, i = np.mgrid[-half : half + 1, -half : half + 1]
    disc = np.hypot(j, i) <= radius
    dy, dx = j[disc], i[disc]
    x, y = (np.rint(np.nan_to_num(np.asarray(stars[name], float)[rows], nan=-1e6)) for name in ("x", "y"))
    height, width = image.shape
    inside = (x >= half) & (x < width - half) & (y >= half) & (y < height - half)
    x, y = x[inside][:STARS].astype(int), y[inside][:STARS].astype(int)
    at = y[:, np.newaxis] + dy, x[:, np.newaxis] + dx
    planes = np.int32(int(UNUSABLE | Mask.SAT_TEMPLATE))
    usable = ((mask[at] & planes) == 0).all(axis=1)
    residual, noise, *both = (plane[at].astype(np.float64) for plane in (image, variance, *lights))
    shares = np.minimum(*both)
    usable &= np.isfinite(residual).all(axis=1) & np.isfinite(shares).all(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        squared = np.sum(shares**2, axis=1)
        weight = squared / np.sum(noise, axis=1)
        usable &= weight * DETECTABLE**2 > 1
        excess = (np.sum(residual**2, axis=1) - np.sum(noise, axis=1)) / squared
    best = np.flatnonzero(usable)
    best = best[np.argsort(-weight[best])][: max(len(best) // 3, 3 * FEWEST)]
    if len(best) < FEWEST:
        return 0.0
    error = min(math.sqrt(max(float(np.median(excess[best])), 0.0)), MOST)
    if error < LEAST:
        return 0.0
    in_bands(lambda start, stop: _add(variance, *lights, np.float32(error), start, stop), height)
    return error


@numba.njit(cache=True, nogil=True)
def _add(
    variance: NDArray[np.float32],
    one: NDArray[np.float32],
    other: NDArray[np.float32],
    share: np.float32,
    start: int,
    stop: int,
) -> None:
    for row in range(start, stop):
        for column in range(variance.shape[1]):
            error = share * min(one[row, column], other[row, column])
            excess = error * error - np.float32(NEGLIGIBLE) * variance[row, column]
            if error > 0 and excess > 0 and np.isfinite(excess):
                variance[row, column] += excess
