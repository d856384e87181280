"""The part of a difference flux's error that its own photons make."""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from prompt_processing.images import UNUSABLE, Exposure, Mask, Psf
from prompt_processing.imaging.psf_stamps import SplinePsf, shifted_stamp, spline_at
from prompt_processing.imaging.row_bands import in_bands

from .block_convolution import kernel_spectra
from .decorrelation import DifferenceFilters

PHOTON_NOISE = "PHOTNOIS"
"""Name of `photon_noise` among a difference's metadata, as FITS has names."""

SURROUNDINGS = 10
"""Distance from a fitted source at which there is sky, or a galaxy, without it, pixels."""


def photon_noise(filters: DifferenceFilters, science_psf: Psf, x: float, y: float) -> float:
    """Return how much variance of a PSF flux the photons of its source make.

    Parameters
    ----------
    filters : `DifferenceFilters`
        That made the difference.
    science_psf : `~prompt_processing.images.Psf`
        Of the science image as it is.
    x, y : `float`
        Where, pixels.

    Returns
    -------
    variance : `float`
        Of the flux, where the science image's variance is the difference's PSF, scaled as the flux is.

    Notes
    -----
    The whitening makes the noise of both images' skies together white. The photon noise of a source that is
    only in the science image goes through the science image's filter alone: where that smooths, as a kernel
    for a blurrier template does, neighbouring pixels have their noise in common, and the variances of
    pixels say little of a flux's. With the difference's PSF ``p = g * s``, made of the science
    image's filter ``g`` and PSF ``s``, the flux is ``sum(p d) / sum(p^2)``, and of photons that
    fell as ``s`` its variance is ``sum(s (p x g)^2) / sum(p^2)^2``.
    """
    n = 160
    science = filters.spectra(np.array([x]), np.array([y]), n, filters.template_power(n))[0][0]
    source = kernel_spectra(science_psf.image_at(x, y)[np.newaxis], n)[0]
    fell, seen = (fft.irfft2(light, s=(n, n)).astype(np.float64) for light in (source, science * source))
    weights = fft.irfft2(science * source * science.conj(), s=(n, n)).astype(np.float64)
    # The last factor: what `with_photon_noise` takes for the photons if they fell as ``s``.
    return float(np.sum(fell * weights**2) / np.sum(seen**2) / np.sum(fell * seen))


def with_photon_noise(
    errors: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    difference: Exposure,
    science: Exposure,
) -> NDArray[np.float64]:
    """Return errors of PSF fluxes with what the variance plane does not tell of the sources' photons.

    Parameters
    ----------
    errors : `~numpy.ndarray`, shape (n,)
        From the difference's variance plane, its unit.
    x, y : `~numpy.ndarray`, shape (n,)
        Positions, pixels.
    difference : `Exposure`
        With PSF; ``metadata`` as `subtract` makes it, or the errors stay as they are.
    science : `Exposure`
        For its variance, which has the photons.

    Notes
    -----
    What both variances have above their level around a source is compared by what it makes of the flux's
    variance; the larger counts.
    """
    out = np.array(errors, np.float64)
    factor = float(difference.metadata.get(PHOTON_NOISE, 0.0))
    if difference.psf is None or not factor > 0 or not out.size:
        return out
    spline = SplinePsf.of(difference.psf)
    radius = min(int(np.clip(math.ceil(1.5 * difference.psf.fwhm_at()), 5, 14)), difference.psf.size // 2)
    unusable = np.int32(int(UNUSABLE & ~Mask.EDGE | Mask.SAT_TEMPLATE))
    at = np.ascontiguousarray(x, np.float64), np.ascontiguousarray(y, np.float64)

    def add(start: int, stop: int) -> None:
        _add_photons(
            *(difference.variance, science.variance, difference.mask, unusable),
            *(spline.splines, spline.order, spline.frame, *at, radius, factor, out, start, stop),
        )

    in_bands(add, out.size)
    return out


@numba.njit(cache=True, nogil=True)
def _add_photons(
    told: NDArray[np.float32],
    own: NDArray[np.float32],
    mask: NDArray[np.int32],
    unusable: int,
    splines: NDArray[np.float64],
    order: int,
    frame: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    radius: int,
    factor: float,
    errors: NDArray[np.float64],
    start: int,
    stop: int,
) -> None:
    height, width = told.shape
    size = splines.shape[1]
    half = size // 2
    spline, stamp = np.empty((size, size)), np.empty((size, size))
    for i in range(start, stop):
        if not (-0.5 <= x[i] < width - 0.5 and -0.5 <= y[i] < height - 0.5):
            continue
        column, row = int(np.floor(x[i] + 0.5)), int(np.floor(y[i] + 0.5))
        told_around = _around(told, mask, unusable, column, row, radius + SURROUNDINGS)
        own_around = _around(own, mask, unusable, column, row, radius + SURROUNDINGS)
        if not (told_around > 0 and own_around > 0):
            continue
        spline_at(splines, order, frame, x[i], y[i], spline)
        total = shifted_stamp(spline, x[i] - column, y[i] - row, stamp)
        weight = photons = excess = 0.0
        for j in range(max(row - radius, 0), min(row + radius + 1, height)):
            for k in range(max(column - radius, 0), min(column + radius + 1, width)):
                if mask[j, k] & unusable or not (told[j, k] > 0 and own[j, k] > 0):
                    continue
                p = stamp[j - row + half, k - column + half] / total
                weight += p * p
                photons += p * (own[j, k] - own_around)
                excess += p * p * max(told[j, k] - told_around, 0.0)
        if weight > 0:
            more = factor * photons / weight - excess / weight**2
            errors[i] = math.sqrt(errors[i] ** 2 + max(more, 0.0))


@numba.njit(cache=True, nogil=True)
def _around(
    variance: NDArray[np.float32], mask: NDArray[np.int32], unusable: int, column: int, row: int, reach: int
) -> float:
    """Return the level on the sides of a square: that of the two middle ones of four; 0 without any."""
    height, width = variance.shape
    sides = np.zeros(4)
    n = 0
    for side in range(4):
        total, count = 0.0, 0
        for step in range(-reach, reach + 1):
            across = reach if side % 2 else -reach
            j, k = (row + across, column + step) if side < 2 else (row + step, column + across)
            if 0 <= j < height and 0 <= k < width and not mask[j, k] & unusable and variance[j, k] > 0:
                total += variance[j, k]
                count += 1
        if count > reach // 2:
            sides[n] = total / count
            n += 1
    if n == 0:
        return 0.0
    sides[:n].sort()
    return 0.5 * (sides[(n - 1) // 2] + sides[n // 2])
