"""Turn measurements in pixels into DiaSource columns."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.table import Table
from astropy.wcs import WCS
from numpy.typing import NDArray

from prompt_processing.images import Exposure, Mask
from prompt_processing.imaging.psf_flux import forced_psf_flux

FLAGS: dict[str, tuple[Mask, bool]] = {
    "bad": (Mask.BAD, False),
    "cr": (Mask.CR, True),
    "edge": (Mask.EDGE, True),
    "nodata": (Mask.NO_DATA, True),
    "interpolated": (Mask.INTRP, True),
    "saturated": (Mask.SAT | Mask.SAT_TEMPLATE, True),
    "suspect": (Mask.SUSPECT, True),
    "streak": (Mask.STREAK, True),
    "injected": (Mask.INJECTED, True),
    "injected_template": (Mask.INJECTED_TEMPLATE, True),
}
"""Planes of ``pixelFlags_<name>``, and whether ``pixelFlags_<name>Center`` exists."""

CORRELATED = 1.5
"""Scatter of the score above which noise counts as correlated and scales errors of fluxes and positions."""

NEARBY = 15
"""Radius of the search for a bright star's light, pixels."""

DIPOLE_GAIN = 0.7
"""Largest chi squared of an accepted dipole, as a fraction of a point source's ..."""
DIPOLE_LEAST_GAIN = 20.0
"""... and its least improvement, for the three additional parameters."""
DIPOLE_BALANCE = 0.25
"""Least flux of the fainter lobe, in units of the brighter one's."""


def make_catalogue(
    peaks: NDArray[np.void],
    results: NDArray[np.void],
    difference: Exposure,
    science: Exposure,
    matched: Exposure,
) -> Table:
    """Make the table of measured sources.

    Parameters
    ----------
    peaks, results : `~numpy.ndarray`
        Rows of `dia_detection.PEAK` and `dia_measurement.RESULT`, one per source.
    difference, science, matched : `Exposure`
        As in `dia_measurement.measure_dia_sources`.

    Returns
    -------
    sources : `~astropy.table.Table`
        Columns with the APDB's names and units (degrees, nJy, arcsec; x, y in pixels), with
        the features ``score`` (signed detection significance), ``sharpness``,
        ``pixelSnr`` (the same if noise were white), ``ownLobe``, ``oppositeLobe`` (significance of the
        strongest 3 x 3 pixels of either sign), ``oppositePixels``, ``oppositeShare``,
        ``footprintArea`` (pixels), ``footprintId``, ``misfit`` (chi squared above that of
        noise, in units of the significance squared), ``nearbyFlux`` (nJy, of a star as bright as the
        template's brightest pixel within 15).
    """
    x, y = results["x"], results["y"]
    assert difference.wcs is not None
    jacobian, ra, dec = _sky_jacobian(difference.wcs, x, y)
    scale = np.sqrt(np.abs(np.linalg.det(jacobian))) if len(x) else np.zeros(0)
    arcsec = scale * 3600
    table = Table({"x": x, "y": y, "ra": ra, "dec": dec})
    table["xErr"], table["yErr"] = results["xErr"], results["yErr"]
    _add_sky_errors(table, jacobian, results)
    table["centroid_flag"] = ~results["centroidGood"]
    for name in ("psfFlux", "psfFluxErr", "psfChi2", "psfNdata", "apFlux", "apFluxErr"):
        table[name] = results[name]
    table["psfLnL"] = -0.5 * results["psfChi2"]
    table["psfFlux_flag"] = results["psfNdata"] == 0
    table["psfFlux_flag_noGoodPixels"] = results["psfNdata"] == 0
    table["psfFlux_flag_edge"] = results["psfEdge"]
    table["apFlux_flag"] = ~results["apertureWhole"]
    table["apFlux_flag_apertureTruncated"] = ~results["apertureWhole"]
    table["score"] = peaks["score"]
    table["snr"] = np.abs(peaks["score"])
    table["isNegative"] = peaks["score"] < 0
    for name in ("ixx", "iyy", "ixy", "ixxPSF", "iyyPSF", "ixyPSF"):
        table[name] = results[name] * arcsec**2
    table["shape_flag"] = ~results["shapeGood"]
    traces = (results["ixx"] + results["iyy"]) / np.maximum(results["ixxPSF"] + results["iyyPSF"], 1e-9)
    table["extendedness"] = np.where(results["shapeGood"], np.clip(traces - 1, 0, 1), np.nan)
    box = np.maximum(peaks["x_max"] - peaks["x_min"], peaks["y_max"] - peaks["y_min"]) + 1
    table["bboxSize"] = box.astype(np.int32)
    for name, edge in (("MinX", "x_min"), ("MaxX", "x_max"), ("MinY", "y_min"), ("MaxY", "y_max")):
        table[f"bbox{name}"] = peaks[edge].astype(np.int32)
    _add_dipoles(table, results, jacobian, arcsec)
    _add_trails(table, peaks, results, jacobian, arcsec, difference.wcs)
    _add_forced_fluxes(table, science, matched)
    _add_pixel_flags(table, results, difference.shape)
    table["sharpness"] = results["sharpness"]
    # With correlated noise, pixels scatter as their variance predicts, but fluxes scatter more.
    scatter = np.where(peaks["scatter"] > CORRELATED, peaks["scatter"], 1.0).astype(float)
    for name in ("psfFluxErr", "xErr", "yErr", "raErr", "decErr"):
        table[name] *= scatter
    table["ra_dec_Cov"] *= scatter**2
    table["pixelSnr"] = table["snr"] * scatter
    # Share of the squared signal that the model lacks, independent of brightness.
    table["misfit"] = (results["psfChi2"] - results["psfNdata"]) / np.maximum(table["pixelSnr"] ** 2, 1)
    lobes = results["lobes"]
    table["ownLobe"], table["oppositeLobe"] = lobes[:, 0], lobes[:, 3]
    table["oppositePixels"], table["oppositeShare"] = lobes[:, 6], lobes[:, 7]
    table["footprintArea"], table["footprintId"] = peaks["area"], peaks["footprint"]
    return table


def _sky_jacobian(
    wcs: WCS, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return d(east, north)/d(x, y) in degrees per pixel, shape (n, 2, 2), and ra, dec in degrees."""
    if not len(x):
        return np.zeros((0, 2, 2)), np.zeros(0), np.zeros(0)
    points = np.concatenate([x, x + 1, x]), np.concatenate([y, y, y + 1])
    ra, dec = (np.asarray(a, float).reshape(3, -1) for a in wcs.all_pix2world(*points, 0))
    east = ((ra[1:] - ra[0] + 180) % 360 - 180) * np.cos(np.radians(dec[0]))
    north = dec[1:] - dec[0]
    jacobian = np.stack([east, north], axis=0).transpose(2, 0, 1)
    return np.ascontiguousarray(jacobian), ra[0] % 360, dec[0]


def _bearing(jacobian: NDArray[np.float64], ux: Any, uy: Any) -> NDArray[np.float64]:
    """Return the angle of pixel vectors east of north, degrees in [0, 360)."""
    east = jacobian[:, 0, 0] * ux + jacobian[:, 0, 1] * uy
    north = jacobian[:, 1, 0] * ux + jacobian[:, 1, 1] * uy
    return np.asarray(np.degrees(np.arctan2(east, north)) % 360)


def _add_sky_errors(table: Table, jacobian: NDArray[np.float64], results: NDArray[np.void]) -> None:
    """Turn the pixel covariance into errors of ra (times cos dec) and dec, degrees."""
    covariance = np.empty((len(results), 2, 2))
    covariance[:, 0, 0], covariance[:, 1, 1] = results["xErr"] ** 2, results["yErr"] ** 2
    covariance[:, 0, 1] = covariance[:, 1, 0] = results["xyCov"]
    sky = jacobian @ covariance @ jacobian.transpose(0, 2, 1)
    table["raErr"], table["decErr"] = np.sqrt(sky[:, 0, 0]), np.sqrt(sky[:, 1, 1])
    table["ra_dec_Cov"] = sky[:, 0, 1]


def _add_dipoles(
    table: Table, results: NDArray[np.void], jacobian: NDArray[np.float64], arcsec: NDArray[np.float64]
) -> None:
    fit = results["dipole"]
    tried = results["dipoleTried"]
    positive, negative = fit[:, 2], -fit[:, 5]
    balance = np.minimum(positive, negative) / np.maximum(np.maximum(positive, negative), 1e-30)
    chi2 = fit[:, 8]
    is_dipole = results["dipoleGood"] & (balance > DIPOLE_BALANCE)
    is_dipole &= (chi2 < DIPOLE_GAIN * results["psfChi2"]) | (chi2 < results["psfChi2"] - DIPOLE_LEAST_GAIN)
    is_dipole &= chi2 < results["psfChi2"] - DIPOLE_LEAST_GAIN
    dx, dy = fit[:, 0] - fit[:, 3], fit[:, 1] - fit[:, 4]

    def where_tried(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(tried, values, np.nan)

    table["isDipole"] = is_dipole
    table["dipoleFitAttempted"] = tried
    table["dipoleMeanFlux"] = where_tried(0.5 * (positive + negative))
    table["dipoleFluxDiff"] = where_tried(positive - negative)
    error = np.hypot(fit[:, 6], fit[:, 7])
    table["dipoleMeanFluxErr"], table["dipoleFluxDiffErr"] = where_tried(0.5 * error), where_tried(error)
    table["dipoleLength"] = where_tried(np.hypot(dx, dy) * arcsec)
    table["dipoleAngle"] = where_tried(_bearing(jacobian, dx, dy))
    table["dipoleChi2"] = where_tried(chi2)
    table["dipoleNdata"] = np.where(tried, results["psfNdata"], 0).astype(np.int32)
    table["dipoleBalance"] = where_tried(balance)


def _add_trails(
    table: Table,
    peaks: NDArray[np.void],
    results: NDArray[np.void],
    jacobian: NDArray[np.float64],
    arcsec: NDArray[np.float64],
    wcs: WCS,
) -> None:
    fit = results["trail"]
    good = results["trailTried"] & results["trailGood"]

    def where_good(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(good, values, np.nan)

    # The fit's offsets are from the peak pixel.
    column, row = peaks["x"], peaks["y"]
    ra, dec = np.full(len(results), np.nan), np.full(len(results), np.nan)
    if good.any():
        sky = wcs.all_pix2world((column + fit[:, 0])[good], (row + fit[:, 1])[good], 0)
        ra[good], dec[good] = sky[0] % 360, sky[1]
    table["trailRa"], table["trailDec"] = ra, dec
    scale = arcsec / 3600
    table["trailRaErr"], table["trailDecErr"] = where_good(fit[:, 5] * scale), where_good(fit[:, 6] * scale)
    table["trailFlux"], table["trailFluxErr"] = where_good(fit[:, 4]), where_good(fit[:, 9])
    table["trailLength"], table["trailLengthErr"] = (
        where_good(fit[:, 2] * arcsec),
        where_good(fit[:, 7] * arcsec),
    )
    # A trail has no direction: its bearing is that of a line.
    table["trailAngle"] = where_good(_bearing(jacobian, np.cos(fit[:, 3]), np.sin(fit[:, 3])) % 180)
    table["trailAngleErr"] = where_good(np.degrees(fit[:, 8]))
    table["trailChi2"] = where_good(fit[:, 10])
    table["trailNdata"] = np.where(good, fit[:, 11], 0).astype(np.int32)
    table["trail_flag"] = results["trailTried"] & ~results["trailGood"]
    table["trail_flag_edge"] = results["trailTried"] & results["psfEdge"]


def _add_forced_fluxes(table: Table, science: Exposure, matched: Exposure) -> None:
    flux, err, flags = forced_psf_flux(science, table["x"], table["y"])
    table["scienceFlux"], table["scienceFluxErr"] = flux, err
    table["forced_PsfFlux_flag"] = ~np.isfinite(flux)
    table["forced_PsfFlux_flag_edge"] = (flags & int(Mask.EDGE)) != 0
    table["forced_PsfFlux_flag_noGoodPixels"] = ~np.isfinite(flux)
    if matched.psf is None:
        table["templateFlux"], table["templateFluxErr"], table["nearbyFlux"] = np.nan, np.nan, 0.0
        return
    table["templateFlux"], table["templateFluxErr"], _ = forced_psf_flux(matched, table["x"], table["y"])
    peak = float(matched.psf.image_at(matched.shape[1] / 2, matched.shape[0] / 2).max())
    table["nearbyFlux"] = _brightest_nearby(matched.image, table["x"], table["y"], peak)


def _brightest_nearby(image: NDArray[np.float32], x: Any, y: Any, peak: float) -> NDArray[np.float64]:
    """Return the flux of a point source as bright as the brightest pixel within `NEARBY` of positions."""
    height, width = image.shape
    columns = np.clip(np.rint(np.asarray(x)), 0, width - 1).astype(int)
    rows = np.clip(np.rint(np.asarray(y)), 0, height - 1).astype(int)
    out = np.zeros(len(columns))
    for i, (column, row) in enumerate(zip(columns, rows, strict=True)):
        part = image[max(row - NEARBY, 0) : row + NEARBY + 1, max(column - NEARBY, 0) : column + NEARBY + 1]
        # A square without template is all NaN, and counts as one without stars.
        out[i] = np.fmax.reduce(part, axis=None, initial=0.0)
    return out / peak


def _add_pixel_flags(table: Table, results: NDArray[np.void], shape: tuple[int, int]) -> None:
    for name, (planes, has_centre) in FLAGS.items():
        table[f"pixelFlags_{name}"] = (results["footprintFlags"] & int(planes)) != 0
        if has_centre:
            table[f"pixelFlags_{name}Center"] = (results["centreFlags"] & int(planes)) != 0
    x, y = results["x"], results["y"]
    off = (x < -0.5) | (y < -0.5) | (x > shape[1] - 0.5) | (y > shape[0] - 0.5)
    table["pixelFlags_offimage"] = off
    table["pixelFlags_edge"] |= off | results["psfEdge"]
    table["pixelFlags_edgeCenter"] |= off
    table["pixelFlags"] = np.zeros(len(table), bool)
