"""Bring the template onto the science image's pixels and flux scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sep
from astropy.table import Table
from astropy.wcs import WCS
from numpy.typing import NDArray

from prompt_processing.imaging.calibration.astrometry import AstrometricFit, AstrometryOptions, fit_wcs
from prompt_processing.imaging.errors import AstrometryError, NoTemplateOverlapError, NumericalError
from prompt_processing.imaging.templates.warp import WarpOptions, warp_template

from ..images import Exposure, PhotoCalib
from ..images.robust import robust_scatter
from .common_stars import FAR_PIXELS, few_common_stars, pattern_frames, pixel_wcs
from .errors import DifferenceError, NoOverlapError, NotAlignedError
from .flux_surface import FluxSurface, fit_flux_surface
from .hits import ToOther, mark_hits
from .overlap import common_data, overlap, share_a_grid
from .prepare import PreparedImage

ALIGNED_PIXELS = 0.25
"""Images on one grid whose stars coincide this well are not resampled: the kernel absorbs the shift."""

MIN_STARS = 6
"""Minimum number of common stars that constrains the alignment."""

SPARSE = 40
"""Number of sources below which a few stars may align images that have too few for a solution ..."""
AGREEING_SPARSE = 4
"""... if this many agree on a shift."""

MIN_SNR = 10.0
"""Least signal-to-noise ratio of the compared stars."""

MAX_OFFSET_PIXELS = 60.0
"""Largest error of the two WCS, or of the alignment."""

MIN_STEADY = 20
"""With fewer stars of unchanged flux, all stars are used to match the PSFs."""

RATIO_SCATTER = 0.02
"""Relative error of an aperture's flux beyond noise, from neighbours."""

MAX_RATIO_STARS = 300
"""Number of brightest common stars used for the flux ratio."""


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """The template on the science image's pixels, with the quality of the alignment.

    Attributes
    ----------
    template : `~prompt_processing.images.Exposure`
        On the science image's pixels and flux scale.
    offset : `float`
        Distance between predicted and measured positions of the template's stars, pixels.
    rms : `float`
        Residual of that after the fit, pixels; NaN with too few stars.
    common_stars : `int`
        Number of stars in both images.
    flux_ratio : `float`
        Factor by which the template was multiplied.
    surface : `FluxSurface` or `None`
        Variation of this factor over the image, if there is any.
    warped : `bool`
        Whether it was resampled.
    coverage : `float`
        Fraction of the science image that the template covers.
    stars : `~astropy.table.Table`
        Sources of the science image that the template also shows; all sources if that is unknown.
    pairs : `tuple` of `~astropy.table.Table` or `None`
        Rows of the science image's and of the template's ``stars`` that belong together, whether their flux
        is steady or not; `None` if that is unknown.
    """

    template: Exposure
    offset: float
    rms: float
    common_stars: int
    flux_ratio: float
    warped: bool
    coverage: float
    stars: Table
    surface: FluxSurface | None = None
    pairs: tuple[Table, Table] | None = None


def register(
    science: PreparedImage, template: PreparedImage, align: bool = True, cosmic_rays: bool = True
) -> Registration:
    """Register a template on a science image.

    Parameters
    ----------
    science, template : `PreparedImage`
        The images; both have a WCS on the sky, or neither has, and then their pixels are the same.
    align : `bool`
        Whether to correct the headers with the stars common to both images.
    cosmic_rays : `bool`
        Whether to compare both images for hits that one image alone does not reveal.

    Raises
    ------
    NoOverlapError
        Raised if the images show different parts of the sky.
    NotAlignedError
        Raised if their stars do not coincide, or one lacks a WCS and the shapes differ.
    """
    science_wcs, template_wcs, fit = _align(science, template, align)
    same_grid = share_a_grid(science.exposure.shape, template.exposure.shape, science_wcs, template_wcs)
    offset, rms, common, ratio, stars = 0.0, float("nan"), 0, 1.0, science.stars
    surface, pairs = None, None
    if fit is None and align:
        # Without a solution where both images have stars enough for one, chance must be excluded.
        chance = min(_stars(science), _stars(template)) >= 2 * MIN_STARS
        few = few_common_stars(science, template, science_wcs, template_wcs, AGREEING_SPARSE if chance else 1)
        if few is None and chance:
            raise NotAlignedError(_apart_stars(science, template, "Too few stars are common to both"))
        if few is not None:
            science_wcs, offset, common, ratio = few.wcs, few.offset, few.stars, few.flux_ratio
            same_grid = same_grid and offset < ALIGNED_PIXELS
        elif min(_stars(science), _stars(template)) > 0 and None in (
            science.exposure.wcs,
            template.exposure.wcs,
        ):
            raise NotAlignedError(
                f"No star of {science.name} is in {template.name}, within the {FAR_PIXELS:.0f} pixels by "
                "which they may be misaligned. If they are aligned, --no-align trusts them."
            )
    if fit is not None:
        stars, others = (i.stars[np.asarray(i.stars["snr"]) > MIN_SNR] for i in (science, template))
        pairs = stars, _ = stars[fit.source], others[fit.reference]
        pixel, other = (_pixel_arcsec(wcs) for wcs in (science_wcs, template_wcs))
        offset, rms = fit.offset_arcsec / pixel, fit.rms_mas / 1000 / pixel
        common = int(fit.used.sum())
        ratio, steady, surface = _flux_ratio(science, template, fit, pixel / other)
        if steady.sum() >= MIN_STEADY:
            stars = stars[steady]
    if cosmic_rays:
        _mark_hits(science, template, science_wcs if fit is None else fit.wcs, template_wcs, ratio)
    if same_grid and _coincide(fit, science_wcs, science.exposure.shape):
        moved = template.exposure
        placed = Exposure(
            moved.image * np.float32(ratio),
            moved.mask,
            moved.variance * np.float32(ratio**2),
            science.exposure.wcs,
            moved.psf,
        )
        if surface is not None:
            surface.scale(placed)
        return Registration(placed, offset, rms, common, ratio, False, 1.0, stars, surface, pairs)
    patch = template.exposure
    patch.wcs, patch.photo_calib = template_wcs, PhotoCalib(ratio)
    size = 2 * int(np.clip(np.ceil(4 * max(science.fwhm, template.fwhm)), 17, 30)) + 1
    try:
        warped = warp_template(
            [patch],
            science_wcs if fit is None else fit.wcs,
            science.exposure.shape,
            WarpOptions(psf_size=size),
        )
    except NoTemplateOverlapError as error:
        raise NoOverlapError(_apart(science, template, science_wcs, template_wcs)) from error
    except NumericalError as error:
        raise DifferenceError(f"{template.name}: {error}") from error
    warped.wcs, warped.photo_calib = science.exposure.wcs, None
    if surface is not None:
        surface.scale(warped)
    coverage = float(warped.metadata["COVERAGE"])
    return Registration(warped, offset, rms, common, ratio, True, coverage, stars, surface, pairs)


def _align(
    science: PreparedImage, template: PreparedImage, align: bool
) -> tuple[WCS, WCS, AstrometricFit | None]:
    """Return a WCS of each image on a common sky, and the fit of their stars.

    The WCS come from the headers or, if one has none, from the star patterns.
    """
    shapes = science.exposure.shape, template.exposure.shape
    if science.exposure.wcs is None or template.exposure.wcs is None:
        # Before any alignment is trusted: a few stars coincide by chance under any shift.
        found = pattern_frames(science, template, MAX_OFFSET_PIXELS) if align else None
        if found is not None:
            return *found, _fit(science, template, *found)
        if shapes[0] != shapes[1]:
            lacking = " and ".join(i.name for i in (science, template) if i.exposure.wcs is None)
            raise NotAlignedError(
                f"No WCS on the sky in {lacking}, the images differ in shape ({shapes[0]} and {shapes[1]}), "
                "and their stars have no common pattern."
            )
    first, second = _common_frame(science, template)
    if overlap(first, second, *shapes) == 0:
        raise NoOverlapError(_apart(science, template, first, second))
    if not common_data(science.exposure, template.exposure, first, second):
        raise NoOverlapError(
            f"No part of the sky has data in both images: where {science.name} has pixels, "
            f"{template.name} has none."
        )
    return first, second, _fit(science, template, first, second) if align else None


def _stars(image: PreparedImage) -> int:
    return int(np.count_nonzero(np.asarray(image.stars["snr"]) > MIN_SNR)) if len(image.stars) else 0


def _apart_stars(science: PreparedImage, template: PreparedImage, reason: str) -> str:
    return (
        f"The stars of {science.name} and {template.name} do not coincide within "
        f"{MAX_OFFSET_PIXELS:.0f} pixels; are both of the same field, and is the WCS right? {reason}. "
        "If it is wrong, --ignore-wcs aligns the images by the pattern of their stars."
    )


def _mark_hits(
    science: PreparedImage, template: PreparedImage, science_wcs: WCS, template_wcs: WCS, ratio: float
) -> None:
    """Mark features that only one image has and that are sharper than its PSF."""
    # Converts fluxes to a star's highest pixel.
    scale = ratio * (template.fwhm / science.fwhm) ** 2

    def to(one: WCS, other: WCS) -> ToOther:
        return lambda x, y: tuple(other.all_world2pix(*one.all_pix2world(x, y, 0), 0, quiet=True))

    mark_hits(science, template, to(science_wcs, template_wcs), scale)
    mark_hits(template, science, to(template_wcs, science_wcs), 1 / scale)


def _common_frame(science: PreparedImage, template: PreparedImage) -> tuple[WCS, WCS]:
    """Return the WCS of each; if one is missing, a shared one of one arcsecond per pixel."""
    first, second = science.exposure.wcs, template.exposure.wcs
    if first is not None and second is not None:
        return first, second
    plain = pixel_wcs(science.exposure.shape)
    return plain, plain.deepcopy()


def _pixel_arcsec(wcs: WCS) -> float:
    return float(np.sqrt(abs(np.linalg.det(wcs.pixel_scale_matrix)))) * 3600


def _apart(science: PreparedImage, template: PreparedImage, first: WCS, second: WCS) -> str:
    centres = []
    for image, wcs in ((science, first), (template, second)):
        height, width = image.exposure.shape
        ra, dec = wcs.all_pix2world((width - 1) / 2, (height - 1) / 2, 0)
        centres.append(f"{image.name} is centred on RA {float(ra):.5f}, Dec {float(dec):.5f}")
    return f"The images do not overlap: {centres[0]}, {centres[1]} (degrees)."


def _fit(
    science: PreparedImage, template: PreparedImage, science_wcs: WCS, template_wcs: WCS
) -> AstrometricFit | None:
    """Solve the science image's WCS with the template's stars as the catalogue."""
    stars, others = (i.stars[np.asarray(i.stars["snr"]) > MIN_SNR] for i in (science, template))
    if min(len(stars), len(others)) < 2 * MIN_STARS:
        return None
    ra, dec = template_wcs.all_pix2world(np.asarray(others["x"]), np.asarray(others["y"]), 0)
    pixel = _pixel_arcsec(science_wcs)
    error = np.where(stars["clean"], np.asarray(stars["xErr"], float), np.inf)
    options = AstrometryOptions(
        max_offset_arcsec=MAX_OFFSET_PIXELS * pixel,
        # Images that are further apart are aligned by their stars before.
        by_patterns=False,
        min_matches=MIN_STARS,
        matches_per_term=10,
        floor_mas=20 * pixel,
        max_rms_mas=700 * pixel,
    )
    try:
        return fit_wcs(
            np.asarray(stars["x"], float),
            np.asarray(stars["y"], float),
            np.asarray(stars["psfFlux"], float),
            error,
            np.asarray(ra),
            np.asarray(dec),
            np.asarray(others["psfFlux"], float),
            science_wcs,
            science.exposure.shape,
            options,
        )
    except AstrometryError as error_:
        if min(len(stars), len(others)) < SPARSE:
            # Cosmic rays may outnumber the stars.
            return None
        raise NotAlignedError(_apart_stars(science, template, str(error_))) from error_


def _coincide(fit: AstrometricFit | None, said: WCS, shape: tuple[int, int]) -> bool:
    """Return whether the stars lie where the headers place them, as far as the fit shows."""
    if fit is None:
        return True
    y, x = (a.ravel() for a in np.mgrid[0 : shape[0] - 1 : 9j, 0 : shape[1] - 1 : 9j])
    is_x, is_y = said.all_world2pix(*fit.wcs.all_pix2world(x, y, 0), 0, quiet=True)
    return bool(np.hypot(is_x - x, is_y - y).max() < ALIGNED_PIXELS)


def _flux_ratio(
    science: PreparedImage, template: PreparedImage, fit: AstrometricFit, pixels_ratio: float
) -> tuple[float, NDArray[np.bool_], FluxSurface | None]:
    """Return the commonest flux ratio of the common stars, the stars consistent with it, and its variation.

    Fluxes are those of apertures that contain the wings: the ratio of PSF fluxes would include that of
    the two models' wings.
    """
    stars, others = (i.stars[np.asarray(i.stars["snr"]) > MIN_SNR] for i in (science, template))
    rows, partners = stars[fit.source], others[fit.reference]
    radius = 2.0 * max(science.fwhm, template.fwhm / pixels_ratio)
    fluxes, errors = [], []
    for image, table, size in ((science, rows, radius), (template, partners, radius * pixels_ratio)):
        x, y = (np.asarray(table[name], float) for name in ("x", "y"))
        flux, _, _ = sep.sum_circle(image.exposure.image, x, y, size, subpix=5)
        fluxes.append(np.asarray(flux, float))
        errors.append(image.noise * size * np.sqrt(np.pi))
    clean: NDArray[np.bool_] = np.asarray(rows["clean"], bool) & np.asarray(partners["clean"], bool)
    clean &= (fluxes[0] > 0) & (fluxes[1] > 0)
    if not clean.any():
        return 1.0, np.ones(len(rows), np.bool_), None
    ratios = np.log(np.where(clean, fluxes[0], 1.0) / np.where(clean, fluxes[1], 1.0))
    error = np.hypot(errors[0] / np.where(clean, fluxes[0], 1.0), errors[1] / np.where(clean, fluxes[1], 1.0))
    error = np.hypot(error, RATIO_SCATTER)
    best = np.flatnonzero(clean)[:MAX_RATIO_STARS]
    surface = _flux_surface(rows, partners, clean, science.exposure.shape)
    if surface is not None:
        level = ratios - surface.logarithm_at(*(np.asarray(rows[name], float) for name in ("x", "y")))
        brightest = best[: max(len(best) // 2, 1)]
        # PSF fluxes also vary where a PSF does that its model does not follow; those of apertures do not.
        if robust_scatter(level[brightest]) < robust_scatter(ratios[brightest]):
            ratios = level
        else:
            surface = None
    middle = _mode(ratios[best])
    for _ in range(5):
        near = best[np.abs(ratios[best] - middle) < 2.5 * error[best]]
        if near.size:
            middle = float(np.average(ratios[near], weights=error[near] ** -2))
    # Sources that changed between the images do not constrain the PSFs.
    return float(np.exp(middle)), ~clean | (np.abs(ratios - middle) < 4 * error), surface


def _flux_surface(
    stars: Table, partners: Table, clean: NDArray[np.bool_], shape: tuple[int, int]
) -> FluxSurface | None:
    """Return how the ratio of PSF fluxes varies, which neighbours change less than that of apertures."""
    fluxes = [np.asarray(table["psfFlux"], float) for table in (stars, partners)]
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = np.log(fluxes[0] / fluxes[1])
    error = np.hypot(1 / np.asarray(stars["snr"], float), 1 / np.asarray(partners["snr"], float))
    used = np.flatnonzero(clean & np.isfinite(ratios))[:MAX_RATIO_STARS]
    x, y = (np.asarray(stars[name], float)[used] for name in ("x", "y"))
    return fit_flux_surface(x, y, ratios[used], np.hypot(error[used], RATIO_SCATTER), shape)


def _mode(values: NDArray[np.float64]) -> float:
    """Return the half-sample mode (Bickel 2002): the shortest interval with half the values, repeatedly."""
    window = np.sort(values)
    while len(window) > 8:
        n = len(window) // 2
        start = int(np.argmin(window[n:] - window[: len(window) - n]))
        window = window[start : start + n + 1]
    return float(np.median(window))
