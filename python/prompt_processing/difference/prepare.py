"""From an image as it is in a file to one with sky removed, variance, PSF and a list of stars."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from prompt_processing.imaging.calibration.background import SkyEstimate, estimate_sky
from prompt_processing.imaging.calibration.defects import fill_scattered_holes, mark_bad_lines
from prompt_processing.imaging.calibration.detection import Detections
from prompt_processing.imaging.calibration.measurement import fit_psf
from prompt_processing.imaging.calibration.pixel_noise import dithered, pixel_noise, quantum
from prompt_processing.imaging.errors import NumericalError, TooManyCosmicRaysError
from prompt_processing.imaging.isr.cosmic_rays import CosmicRayOptions, find_cosmic_rays

from ..images import UNUSABLE, Exposure, Mask
from .errors import DifferenceError
from .find_psf import PsfSettings, find_psf
from .read import OpenedImage

_LOG = logging.getLogger(__name__)

MAX_SOURCES = 20_000
"""Only that many of the brightest are measured."""

SHARPEST = 3.0
"""FWHM, pixels, below which a star is too much like a cosmic ray to look for those in one image alone."""

FEWEST_ELECTRONS = 0.7
"""No detector's sky scatters by less: a gain that says so belongs to other units."""

COARSE = 0.2
"""Steps of quantised data above this fraction of the noise bias the sky's mode."""


@dataclass(slots=True, eq=False)
class PreparedImage:
    """An image that can be subtracted from another.

    Attributes
    ----------
    name : `str`
        Of the file.
    exposure : `~prompt_processing.images.Exposure`
        Without sky, with variance, in the file's unit; PSF `None` if the image does not show one.
    stars : `~astropy.table.Table`
        ``x, y`` (pixels), ``xErr``, ``psfFlux``, ``snr``, ``clean`` (neither saturated nor cut),
        brightest first.
    sky, noise : `float`
        Level and scatter of the sky, unit of the image.
    fwhm : `float`
        Of the PSF, pixels; NaN without one.
    gain : `float` or `None`
        Electrons per unit that the variance was made with; `None` if the file has one.
    gain_estimated : `bool`
        Whether that is a guess from the sky's own scatter, an upper limit.
    psf_stars, cosmic_rays : `int`
        Stars of the PSF; pixels marked as cosmic rays.
    sources : `str`
        What was detected, for a message.
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
    gain_estimated: bool = False
    sources: str = ""
    detections: Detections | None = field(default=None, repr=False)


def prepare(
    opened: OpenedImage, cosmic_rays: bool, fwhm_guess: float = 3.5, psf: PsfSettings | None = None
) -> PreparedImage:
    """Prepare an image; that of ``opened`` is changed.

    Parameters
    ----------
    opened : `OpenedImage`
        As it was in the file.
    cosmic_rays : `bool`
        Whether to look for cosmic rays, and repair them.
    fwhm_guess : `float`
        Of the stars, pixels: a first one.
    psf : `PsfSettings`, optional
        What is known of the PSF.

    Raises
    ------
    NoStarsError
        Raised if the stars are wider than can be handled, or those that were named do not serve.
    DifferenceError
        Raised if there is no sky, or no image, to speak of.
    """
    exposure = opened.exposure
    try:
        sky, noise, plain = _subtract_sky(exposure)
        gain, estimated = _add_variance(opened, sky, noise)
        shown = exposure if plain is None else Exposure(plain, exposure.mask, exposure.variance)
        found = find_psf(shown, sky.rms.image(), noise, opened.name, psf or PsfSettings(), fwhm_guess)
    except NumericalError as error:
        raise DifferenceError(f"{opened.name}: {error}") from error
    prepared = PreparedImage(
        *(opened.name, exposure, Table(), sky.level, noise, float("nan"), gain, found.stars, 0, estimated),
        *(found.sources, found.detections),
    )
    if found.psf is not None:
        exposure.psf = found.psf
        finish(prepared, cosmic_rays)
    return prepared


def finish(image: PreparedImage, cosmic_rays: bool) -> None:
    """Repair cosmic rays and measure the sources of an image whose exposure has a PSF now, in place."""
    exposure = image.exposure
    assert exposure.psf is not None
    assert image.detections is not None
    image.fwhm = exposure.psf.fwhm_at()
    if cosmic_rays and image.fwhm > SHARPEST:
        try:
            image.cosmic_rays = find_cosmic_rays(exposure, CosmicRayOptions(sharpness=0.6), sky=0.0)
        except TooManyCosmicRaysError as error:
            _LOG.warning("%s: cosmic rays stay unmarked: %s", image.name, error)
    image.stars = _measure(exposure, image.detections)
    image.detections = None


def _subtract_sky(exposure: Exposure) -> tuple[SkyEstimate, float, NDArray[np.float32] | None]:
    """Subtract the sky and repair what stands out from it, in place.

    Returns
    -------
    sky : `~prompt_processing.imaging.calibration.background.SkyEstimate`
        That was subtracted.
    noise : `float`
        Of a pixel.
    plain : `~numpy.ndarray` of float32, shape (height, width), or `None`
        The image without its steps, if it is coarsely quantised: for whatever takes medians.
    """
    box = int(np.clip(min(exposure.shape) // 8, 48, 256))
    unusable = exposure.has(UNUSABLE & ~Mask.SAT)
    sky = estimate_sky(exposure.image, unusable, box)
    step = quantum(exposure.image, ~unusable)
    plain: NDArray[np.float32] | None = None
    if step > COARSE * sky.noise:
        # Modes and medians of few different values are off by up to half a step.
        plain = dithered(exposure.image, step)
        sky = estimate_sky(plain, unusable, box)
    else:
        step = 0.0
    level = sky.background.image()
    noise = pixel_noise((exposure.image if plain is None else plain) - level, ~unusable)
    if not np.isfinite(noise) or noise <= 0:
        noise = sky.noise
    noise = float(np.sqrt(max(noise**2 - step**2 / 12, (0.1 * noise) ** 2)))
    exposure.image -= level
    exposure.image[exposure.has(Mask.NO_DATA)] = 0
    mark_bad_lines(exposure, noise)
    fill_scattered_holes(exposure, noise)
    if plain is not None:
        plain = dithered(exposure.image, step)
    return sky, noise, plain


def _add_variance(opened: OpenedImage, sky: SkyEstimate, noise: float) -> tuple[float | None, bool]:
    """Fill the variance where the file has none: the sky's own scatter, and the sources' photons.

    Returns
    -------
    gain : `float` or `None`
        That was used. Where none is known, the one with which the sky's photons explain
        its scatter; `None` if that is not possible either, or not needed.
    estimated : `bool`
        Whether it is such an estimate.
    """
    exposure = opened.exposure
    if opened.has_variance:
        exposure.mask[~(exposure.variance > 0)] |= int(Mask.NO_DATA)
        return None, False
    gain, estimated = opened.gain, False
    if gain is not None and gain * noise < FEWEST_ELECTRONS:
        _LOG.warning(
            "%s: a gain of %.4g means that the sky scatters by %.2g electrons, less than any detector's. "
            "The gain is not that of these units (counts per second, or a mean?) and is not used.",
            opened.name,
            gain / opened.unit,
            gain * noise,
        )
        gain = None
    if gain is None and sky.level > 3 * noise:
        gain, estimated = sky.level / noise**2, True
    ratio = noise / sky.noise
    rms = sky.rms.image()
    if ratio < 0.9:
        # Unresolved stars scatter, too, but are no noise: the mesh's boxes tell of them.
        rms = np.full_like(rms, noise)
    exposure.variance = rms * rms
    if gain is not None:
        exposure.variance += np.maximum(exposure.image, 0) / np.float32(gain)
    else:
        _LOG.warning("%s: gain unknown, photon noise of sources is left out.", opened.name)
    return gain, estimated


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
