"""The photon noise of a source in the error of its difference flux."""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from prompt_processing.images import UNMEASURED, Exposure, Psf
from prompt_processing.imaging.psf_stamps import SplinePsf, shifted_stamp, spline_at
from prompt_processing.imaging.row_bands import in_bands

from .block_convolution import kernel_spectra
from .decorrelation import DifferenceFilters

PHOTON_NOISE = "PHOTNOIS"
"""Name of `photon_noise` in a difference's metadata, in FITS form."""

SURROUNDINGS = 10
"""Distance from a fitted source, pixels, at which its own light is negligible."""


def photon_noise(filters: DifferenceFilters, science_psf: Psf, x: float, y: float) -> float:
    """Return the variance of a PSF flux from the photons of its source.

    Parameters
    ----------
    filters : `DifferenceFilters`
        Filters that made the difference.
    science_psf : `~prompt_processing.images.Psf`
        PSF of the unfiltered science image.
    x, y : `float`
        Position, pixels.

    Returns
    -------
    variance : `float`
        Variance of the flux if the science image's variance is the difference's PSF, scaled like the flux.

    Notes
    -----
    The whitening makes the combined sky noise of both images white. The photon noise of a source that is
    only in the science image goes through the science image's filter alone: where that smooths, as a kernel
    for a blurrier template does, neighbouring pixels share their noise, and the variances of
    pixels do not determine the variance of a flux.
    With the difference's PSF ``p = g * s``, composed of the science
    image's filter ``g`` and PSF ``s``, the flux is ``sum(p d) / sum(p^2)``, and for photons
    distributed as ``s`` its variance is ``sum(s (p x g)^2) / sum(p^2)^2``.
    """
    n = 160
    science = filters.spectra(np.array([x]), np.array([y]), n, filters.template_power(n))[0][0]
    source = kernel_spectra(science_psf.image_at(x, y)[np.newaxis], n)[0]
    fell, seen = (fft.irfft2(light, s=(n, n)).astype(np.float64) for light in (source, science * source))
    weights = fft.irfft2(science * source * science.conj(), s=(n, n)).astype(np.float64)
    # The last factor is the photons that `with_photon_noise` finds if they are distributed as ``s``.
    return float(np.sum(fell * weights**2) / np.sum(seen**2) / np.sum(fell * seen))


def with_photon_noise(
    errors: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    difference: Exposure,
    science: Exposure,
) -> NDArray[np.float64]:
    """Add to errors of PSF fluxes the photon noise that the variance plane does not include.

    Parameters
    ----------
    errors : `~numpy.ndarray`, shape (n,)
        Errors from the difference's variance plane, in its unit.
    x, y : `~numpy.ndarray`, shape (n,)
        Positions, pixels.
    difference : `Exposure`
        Difference with PSF; without the ``metadata`` of `subtract` the errors are unchanged.
    science : `Exposure`
        Science image, whose variance includes the photons.

    Notes
    -----
    The excess of both variances over their level around a source is converted to a variance of the flux;
    the larger one counts.
    """
    out = np.array(errors, np.float64)
    factor = float(difference.metadata.get(PHOTON_NOISE, 0.0))
    if difference.psf is None or not factor > 0 or not out.size:
        return out
    spline = SplinePsf.of(difference.psf)
    radius = min(int(np.clip(math.ceil(1.5 * difference.psf.fwhm_at()), 5, 14)), difference.psf.size // 2)
    unusable = np.int32(int(UNMEASURED))
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
    """Return the level on the sides of a square: the mean of the middle two of four; 0 without any."""
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
