"""From an image as it is in a file to one with sky removed, variance, PSF and a list of stars."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from prompt_processing.imaging.calibration.background import SkyEstimate, estimate_sky
from prompt_processing.imaging.calibration.detection import Detections, detect
from prompt_processing.imaging.calibration.measurement import fit_psf
from prompt_processing.imaging.calibration.psf_model import PsfModel, PsfOptions, model_psf
from prompt_processing.imaging.calibration.star_selection import StarCandidates, select_stars
from prompt_processing.imaging.errors import (
    BadPsfError,
    NumericalError,
    TooFewStarsError,
    TooManyCosmicRaysError,
)
from prompt_processing.imaging.isr.cosmic_rays import CosmicRayOptions, find_cosmic_rays

from ..images import UNUSABLE, Exposure, Mask
from .errors import DifferenceError, NoStarsError
from .read import OpenedImage

_LOG = logging.getLogger(__name__)

MAX_SOURCES = 20_000
"""Only that many of the brightest are measured."""

SHARPEST = 3.0
"""FWHM, pixels, below which a star is too much like a cosmic ray to look for those."""

PSF_STAR_SNR = 80.0
"""Least significance of a star for the PSF, if there are enough; compact galaxies show by then."""

MAX_PSF_SIZE = 61
"""Width of a PSF's image, pixels."""


@dataclass(slots=True, eq=False)
class PreparedImage:
    """An image that can be subtracted from another.

    Attributes
    ----------
    name : `str`
        Of the file.
    exposure : `~prompt_processing.images.Exposure`
        Without sky, with variance and PSF, in the file's unit.
    stars : `~astropy.table.Table`
        ``x, y`` (pixels), ``xErr``, ``psfFlux``, ``snr``, ``clean`` (neither saturated nor cut),
        brightest first.
    sky, noise : `float`
        Level and scatter of the sky, unit of the image.
    fwhm : `float`
        Of the PSF, pixels.
    gain : `float` or `None`
        Electrons per unit that the variance was made with; `None` if the file has one.
    psf_stars, cosmic_rays : `int`
        Stars of the PSF; pixels marked as cosmic rays.
    """

    name: str
    exposure: Exposure
    stars: Table
    sky: float
    noise: float
    fwhm: float
    gain: float | None
    psf_stars: int
    cosmic_rays: int


def prepare(opened: OpenedImage, cosmic_rays: bool, fwhm_guess: float = 3.5) -> PreparedImage:
    """Prepare an image; that of ``opened`` is changed.

    Parameters
    ----------
    opened : `OpenedImage`
        As it was in the file.
    cosmic_rays : `bool`
        Whether to look for cosmic rays, and repair them.
    fwhm_guess : `float`
        Of the stars, pixels: a first one.

    Raises
    ------
    NoStarsError
        Raised if there are not enough stars for a PSF.
    DifferenceError
        Raised if there is no sky, or no image, to speak of.
    """
    exposure = opened.exposure
    try:
        sky, detections, candidates = _find_stars(exposure, fwhm_guess)
        gain = _add_variance(opened, sky)
        model = _model(exposure, detections, candidates)
    except (TooFewStarsError, BadPsfError) as error:
        raise NoStarsError(f"{opened.name}: {error}") from error
    except NumericalError as error:
        raise DifferenceError(f"{opened.name}: {error}") from error
    exposure.psf = model.psf
    n_cosmic = 0
    if cosmic_rays and model.fwhm > SHARPEST:
        try:
            n_cosmic = find_cosmic_rays(exposure, CosmicRayOptions(sharpness=0.6), sky=0.0)
        except TooManyCosmicRaysError as error:
            _LOG.warning("%s: cosmic rays stay unmarked: %s", opened.name, error)
    return PreparedImage(
        opened.name,
        exposure,
        _measure(exposure, detections),
        sky.level,
        sky.noise,
        model.fwhm,
        gain,
        int(model.used.sum()),
        n_cosmic,
    )


def _find_stars(exposure: Exposure, fwhm: float) -> tuple[SkyEstimate, Detections, StarCandidates]:
    """Subtract the sky, in place, and find stars; twice, if they are not as wide as was guessed."""
    box = int(np.clip(min(exposure.shape) // 8, 48, 256))
    unusable = exposure.has(UNUSABLE & ~Mask.SAT)
    sky = estimate_sky(exposure.image, unusable, box)
    exposure.image -= sky.background.image()
    exposure.image[exposure.has(Mask.NO_DATA)] = 0
    rms = sky.rms.image()
    for _ in range(3):
        detections = detect(exposure.image, rms, fwhm, 5.0, unusable)
        candidates = select_stars(exposure, detections, PSF_STAR_SNR)
        if 0.75 < candidates.fwhm / fwhm < 1.33:
            break
        fwhm = float(np.clip(candidates.fwhm, 1.5, 20.0))
    return sky, detections, candidates


def _add_variance(opened: OpenedImage, sky: SkyEstimate) -> float | None:
    """Fill the variance where the file has none: the sky's own scatter, and the sources' photons.

    Returns
    -------
    gain : `float` or `None`
        That was used. Where none is known, the one with which the sky's photons explain
        its scatter; `None` if that is not possible either, or not needed.
    """
    exposure = opened.exposure
    if opened.has_variance:
        exposure.mask[~(exposure.variance > 0)] |= int(Mask.NO_DATA)
        return None
    gain = opened.gain
    if gain is None:
        gain = sky.level / sky.noise**2 if sky.level > 3 * sky.noise else None
    rms = sky.rms.image()
    exposure.variance = rms * rms
    if gain is not None:
        exposure.variance += np.maximum(exposure.image, 0) / np.float32(gain)
    else:
        _LOG.warning("%s: gain unknown, photon noise of sources is left out.", opened.name)
    return gain


def _model(exposure: Exposure, detections: Detections, candidates: StarCandidates) -> PsfModel:
    options = PsfOptions(min_stars=3, max_size=MAX_PSF_SIZE)
    return model_psf(
        exposure,
        candidates.x,
        candidates.y,
        candidates.flux,
        candidates.fwhm,
        detections.segmentation,
        (candidates.rows + 1).astype(np.int32),
        options,
    )


def _measure(exposure: Exposure, detections: Detections) -> Table:
    order: NDArray[np.intp] = np.argsort(-detections.flux)[:MAX_SOURCES]
    catalogue = detections.catalogue[order]
    fits = fit_psf(exposure, catalogue["x"], catalogue["y"])
    with np.errstate(invalid="ignore", divide="ignore"):
        snr = np.nan_to_num(fits.flux / fits.flux_err, nan=0.0, posinf=0.0, neginf=0.0)
    clean = fits.moved & ((fits.planes & int(UNUSABLE)) == 0)
    table = Table({"x": fits.x, "y": fits.y, "xErr": np.hypot(fits.x_err, fits.y_err) / np.sqrt(2)})
    table["psfFlux"], table["psfFluxErr"], table["snr"], table["clean"] = (
        fits.flux,
        fits.flux_err,
        snr,
        clean,
    )
    return table[np.argsort(-snr)]
