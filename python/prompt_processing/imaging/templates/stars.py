"""Measure the stars of a template, which calibrate images where no catalogue exists."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import sep
from astropy.table import Table

from prompt_processing.images import UNUSABLE, Exposure, Mask
from prompt_processing.imaging.calibration.background import estimate_sky
from prompt_processing.imaging.calibration.detection import detect
from prompt_processing.imaging.calibration.measurement import fit_psf
from prompt_processing.imaging.calibration.star_selection import select_stars
from prompt_processing.imaging.errors import TooFewStarsError
from prompt_processing.imaging.row_bands import background_plane, pixels_with

MIN_SNR = 20.0
"""Least signal-to-noise ratio: fainter stars add only noise to a zero point."""

_GUESSED_FWHM = 4.0
_BOX = 128
_HURT = Mask.SAT | Mask.BAD | Mask.CR | Mask.EDGE | Mask.NO_DATA


def template_stars(coadd: Exposure) -> Table:
    """Find the point sources of a template.

    Parameters
    ----------
    coadd : `Exposure`
        With WCS; it is not modified. Without a PSF, fluxes are those within twice the FWHM.

    Returns
    -------
    stars : `~astropy.table.Table`
        ``ra``, ``dec`` (ICRS degrees), ``flux`` and ``fluxErr``, unit of the coadd; empty if the coadd has
        hardly any star.

    Raises
    ------
    ValueError
        Raised if the coadd has no WCS.
    """
    if coadd.wcs is None:
        raise ValueError("The template has no WCS.")
    empty = Table({name: np.zeros(0) for name in ("ra", "dec", "flux", "fluxErr")})
    bad = pixels_with(coadd.mask, int(UNUSABLE)) | ~np.isfinite(coadd.image)
    if bad.mean() > 0.99:
        return empty
    image = np.where(bad, np.float32(0), coadd.image).astype(np.float32)
    exposure = replace(coadd, image=image, mask=coadd.mask | np.where(bad, int(Mask.NO_DATA), 0))
    exposure.mask = exposure.mask.astype(np.int32)
    sky = estimate_sky(image, bad, _BOX)
    image -= background_plane(sky.background)
    detections = detect(image, sky.rms, _GUESSED_FWHM, 5.0, bad)
    try:
        chosen = select_stars(exposure, detections, MIN_SNR)
    except TooFewStarsError:
        return empty
    if exposure.psf is not None:
        fits = fit_psf(exposure, chosen.x, chosen.y)
        x, y, flux, error, planes = fits.x, fits.y, fits.flux, fits.flux_err, fits.planes
    else:
        x, y = chosen.x, chosen.y
        flux, error, _ = sep.sum_circle(
            image, x, y, 2.0 * chosen.fwhm, var=np.nan_to_num(exposure.variance), subpix=5
        )
        planes = np.zeros(len(x), np.int32)
    with np.errstate(invalid="ignore", divide="ignore"):
        good = np.isfinite(flux) & (flux > MIN_SNR * error) & ((planes & int(_HURT)) == 0)
    if not good.any():
        return empty
    ra, dec = coadd.wcs.all_pix2world(x[good], y[good], 0)
    return Table({"ra": ra, "dec": dec, "flux": flux[good], "fluxErr": error[good]})
