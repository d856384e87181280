"""Photometric zero point from reference stars."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prompt_processing.images import PhotoCalib
from prompt_processing.images.photo_calib import NJY_ZERO_POINT
from prompt_processing.images.robust import MAD_TO_SIGMA
from prompt_processing.imaging.errors import PhotometryError

_MAG = 2.5 / np.log(10)


@dataclass(frozen=True, slots=True)
class PhotometryOptions:
    """Options of the zero point.

    Attributes
    ----------
    min_snr : `float`
        Least signal-to-noise ratio of the stars; fainter ones are used only if stars are too few.
    min_stars : `int`
        Minimum number of stars for a zero point.
    floor : `float`
        Least error of any star, mag, from flat field and colour.
    clip : `float`
        Stars beyond this many standard deviations are rejected.
    max_scatter : `float`
        Largest credible scatter of the used stars, mag.
    """

    min_snr: float = 30.0
    min_stars: int = 4
    floor: float = 0.01
    clip: float = 3.5
    max_scatter: float = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class ZeroPoint:
    """A zero point and the stars it is based on.

    Attributes
    ----------
    photo_calib : `PhotoCalib`
        Calibration from the image's unit to nJy.
    magnitude, error : `float`
        AB magnitude of one unit, and its standard error.
    scatter : `float`
        Robust scatter of the used stars, mag.
    used : `~numpy.ndarray` of bool, shape (n,)
        Pairs that the zero point is based on.
    """

    photo_calib: PhotoCalib
    magnitude: float
    error: float
    scatter: float
    used: NDArray[np.bool_]


def fit_zero_point(
    flux: NDArray[np.float64],
    flux_err: NDArray[np.float64],
    ref_flux: NDArray[np.float64],
    ref_flux_err: NDArray[np.float64],
    usable: NDArray[np.bool_] | None = None,
    options: PhotometryOptions | None = None,
) -> ZeroPoint:
    """Compare PSF fluxes with a catalogue's total fluxes.

    Parameters
    ----------
    flux, flux_err : `~numpy.ndarray`, shape (n,)
        Instrumental PSF fluxes. The zero point includes the light that the PSF
        model misses, so calibrated PSF fluxes are total fluxes.
    ref_flux, ref_flux_err : `~numpy.ndarray`, shape (n,)
        Total fluxes of the same stars, nJy.
    usable : `~numpy.ndarray` of bool, shape (n,), optional
        Pairs that may be used.
    options : `PhotometryOptions`, optional

    Returns
    -------
    zero_point : `ZeroPoint`

    Raises
    ------
    PhotometryError
        Raised for too few stars, or too much scatter.
    """
    options = options or PhotometryOptions()
    with np.errstate(invalid="ignore", divide="ignore"):
        ok = (flux > 0) & (flux_err > 0) & (ref_flux > 0) & np.isfinite(flux * ref_flux)
        snr = np.where(ok, flux / flux_err, 0.0)
    if usable is not None:
        ok &= usable
    bright = ok & (snr > options.min_snr)
    if np.count_nonzero(bright) < 3 * options.min_stars:
        bright = ok & (snr > options.min_snr / 3)
    n_candidates = int(np.count_nonzero(bright))
    if n_candidates < options.min_stars:
        raise PhotometryError(
            "Too few stars for a zero point",
            stars=n_candidates, matches=int(np.count_nonzero(ok)), needed=options.min_stars,
        )  # fmt: skip
    difference = np.full(len(flux), np.nan)
    difference[bright] = -2.5 * np.log10(ref_flux[bright] / flux[bright]) + NJY_ZERO_POINT
    ref_err = np.where(np.isfinite(ref_flux_err), ref_flux_err, 0.0)
    error = np.full(len(flux), np.inf)
    error[bright] = _MAG * np.hypot(1 / snr[bright], ref_err[bright] / ref_flux[bright])
    error = np.hypot(error, options.floor)
    used = bright
    for _ in range(10):
        centre = float(np.median(difference[used]))
        scatter = MAD_TO_SIGMA * float(np.median(np.abs(difference[used] - centre)))
        # Each star is weighted by its own error, widened by the scatter beyond the errors.
        typical = float(np.median(error[used]))
        width = np.hypot(error, np.sqrt(max(scatter**2 - typical**2, 0.0)))
        new = bright & (np.abs(difference - centre) < options.clip * width)
        if np.array_equal(new, used) or np.count_nonzero(new) < options.min_stars:
            break
        used = new
    weight = 1.0 / width[used] ** 2
    magnitude = float(np.sum(weight * difference[used]) / np.sum(weight))
    n_used = int(np.count_nonzero(used))
    uncertainty = float(max(np.sum(weight) ** -0.5, scatter / np.sqrt(n_used)))
    if scatter > options.max_scatter or n_used < options.min_stars:
        raise PhotometryError(
            "The zero point scatters too much", scatter_mag=scatter, stars=n_used, zero_point=magnitude
        )
    return ZeroPoint(
        PhotoCalib.from_zero_point(magnitude, uncertainty), magnitude, uncertainty, scatter, used
    )
