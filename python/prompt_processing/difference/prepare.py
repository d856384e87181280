"""Prepare an image from a file: subtract the sky, add variance, PSF and a list of stars."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from prompt_processing.imaging.blemishes.fill import fill_pixels
from prompt_processing.imaging.calibration.background import SkyEstimate
from prompt_processing.imaging.calibration.detection import Detections
from prompt_processing.imaging.calibration.measurement import fit_psf
from prompt_processing.imaging.errors import NumericalError, TooManyCosmicRaysError
from prompt_processing.imaging.isr.cosmic_rays import CosmicRayOptions, find_cosmic_rays

from ..images import UNUSABLE, Exposure, Mask
from ..images.background import Background
from .errors import DifferenceError, StarsTooWideError
from .find_psf import PsfSettings, find_psf
from .reading.read import OpenedImage
from .sky import subtract_sky

_LOG = logging.getLogger(__name__)

MAX_SOURCES = 20_000
"""Maximum number of sources to measure, brightest first."""

SHARPEST = 3.0
"""FWHM, pixels, below which stars resemble cosmic rays too much to find those in one image alone."""

SMALLEST_SIDE = 40
"""Least height and width of an image, pixels: a kernel's and its sources' surroundings."""

MOST_HIT, MOST_HIT_COARSE = 0.06, 0.001
"""Share of pixels with a cosmic ray's peak; more are noise that is not Gaussian. The second one is of data in
steps above their noise, such as single photons."""

BRIGHT = 50.0
"""Signal-to-noise ratio of stars that show errors of the PSF."""
ERROR_STARS, FEWEST_ERROR_STARS = 60, 5
"""Largest and smallest number of these stars."""
BEST = 0.25
"""Share of these stars that fit the PSF best, which is not more than are stars among cosmic rays."""

MOST_ERROR = 0.25
"""Largest error of a PSF that the filters take into account."""

FEWEST_ELECTRONS = 0.7
"""Least scatter of a detector's sky, electrons; a gain that implies less belongs to other units."""

LEAST_SHARE, LARGEST_SHARE = 0.5, 4.0
"""Noise by a variance plane over the scatter of the sky; outside this range the plane is wrong. Resampling
and unresolved stars explain the rest."""


@dataclass(slots=True, eq=False)
class PreparedImage:
    """An image that is ready for subtraction.

    Attributes
    ----------
    name : `str`
        Name of the file.
    exposure : `~prompt_processing.images.Exposure`
        Sky-subtracted, with variance, in the file's unit; its PSF is `None` if the image shows no star.
    stars : `~astropy.table.Table`
        ``x, y`` (pixels), ``xErr``, ``psfFlux``, ``snr``, ``clean`` (neither saturated nor cut),
        brightest first.
    sky, noise : `float`
        Level and scatter of the sky, unit of the image.
    fwhm : `float`
        FWHM of the PSF, pixels; NaN without a PSF.
    gain : `float` or `None`
        Electrons per unit used for the variance; `None` if the file has a variance.
    gain_estimated : `bool`
        Whether that is an upper limit from the sky's own scatter.
    psf_stars, cosmic_rays : `int`
        Stars of the PSF; pixels marked as cosmic rays.
    sources : `str`
        Summary of the detections, for a message.
    step : `float`
        Steps of coarsely quantised data, in the unit of the image; 0 for others.
    detections : `~prompt_processing.imaging.calibration.detection.Detections` or `None`
        Sources that are still to be measured.
    background : `~prompt_processing.images.background.Background` or `None`
        The subtracted sky.
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
    step: float = 0.0
    detections: Detections | None = field(default=None, repr=False)
    background: Background | None = field(default=None, repr=False)


def prepare(
    opened: OpenedImage, cosmic_rays: bool, fwhm_guess: float = 3.5, psf: PsfSettings | None = None
) -> PreparedImage:
    """Prepare an image; ``opened`` is modified.

    Parameters
    ----------
    opened : `OpenedImage`
        The image as read from the file.
    cosmic_rays : `bool`
        Whether to find and repair cosmic rays.
    fwhm_guess : `float`
        First estimate of the stars' FWHM, pixels.
    psf : `PsfSettings`, optional
        The user's knowledge of the PSF.

    Raises
    ------
    StarsTooWideError
        Raised if the stars are too wide; ``opened`` has its sky again.
    NoStarsError
        Raised if the named stars are unusable.
    DifferenceError
        Raised if the image has too little sky to measure, or too few usable pixels.
    """
    exposure = opened.exposure
    value = _only_value(exposure)
    if value is not None:
        raise DifferenceError(f"{opened.name} shows nothing: all of its pixels are {value * opened.unit:g}.")
    if min(exposure.shape) < SMALLEST_SIDE:
        raise DifferenceError(
            f"{opened.name} is {exposure.shape[1]} x {exposure.shape[0]} pixels: a subtraction needs at "
            f"least {SMALLEST_SIDE} along each side."
        )
    unknown = ~(exposure.variance > 0) if opened.has_variance else None
    if unknown is not None:
        exposure.mask[unknown] |= int(Mask.NO_DATA)
    try:
        sky, noise, plain, step = subtract_sky(exposure, opened.name, opened.unit)
        if unknown is not None:
            # Single pixels have been filled from their neighbours, and are about as uncertain.
            filled = unknown & ~exposure.has(Mask.NO_DATA)
            fill_pixels(exposure.variance, filled, unknown)
        rms = sky.rms.image()
        gain, estimated = _add_variance(opened, sky, rms, noise)
        shown = exposure if plain is None else Exposure(plain, exposure.mask, exposure.variance)
        found = find_psf(shown, rms, noise, opened.name, psf or PsfSettings(), fwhm_guess)
    except StarsTooWideError:
        restore(opened, sky.background)
        raise
    except NumericalError as error:
        raise DifferenceError(f"{opened.name}: {error}") from error
    prepared = PreparedImage(
        *(opened.name, exposure, Table(), sky.level, noise, float("nan"), gain, found.stars, 0, estimated),
        *(found.sources, step, found.detections, sky.background),
    )
    if found.psf is not None:
        exposure.psf = found.psf
        finish(prepared, cosmic_rays)
    return prepared


def restore(opened: OpenedImage, background: Background) -> None:
    """Add the sky to a prepared image again, in place; what was repaired stays repaired."""
    exposure = opened.exposure
    exposure.image += background.image()
    exposure.image[exposure.has(Mask.NO_DATA)] = 0
    exposure.psf = None
    if not opened.has_variance:
        exposure.variance[:] = 0


def finish(image: PreparedImage, cosmic_rays: bool) -> None:
    """Repair cosmic rays and measure the sources of an image whose exposure now has a PSF, in place."""
    exposure = image.exposure
    assert exposure.psf is not None
    assert image.detections is not None
    image.fwhm = exposure.psf.fwhm_at()
    if cosmic_rays and image.fwhm > SHARPEST:
        share = MOST_HIT if image.step < image.noise else MOST_HIT_COARSE
        most = max(int(share * exposure.image.size), 20)
        try:
            image.cosmic_rays = find_cosmic_rays(
                exposure, CosmicRayOptions(sharpness=0.6, max_pixels=most, spare_stars=False), sky=0.0
            )
        except TooManyCosmicRaysError as error:
            _LOG.warning("%s: cosmic rays stay unmarked: %s", image.name, error)
    image.stars = _measure(exposure, image.detections)
    image.detections = None


def _only_value(exposure: Exposure) -> float | None:
    """Return the value of all pixels with data, if there is only one."""
    sample = np.s_[::9, ::9]
    # A few pixels show that nearly every image has several.
    for part in (sample, np.s_[:]):
        seen = exposure.image[part][(exposure.mask[part] & np.int32(int(Mask.NO_DATA))) == 0]
        if seen.size and seen.min() != seen.max():
            return None
    return float(seen[0]) if seen.size else None


def _add_variance(
    opened: OpenedImage, sky: SkyEstimate, rms: NDArray[np.float32], noise: float
) -> tuple[float | None, bool]:
    """Fill the variance if the file has none, from the sky's scatter and the sources' photons.

    Returns
    -------
    gain : `float` or `None`
        The gain used. If unknown, the gain with which the sky's photons explain
        its scatter; `None` if that is impossible or not needed.
    estimated : `bool`
        Whether the gain is such an estimate.
    """
    exposure = opened.exposure
    if opened.has_variance:
        _check_variance(opened, noise)
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
    # Unresolved stars add scatter that is not noise; the mesh's boxes measure it.
    exposure.variance = np.full_like(rms, noise**2) if noise < 0.9 * sky.noise else rms * rms
    if gain is not None:
        exposure.variance += np.maximum(exposure.image, 0) / np.float32(gain)
    else:
        _LOG.warning("%s: the gain is unknown, so photon noise of sources is left out.", opened.name)
    return gain, estimated


def _check_variance(opened: OpenedImage, noise: float) -> None:
    """Scale a variance that contradicts the scatter of the sky, in place."""
    exposure = opened.exposure
    usable = ~exposure.has(UNUSABLE)
    said = float(np.sqrt(np.median(exposure.variance[usable]))) if usable.any() else noise
    if LEAST_SHARE < said / noise < LARGEST_SHARE:
        return
    _LOG.warning(
        "%s says that the sky of %s scatters by %.3g, but it scatters by %.3g: it is scaled by %.3g. "
        "Is it a variance, or a standard deviation, and in the image's unit?",
        opened.variance_name,
        opened.name,
        said * opened.unit,
        noise * opened.unit,
        noise / said,
    )
    exposure.variance *= np.float32((noise / said) ** 2)
    if opened.gain is not None and opened.gain * noise > FEWEST_ELECTRONS:
        photons = np.float32(noise**2) + np.maximum(exposure.image, 0) / np.float32(opened.gain)
        exposure.variance = np.where(exposure.variance > 0, np.fmax(exposure.variance, photons), 0)


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
    # Share of the squared signal that the PSF lacks, independent of brightness.
    table["misfit"] = (fits.chi2 - fits.n_pixels) / np.maximum(snr**2, 1)
    return table[np.argsort(-snr)]


def psf_error(stars: Table) -> float:
    """Return the misfit of an image's PSF to its own stars: a share of their squared signal.

    It is that of the best quarter of bright ones, so that blends, galaxies and cosmic rays do not matter; 0
    if there are too few.

    Parameters
    ----------
    stars : `~astropy.table.Table`
        Rows of a `PreparedImage`'s ``stars``, preferably those that both images show.
    """
    if "misfit" not in stars.colnames:
        return 0.0
    snr = np.asarray(stars["snr"], float)
    bright = np.flatnonzero(np.asarray(stars["clean"], bool) & (snr > BRIGHT))
    misfit = np.asarray(stars["misfit"], float)[bright[np.argsort(-snr[bright], kind="stable")][:ERROR_STARS]]
    misfit = misfit[np.isfinite(misfit)]
    return (
        float(np.clip(np.quantile(misfit, BEST), 0, MOST_ERROR)) if len(misfit) >= FEWEST_ERROR_STARS else 0.0
    )
