"""Measure the PSF of an image that came without one, such as a coadd of another stack."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from prompt_processing.images import UNUSABLE, Exposure, Psf
from prompt_processing.imaging.row_bands import subtract_background

from ..background import estimate_sky
from ..detection import detect
from ..star_selection import select_stars
from .model import PsfOptions, model_psf

__all__ = ["measure_psf"]


def measure_psf(exposure: Exposure, fwhm_guess: float, order: int = 2) -> Psf:
    """Model the PSF from the stars of an image.

    Parameters
    ----------
    exposure : `Exposure`
        Image with mask and variance, in any unit; not modified. Pixels that are not finite are left out.
    fwhm_guess : `float`
        Rough seeing, pixels.
    order : `int`, optional
        Highest degree of the PSF's variation.

    Raises
    ------
    NumericalError
        Raised if there are too few stars, or their shape is not credible.
    """
    missing = ~np.isfinite(exposure.image)
    unusable = exposure.has(UNUSABLE) | missing
    work = replace(exposure, image=np.where(missing, np.float32(0), exposure.image), psf=None)
    sky = estimate_sky(work.image, unusable, max(128, round(32 * fwhm_guess)))
    subtract_background(work.image, sky.background)
    detections = detect(work.image, sky.rms, fwhm_guess, 5.0, unusable)
    stars = select_stars(work, detections)
    labels = (stars.rows + 1).astype(np.int32)
    options = PsfOptions(order=order)
    return model_psf(
        work, stars.x, stars.y, stars.flux, stars.fwhm, detections.segmentation, labels, options
    ).psf
