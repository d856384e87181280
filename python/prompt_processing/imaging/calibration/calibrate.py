"""Turn electrons into a background-subtracted image in nJy with PSF, WCS and a star catalogue."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import sep
from astropy.table import Table
from astropy.wcs import WCS
from numpy.typing import NDArray

from prompt_processing.images import UNUSABLE, Background, Exposure, Mask, PhotoCalib
from prompt_processing.images.photo_calib import NJY_ZERO_POINT
from prompt_processing.imaging.errors import NoReferenceStarsError, TooManyCosmicRaysError
from prompt_processing.imaging.isr.cosmic_rays import CosmicRayOptions, find_cosmic_rays
from prompt_processing.imaging.isr.snaps import combine_snaps
from prompt_processing.imaging.row_bands import (
    in_bands,
    pixels_with,
    scale_plane,
)

from .astrometry import AstrometricFit, AstrometryOptions, fit_wcs
from .background import SkyEstimate, estimate_sky
from .changes import Changes
from .detection import Detections, detect
from .photometry import PhotometryOptions, ZeroPoint, fit_zero_point
from .psf.model import PsfModel, PsfOptions, model_psf
from .star_catalogue import StarMeasurements, measure_stars, star_table
from .star_selection import StarCandidates, select_stars

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CalibrateOptions:
    """All thresholds of the calibration.

    Attributes
    ----------
    background_box : `int`
        Width of the background's mesh, pixels; at least 32 times the guessed
        seeing, so that stars remain small compared with a box.
    seeing_guess_arcsec : `float`
        FWHM of the first detection's kernel.
    detection_threshold : `float`
        Least significance of a filtered pixel.
    star_snr : `float`
        Lowest signal-to-noise ratio of PSF candidates.
    max_sources : `int`
        Maximum number of sources to measure, brightest first.
    astrometry_snr : `float`
        Lowest signal-to-noise ratio of stars in the astrometric fit.
    psf, astrometry, photometry
        Options of those steps.
    cosmic_rays : `CosmicRayOptions` or `None`
        Options of the second search, with the PSF known; `None` skips it.
    """

    background_box: int = 128
    seeing_guess_arcsec: float = 0.8
    detection_threshold: float = 5.0
    star_snr: float = 40.0
    max_sources: int = 20_000
    astrometry_snr: float = 12.0
    psf: PsfOptions = field(default_factory=PsfOptions)
    astrometry: AstrometryOptions = field(default_factory=AstrometryOptions)
    photometry: PhotometryOptions = field(default_factory=PhotometryOptions)
    cosmic_rays: CosmicRayOptions | None = field(default_factory=lambda: CosmicRayOptions(sharpness=0.85))


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """A calibrated image with its catalogue and intermediate results.

    Attributes
    ----------
    exposure : `Exposure`
        Background-subtracted, nJy, with PSF, WCS and ``DETECTED``.
    stars : `~astropy.table.Table`
        Sources, one row each; see `star_catalogue.star_table`.
    background : `Background`
        The subtracted background, nJy.
    photo_calib : `PhotoCalib`
        Calibration from electrons to nJy.
    summary : `dict` [`str`, `float` or `int`]
        Quality of the image; names carry the units.
    """

    exposure: Exposure
    stars: Table
    background: Background
    photo_calib: PhotoCalib
    summary: dict[str, float | int]


def calibrate_image(
    exposures: Sequence[Exposure],
    reference: Table,
    band: str,
    predicted_wcs: WCS | None = None,
    options: CalibrateOptions | None = None,
) -> Calibration:
    """Calibrate a visit's image of one detector.

    Parameters
    ----------
    exposures : sequence of `Exposure`
        One or two snaps in electrons, without instrument signature. They are
        not modified, except that the planes of a single snap become those of the
        calibrated image if its `~Exposure.loan` permits that.
    reference : `~astropy.table.Table`
        Stars: ``id``, ``ra``, ``dec`` (ICRS degrees), ``<band>_flux``,
        ``<band>_fluxErr`` (nJy).
    band : `str`
        Band whose fluxes set the zero point.
    predicted_wcs : `~astropy.wcs.WCS`, optional
        WCS from pointing and camera; by default that of the first exposure.
    options : `CalibrateOptions`, optional

    Returns
    -------
    calibration : `Calibration`

    Raises
    ------
    NumericalError
        Raised as one of the types in `errors`, with the numbers that explain it.
    ValueError
        Raised if there is no predicted WCS, or no exposure.
    """
    options = options or CalibrateOptions()
    exposure, changes = _modifiable(exposures)
    predicted = predicted_wcs or exposure.wcs
    if predicted is None:
        raise ValueError("The image has no WCS to start from.")
    stars_of_band = reference_of_band(reference, band)
    background, sky, detections, candidates = _find_sources(exposure, predicted, options, changes)
    model = model_psf(
        exposure, candidates.x, candidates.y, candidates.flux, candidates.fwhm,
        detections.segmentation, (candidates.rows + 1).astype(np.int32), options.psf,
    )  # fmt: skip
    exposure.psf = model.psf
    n_cosmic = 0
    if options.cosmic_rays is not None:
        try:
            n_cosmic = find_cosmic_rays(
                exposure, options.cosmic_rays, sky=0.0, before_repair=changes.note_pixels
            )
        except TooManyCosmicRaysError as error:
            _LOG.warning("No more cosmic rays marked: %s", error)
    psf_rows = candidates.rows[model.used]
    sources = measure_stars(exposure, detections, psf_rows, model.fwhm, options.max_sources)
    astrometry = _solve_astrometry(sources, stars_of_band, predicted, exposure.shape, options)
    exposure.wcs = astrometry.wcs
    zero_point, photometry_used = _solve_photometry(sources, astrometry, stars_of_band, options)
    factor = zero_point.photo_calib.njy_per_unit
    stars = star_table(
        sources, exposure, factor, astrometry, np.asarray(stars_of_band["id"]), photometry_used
    )
    _mark_detected(exposure, detections)
    summary = _summary(exposure, sky, model, sources, astrometry, zero_point, n_cosmic, len(exposures))
    scale_plane(exposure.image, factor)
    scale_plane(exposure.variance, factor**2)
    changes.note_factors(factor, factor**2)
    exposure.photo_calib = PhotoCalib(1.0, zero_point.photo_calib.njy_per_unit_err / factor)
    exposure.metadata.update({"BUNIT": "nJy", **summary})
    scaled = replace(background, values=(background.values * factor).astype(np.float32))
    return Calibration(exposure, stars, scaled, zero_point.photo_calib, summary)


def reference_of_band(reference: Table, band: str) -> Table:
    """Return id, ra, dec, flux and fluxErr of the reference stars with a flux in a band.

    Raises
    ------
    NoReferenceStarsError
        Raised if no star has one.
    """
    column = f"{band}_flux"
    if len(reference) == 0 or column not in reference.colnames:
        raise NoReferenceStarsError(
            f"The reference catalogue has no stars with {column}", stars=len(reference), band=band
        )
    flux = np.asarray(reference[column], float)
    known = np.isfinite(flux) & (flux > 0)
    if not known.any():
        raise NoReferenceStarsError(f"No reference star has a {column}", stars=len(reference), band=band)
    error_column = f"{column}Err"
    error = np.asarray(reference[error_column], float) if error_column in reference.colnames else 0 * flux
    return Table(
        {
            "id": np.asarray(reference["id"])[known],
            "ra": np.asarray(reference["ra"], float)[known],
            "dec": np.asarray(reference["dec"], float)[known],
            "flux": flux[known],
            "fluxErr": error[known],
        }
    )


def _modifiable(exposures: Sequence[Exposure]) -> tuple[Exposure, Changes]:
    """Return the average of the snaps, and the record of its changes."""
    first = exposures[0] if len(exposures) == 1 else None
    if first is None or first.loan is None or first.is_modified:
        combined = combine_snaps([exposure.original() for exposure in exposures])
        return combined, Changes(combined)
    changes = Changes(first)
    first.loan.restore = changes.undone
    return Exposure(
        first.image, first.mask, first.variance, first.wcs,
        visit_info=first.visit_info, metadata=dict(first.metadata),
    ), changes  # fmt: skip


def _find_sources(
    exposure: Exposure, predicted: WCS, options: CalibrateOptions, changes: Changes
) -> tuple[Background, SkyEstimate, Detections, StarCandidates]:
    """Subtract the background in two passes, detect, and choose stars; the image is modified."""
    unusable = pixels_with(exposure.mask, int(UNUSABLE))
    scale = float(np.sqrt(abs(np.linalg.det(predicted.pixel_scale_matrix)))) * 3600
    fwhm = options.seeing_guess_arcsec / scale
    box = max(options.background_box, round(32 * fwhm))
    first = estimate_sky(exposure.image, unusable, box)
    changes.subtract(first.background)
    # Cores of saturated stars are kept: a ring would be detected as several sources.
    hidden = pixels_with(exposure.mask, int(Mask.BAD | Mask.NO_DATA), none=int(Mask.INTRP))
    detections = detect(exposure.image, first.rms, fwhm, options.detection_threshold, hidden)
    candidates = select_stars(exposure, detections, options.star_snr)
    covered = unusable
    # An ellipse around a stripe along a row would cover the whole image: only its pixels are covered.
    vast = detections.catalogue["a"] > box
    if vast.any():
        covered |= np.isin(detections.segmentation, np.flatnonzero(vast) + 1)
    catalogue = detections.catalogue[~vast]
    sep.mask_ellipse(
        covered, catalogue["x"], catalogue["y"],
        np.maximum(catalogue["a"], candidates.fwhm / 2), np.maximum(catalogue["b"], candidates.fwhm / 2),
        catalogue["theta"], r=4.0,
    )  # fmt: skip
    second = estimate_sky(exposure.image, covered, box)
    changes.subtract(second.background)
    total = replace(first.background, values=first.background.values + second.background.values)
    sky = replace(second, background=total, level=first.level + second.level)
    return total, sky, detections, candidates


def _solve_astrometry(
    sources: StarMeasurements,
    reference: Table,
    predicted: WCS,
    shape: tuple[int, int],
    options: CalibrateOptions,
) -> AstrometricFit:
    fits = sources.fits
    flux = np.where(np.isfinite(fits.flux), fits.flux, 0.0)
    # Saturated stars, as the brightest, help to find the offset but are excluded from the fit.
    trusted = fits.moved & ~sources.has(Mask.SAT | Mask.EDGE) & (sources.snr > options.astrometry_snr)
    error = np.where(trusted, np.hypot(fits.x_err, fits.y_err) / np.sqrt(2), np.inf)
    bright = np.maximum(flux, np.where(sources.has(Mask.SAT), sources.detection_flux, 0.0))
    return fit_wcs(
        fits.x, fits.y, bright, error,
        reference["ra"].data, reference["dec"].data, reference["flux"].data, predicted, shape,
        options.astrometry,
    )  # fmt: skip


def _solve_photometry(
    sources: StarMeasurements, astrometry: AstrometricFit, reference: Table, options: CalibrateOptions
) -> tuple[ZeroPoint, NDArray[np.bool_]]:
    """Return the zero point and the sources it is based on."""
    rows, partners = astrometry.source, astrometry.reference
    clean = ~sources.has(Mask.SAT | Mask.EDGE | Mask.BAD | Mask.CR | Mask.NO_DATA)
    usable = clean[rows] & (sources.extendedness[rows] < 0.5) & sources.fits.moved[rows]
    zero_point = fit_zero_point(
        sources.fits.flux[rows], sources.fits.flux_err[rows],
        reference["flux"].data[partners], reference["fluxErr"].data[partners], usable, options.photometry,
    )  # fmt: skip
    used = np.zeros(len(sources), np.bool_)
    used[rows[zero_point.used]] = True
    return zero_point, used


def _mark_detected(exposure: Exposure, detections: Detections) -> None:
    detected = np.int32(int(Mask.DETECTED))

    def mark(start: int, stop: int) -> None:
        band = exposure.mask[start:stop]
        np.bitwise_or(band, detected, out=band, where=detections.segmentation[start:stop] > 0)

    in_bands(mark, exposure.shape[0])


def _summary(
    exposure: Exposure,
    sky: SkyEstimate,
    model: PsfModel,
    sources: StarMeasurements,
    astrometry: AstrometricFit,
    zero_point: ZeroPoint,
    n_cosmic: int,
    n_snaps: int,
) -> dict[str, float | int]:
    scale = float(np.sqrt(abs(np.linalg.det(astrometry.wcs.pixel_scale_matrix)))) * 3600
    factor = zero_point.photo_calib.njy_per_unit
    height, width = exposure.shape
    area = model.psf.effective_area_at((width - 1) / 2, (height - 1) / 2)
    depth = 5 * sky.noise * np.sqrt(area) * factor
    return {
        "seeing_fwhm_arcsec": model.fwhm * scale,
        "psf_fwhm_pixels": model.fwhm,
        "psf_ellipticity": model.ellipticity,
        "psf_order": model.psf.order,
        "n_psf_stars": int(model.used.sum()),
        "zero_point_mag": zero_point.magnitude,
        "zero_point_err_mag": zero_point.error,
        "zero_point_scatter_mag": zero_point.scatter,
        "n_photometry_stars": int(zero_point.used.sum()),
        "background_electrons": sky.level,
        "background_noise_electrons": sky.noise,
        "limiting_magnitude_5sigma": float(NJY_ZERO_POINT - 2.5 * np.log10(depth)),
        "astrometric_rms_mas": astrometry.rms_mas,
        "n_astrometry_stars": int(astrometry.used.sum()),
        "pointing_offset_arcsec": astrometry.offset_arcsec,
        "rotation_offset_deg": float(astrometry.rotation_deg),
        "pixel_scale_arcsec": scale,
        "n_sources": len(sources),
        "n_cosmic_ray_pixels": n_cosmic,
        "n_snaps": n_snaps,
    }
