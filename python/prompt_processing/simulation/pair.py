"""Simulate a science image, its template and the truth, without the camera's effects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from astropy.table import Table
from astropy.wcs import WCS
from numpy.typing import NDArray

from prompt_processing.images import Exposure, Mask, PhotoCalib, Psf, VisitInfo, polynomial_terms
from prompt_processing.images.photo_calib import NJY_ZERO_POINT

from .conditions import ObservingConditions, draw_conditions
from .point_spread import PointSpread
from .rendering import draw, point_image
from .scene import Frame, drawable, gnomonic, psf_in_pixels, truth_of
from .sky import SkyCatalogue, SkyDensity

_GALSIM_MAGNITUDE = 19.5
"""Galaxies brighter than this are drawn as true Sersic profiles."""


@dataclass(slots=True, eq=False)
class SimulatedPair:
    """Result of `simulate_pair`.

    Attributes
    ----------
    science, template
        Background-subtracted, nJy, with WCS, PSF and variance.
    truth : `~astropy.table.Table`
        As `truth_of`, with ``delta_flux`` (nJy) and ``snr``, the expected
        signal-to-noise ratio of the difference.
    frame
        Frame of the science image.
    sky : `SkyCatalogue`
    """

    science: Exposure
    template: Exposure
    truth: Table
    frame: Frame
    sky: SkyCatalogue


def simulate_pair(
    seed: int,
    shape: tuple[int, int] = (1000, 1000),
    seeing_science: float = 0.8,
    seeing_template: float = 0.7,
    density: float = 1.0,
    band: str = "r",
    exposure_time: float = 30.0,
    n_template: int = 4,
    pixel_arcsec: float = 0.2,
    transients: float = 1.0,
    saturation: float = 130_000.0,
    template_rotation: float | None = None,
    variation: float = 1.0,
) -> SimulatedPair:
    """Simulate a science image of LSSTCam's depth and a template coadd.

    Parameters
    ----------
    seed
        Random seed.
    shape
        Height and width, pixels.
    seeing_science, seeing_template
        FWHM, arcsec.
    density
        Factor on the number of stars and galaxies.
    band : `str`
    exposure_time
        Exposure time of the science image and of each exposure of the template, seconds.
    n_template
        Number of exposures in the template.
    pixel_arcsec
        Pixel scale.
    transients
        Factor on the number of transients and movers.
    saturation
        Electrons at which a pixel is ``SAT``; its value is limited to this.
    template_rotation
        `None` puts the template on the science image's grid. An angle
        (degrees) puts it on a larger grid, rotated by the angle and shifted
        by fractions of a pixel, for tests of warping.
    variation
        Factor on the PSFs' variation over the field.
    """
    rng = np.random.default_rng([seed, 1])
    base = SkyDensity()
    sky = SkyCatalogue(
        seed,
        SkyDensity(
            stars=base.stars * density,
            galaxies=base.galaxies * density,
            transients=base.transients * transients,
            movers=base.movers * transients,
        ),
    )
    ra, dec = 150.0 + rng.uniform(0, 5), 2.0 + rng.uniform(-3, 3)
    frame = Frame(tangent_wcs(shape, ra, dec, 30.0, pixel_arcsec), shape, (ra, dec))
    template_frame = frame
    if template_rotation is not None:
        side = int(np.ceil(np.hypot(*shape))) + 60
        wcs = tangent_wcs((side, side), ra, dec, 30.0 + template_rotation, pixel_arcsec)
        wcs.wcs.crpix += rng.uniform(-3, 3, 2)
        template_frame = Frame(wcs, (side, side), (ra, dec))

    def conditions(seeing: float) -> ObservingConditions:
        drawn = draw_conditions(rng, "LSSTCam", band, exposure_time, seeing)
        return replace(drawn, psf=PointSpread.draw(rng, seeing, variation))

    mjd = sky.epoch_mjd + 0.01
    truth = truth_of(sky, frame, band, mjd, exposure_time)
    science_conditions = conditions(seeing_science)
    science = expose(truth, frame, science_conditions, rng, saturation)
    science.visit_info = VisitInfo(
        instrument="LSSTCam",
        exposure=2025060900001,
        detector=94,
        physical_filter=band,
        band=band,
        mid_mjd_tai=mjd,
        exposure_time=exposure_time,
        boresight_ra=ra,
        boresight_dec=dec,
        rotation=30.0,
        airmass=science_conditions.airmass,
    )
    template_conditions = [conditions(seeing_template * f) for f in np.linspace(0.93, 1.07, n_template)]
    template = coadd(sky, template_frame, template_conditions, rng, saturation)
    per_njy = science_conditions.electrons_per_njy
    sky_level = science_conditions.sky_electrons(frame.pixel_arcsec)
    counts = science.image * np.float32(per_njy) + np.float32(sky_level)
    psf = known_psf([science_conditions.psf], frame)
    noise = TemplateNoise.of_coadd(float(np.nanmedian(template.variance)), template_conditions)
    add_expected_snr(truth, psf, counts, sky_level, 36.0, per_njy, noise)
    return SimulatedPair(science, template, truth, frame, sky)


def tangent_wcs(shape: tuple[int, int], ra: float, dec: float, rotation: float, pixel_arcsec: float) -> WCS:
    """Return a TAN projection about the image's centre, with east to the left for `rotation` 0 degrees."""
    wcs = WCS(naxis=2)
    angle = np.radians(rotation)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [(shape[1] + 1) / 2, (shape[0] + 1) / 2]
    wcs.wcs.cd = (
        pixel_arcsec / 3600 * np.array([[-np.cos(angle), np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    )
    wcs.wcs.set()
    return wcs


def expose(
    truth: Table,
    frame: Frame,
    conditions: ObservingConditions,
    rng: np.random.Generator,
    saturation: float = np.inf,
    read_noise: float = 6.0,
) -> Exposure:
    """Make a calibrated, sky-subtracted exposure of a table of sources.

    Parameters
    ----------
    truth : `~astropy.table.Table`
        Of `truth_of`.
    frame : `Frame`
    conditions : `ObservingConditions`
    rng
        Generator of photon and read noise.
    saturation, read_noise
        Electrons.

    Returns
    -------
    exposure
        Image in nJy; saturated pixels are ``SAT``.
    """
    per_njy = conditions.electrons_per_njy
    sky = np.float32(conditions.sky_electrons(frame.pixel_arcsec))
    image = np.zeros(frame.shape, np.float32)
    draw_scene(image, truth, frame, conditions)
    image += sky
    variance = image + np.float32(read_noise**2)
    image += np.sqrt(variance) * rng.standard_normal(image.shape, np.float32)
    saturated = image > saturation
    np.minimum(image, saturation, out=image)
    # As in a pipeline, the variance is estimated from the noisy counts.
    variance = np.maximum(image, sky / 4) + np.float32(read_noise**2)
    mask = np.where(saturated, np.int32(Mask.SAT), np.int32(0))
    image = (image - sky) / np.float32(per_njy)
    return Exposure(
        image,
        mask,
        variance / np.float32(per_njy**2),
        wcs=frame.wcs,
        psf=known_psf([conditions.psf], frame),
        photo_calib=PhotoCalib(),
    )


def coadd(
    sky: SkyCatalogue,
    frame: Frame,
    conditions: Sequence[ObservingConditions],
    rng: np.random.Generator,
    saturation: float = np.inf,
) -> Exposure:
    """Average exposures of the static sky, each with its own PSF and noise.

    Parameters
    ----------
    sky : `SkyCatalogue`
    frame
        Frame of the coadd; the exposures have the same pixels.
    conditions
        Conditions of each exposure, all of one band.
    rng : `~numpy.random.Generator`
    saturation
        Electrons; pixels above it in any exposure are ``SAT`` in the coadd.

    Returns
    -------
    coadd
        Coadd in nJy, with the mean of the exposures' PSFs.
    """
    truth = truth_of(sky, frame, conditions[0].band, None)
    image = np.zeros(frame.shape, np.float32)
    variance = np.zeros(frame.shape, np.float32)
    mask = np.zeros(frame.shape, np.int32)
    for each in conditions:
        exposure = expose(truth, frame, each, rng, saturation)
        image += exposure.image
        variance += exposure.variance
        mask |= exposure.mask
    count = len(conditions)
    return Exposure(
        image / np.float32(count),
        mask,
        variance / np.float32(count**2),
        wcs=frame.wcs,
        psf=known_psf([each.psf for each in conditions], frame),
        photo_calib=PhotoCalib(),
    )


def draw_scene(
    image: NDArray[np.float32], truth: Table, frame: Frame, conditions: ObservingConditions
) -> None:
    """Add a table's sources to an image in electrons; wings end well below the sky noise."""
    per_njy = conditions.electrons_per_njy
    sources = drawable(truth, frame, conditions.psf, per_njy)
    noise = np.sqrt(conditions.sky_electrons(frame.pixel_arcsec) + 20.0)
    draw(
        image,
        sources,
        0.01 * noise,
        galsim_flux=per_njy * 10 ** (-0.4 * (_GALSIM_MAGNITUDE - NJY_ZERO_POINT)),
    )


def known_psf(psfs: Sequence[PointSpread], frame: Frame, order: int = 2, size: int = 41) -> Psf:
    """Average known PSFs to the pixel model of an image.

    Parameters
    ----------
    psfs : sequence of `PointSpread`
    frame : `Frame`
    order
        Degree of the polynomial.
    size
        Odd width of the model, pixels.
    """
    height, width = frame.shape
    x, y = (grid.ravel() for grid in np.meshgrid(np.linspace(0, width - 1, 5), np.linspace(0, height - 1, 5)))
    ra, dec = frame.wcs.all_pix2world(x, y, 0)
    offsets = gnomonic(ra, dec, *frame.boresight)
    images = np.zeros((len(x), size, size))
    for psf in psfs:
        shape, coma = psf_in_pixels(psf, offsets, frame.pixels_per_arcsec())
        images += [point_image(s, c, size) for s, c in zip(shape, coma, strict=True)]
    images /= len(psfs)
    x_centre, y_centre, scale = (width - 1) / 2, (height - 1) / 2, max(height, width) / 2
    terms = polynomial_terms((x - x_centre) / scale, (y - y_centre) / scale, order)
    coefficients = np.linalg.lstsq(terms, images.reshape(len(x), -1), rcond=None)[0]
    return Psf(coefficients.reshape(-1, size, size).astype(np.float32), order, x_centre, y_centre, scale)


@dataclass(frozen=True, slots=True)
class TemplateNoise:
    """Expected noise of a template.

    Attributes
    ----------
    sky : `float`
        Variance per pixel away from sources, nJy squared.
    per_light : `float`
        Additional variance per light in a pixel, nJy: photons.
    """

    sky: float = 0.0
    per_light: float = 0.0

    @classmethod
    def of_coadd(cls, sky: float, conditions: Sequence[ObservingConditions]) -> TemplateNoise:
        """Return the noise of a coadd of exposures, given the variance of its sky."""
        photons = np.mean([1 / each.electrons_per_njy for each in conditions])
        return cls(sky, float(photons) / len(conditions))


NO_TEMPLATE = TemplateNoise()
"""Noise where there is no template."""


def add_expected_snr(
    truth: Table,
    psf: Psf,
    electrons: NDArray[np.float32],
    sky_electrons: float,
    read_variance: float,
    per_njy: float,
    template: TemplateNoise,
) -> None:
    """Add ``delta_flux`` (nJy) and its expected ``snr`` in the difference.

    Parameters
    ----------
    truth : `~astropy.table.Table`
        Changed in place.
    psf
        Of the science image.
    electrons : `~numpy.ndarray` of float32, shape (height, width)
        Expected counts, including the sky.
    sky_electrons
        Expected counts of the sky alone.
    read_variance
        Electrons squared.
    per_njy
        Electrons in 1 nJy.
    template
        Noise of the template.

    Notes
    -----
    The error is that of the best fit of the PSF to pixels with the noise of both images: sky, electronics and
    the photons of all light there, that of the source included.
    """
    truth["delta_flux"] = truth["flux"] - truth["template_flux"]
    truth["snr"] = 0.0
    height, width = electrons.shape
    area = psf.effective_area_at((width - 1) / 2, (height - 1) / 2)
    half = psf.size // 2
    floor = read_variance + template.sky * per_njy**2
    for row in np.flatnonzero(truth["delta_flux"] != 0):
        x, y = round(float(truth["x"][row])), round(float(truth["y"][row]))
        if not (0 <= x < width and 0 <= y < height):
            continue
        change = float(truth["delta_flux"][row]) * per_njy
        trail = float(np.hypot(truth["trail_x"][row], truth["trail_y"][row]))
        left, right, low, high = (
            min(half, x),
            min(half, width - 1 - x),
            min(half, y),
            min(half, height - 1 - y),
        )
        stamp = psf.image_at(x, y)[half - low : half + high + 1, half - left : half + right + 1]
        counts = electrons[y - low : y + high + 1, x - left : x + right + 1]
        # A trail covers its length times the width of the PSF, and its light is as diluted.
        spread = 1 + trail / np.sqrt(area)
        before = np.maximum(counts - sky_electrons - change / spread * stamp, 0.0)
        variance = counts + floor + template.per_light * per_njy * before
        truth["snr"][row] = change * np.sqrt(np.sum(stamp.astype(float) ** 2 / variance) / spread)
