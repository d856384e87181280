"""Measure the sources of an image and write them as a table."""

from __future__ import annotations

from dataclasses import dataclass

import astropy.units as u
import numpy as np
import sep
from astropy.table import Table
from numpy.typing import NDArray

from prompt_processing.domain.ids import pack_ids
from prompt_processing.images import Exposure, Mask
from prompt_processing.images.robust import MAD_TO_SIGMA

from .astrometry import AstrometricFit
from .detection import Detections
from .measurement import PsfFits, fit_psf

APERTURE_IN_FWHM = 2.0
"""Radius of the catalogue's aperture fluxes, FWHM."""

SHAPE_APERTURE_IN_FWHM = 1.25
"""Radius of the aperture that separates galaxies from stars, FWHM."""


@dataclass(frozen=True, slots=True, eq=False)
class StarMeasurements:
    """Measured sources, in electrons.

    Attributes
    ----------
    fits : `PsfFits`
        Positions and PSF fluxes.
    aperture_flux, aperture_flux_err : `~numpy.ndarray`, shape (n,)
        Aperture flux within `APERTURE_IN_FWHM`.
    detection_flux : `~numpy.ndarray`, shape (n,)
        Isophotal flux.
    extendedness : `~numpy.ndarray`, shape (n,)
        1 for sources significantly wider than the PSF, else 0.
    psf_used : `~numpy.ndarray` of bool, shape (n,)
        Whether the source is part of the PSF model.
    """

    fits: PsfFits
    aperture_flux: NDArray[np.float64]
    aperture_flux_err: NDArray[np.float64]
    detection_flux: NDArray[np.float64]
    extendedness: NDArray[np.float64]
    psf_used: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.detection_flux)

    @property
    def snr(self) -> NDArray[np.float64]:
        """PSF flux over its error; 0 where the flux is missing."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.nan_to_num(self.fits.flux / self.fits.flux_err, nan=0.0, posinf=0.0, neginf=0.0)

    def has(self, planes: Mask) -> NDArray[np.bool_]:
        """Return which sources have a pixel of any of the planes within the fit."""
        return np.asarray((self.fits.planes & int(planes)) != 0)


def measure_stars(
    exposure: Exposure,
    detections: Detections,
    psf_rows: NDArray[np.intp],
    fwhm: float,
    max_sources: int,
) -> StarMeasurements:
    """Measure detections as point sources.

    Parameters
    ----------
    exposure : `Exposure`
        Background-subtracted electrons, with a PSF.
    detections : `Detections`
        Detections on that image.
    psf_rows : `~numpy.ndarray` of int
        Rows of the detections that made the PSF model.
    fwhm : `float`
        FWHM of the PSF, pixels.
    max_sources : `int`
        Maximum number of sources to measure, brightest first.

    Returns
    -------
    stars : `StarMeasurements`
        Measurements, brightest first.
    """
    order = np.argsort(-detections.flux)[:max_sources]
    catalogue = detections.catalogue[order]
    fits = fit_psf(exposure, catalogue["x"], catalogue["y"])
    apertures = []
    for radius in (APERTURE_IN_FWHM, SHAPE_APERTURE_IN_FWHM):
        flux, error, _ = sep.sum_circle(
            exposure.image, fits.x, fits.y, radius * fwhm, var=exposure.variance, subpix=5
        )
        apertures.append((flux, error))
    psf_used = np.isin(order, psf_rows)
    return StarMeasurements(
        fits,
        *apertures[0],
        detections.flux[order],
        _extendedness(fits, *apertures[1], psf_used),
        psf_used,
    )


def _extendedness(
    fits: PsfFits,
    aperture_flux: NDArray[np.float64],
    aperture_err: NDArray[np.float64],
    psf_used: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Compare the ratio of aperture and PSF flux with that of the PSF's own stars."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = aperture_flux / fits.flux
        noise = aperture_err / np.abs(fits.flux)
    stars = psf_used & np.isfinite(ratio)
    if not stars.any():
        return np.zeros(len(ratio))
    normal = float(np.median(ratio[stars]))
    spread = MAD_TO_SIGMA * float(np.median(np.abs(ratio[stars] - normal)))
    limit = np.maximum(np.maximum(0.05 * normal, 4 * spread), 3 * np.nan_to_num(noise, nan=np.inf))
    return np.where(ratio - normal > limit, 1.0, 0.0)


def star_table(
    sources: StarMeasurements,
    exposure: Exposure,
    njy_per_electron: float,
    astrometry: AstrometricFit,
    reference_ids: NDArray[np.int64],
    photometry_used: NDArray[np.bool_],
) -> Table:
    """Write the sources as ``single_visit_star``.

    Parameters
    ----------
    sources : `StarMeasurements`
        Electrons.
    exposure : `Exposure`
        Exposure with the final WCS.
    njy_per_electron : `float`
        Flux scale.
    astrometry : `AstrometricFit`
        Matches to reference stars.
    reference_ids : `~numpy.ndarray`
        Ids of the reference stars.
    photometry_used : `~numpy.ndarray` of bool, shape (n,)
        Sources in the zero point.

    Returns
    -------
    stars : `~astropy.table.Table`
        ``id, x, y, xErr, yErr`` (pixels), ``ra, dec`` (ICRS degrees), ``psfFlux, psfFluxErr, apFlux,
        apFluxErr`` (nJy), ``snr, psfChi2, psfNdata, extendedness``, flags ``saturated, edge, cr, bad,
        interpolated``, ``psf_used, astrom_used, photom_used`` and ``ref_id`` (-1: none).
    """
    fits = sources.fits
    n = len(sources)
    assert exposure.wcs is not None
    ra, dec = exposure.wcs.all_pix2world(fits.x, fits.y, 0)
    astrometry_used = np.zeros(n, np.bool_)
    astrometry_used[astrometry.source[astrometry.used]] = True
    reference_id = np.full(n, -1, np.int64)
    reference_id[astrometry.source] = reference_ids[astrometry.reference]
    info = exposure.visit_info
    if info is None:
        ids = np.arange(1, n + 1, dtype=np.int64)
    else:
        ids = pack_ids(info.exposure, info.detector, np.arange(1, n + 1))
    table = Table(
        {
            "id": ids,
            "x": fits.x,
            "y": fits.y,
            "xErr": fits.x_err,
            "yErr": fits.y_err,
            "ra": ra,
            "dec": dec,
            "psfFlux": fits.flux * njy_per_electron,
            "psfFluxErr": fits.flux_err * njy_per_electron,
            "apFlux": sources.aperture_flux * njy_per_electron,
            "apFluxErr": sources.aperture_flux_err * njy_per_electron,
            "snr": sources.snr,
            "psfChi2": fits.chi2,
            "psfNdata": fits.n_pixels,
            "extendedness": sources.extendedness,
            "saturated": sources.has(Mask.SAT),
            "edge": sources.has(Mask.EDGE | Mask.NO_DATA),
            "cr": sources.has(Mask.CR),
            "bad": sources.has(Mask.BAD),
            "interpolated": sources.has(Mask.INTRP),
            "psf_used": sources.psf_used,
            "astrom_used": astrometry_used,
            "photom_used": photometry_used,
            "ref_id": reference_id,
        }
    )
    for names, unit in (
        (("x", "y", "xErr", "yErr"), u.pixel),
        (("ra", "dec"), u.deg),
        (("psfFlux", "psfFluxErr", "apFlux", "apFluxErr"), u.nJy),
    ):
        for name in names:
            table[name].unit = unit
    return table
