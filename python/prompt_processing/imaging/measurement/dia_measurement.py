"""Measure detected difference sources: position, fluxes, shape, dipole, trail, flags."""

from __future__ import annotations

import math

import numba
import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from prompt_processing.images import UNMEASURED, Exposure
from prompt_processing.imaging.psf_stamps import SplinePsf, shifted_stamp, spline_at
from prompt_processing.imaging.row_bands import in_bands

from .dia_catalogue import make_catalogue
from .dia_fits import fit_dipole, fit_point
from .dia_neighbours import Neighbours, subtract_neighbours
from .dia_pixels import cut
from .dia_shapes import aperture_flux, lobes, weighted_moments
from .dia_trail import fit_trail, keep_band

APERTURE_RADIUS = 12.0
"""Radius of the APDB's ``apFlux``, pixels."""

RESULT = np.dtype(
    [(name, np.float64) for name in ("x", "y", "xErr", "yErr", "xyCov", "psfFlux", "psfFluxErr", "psfChi2")]
    + [(name, np.float64) for name in ("apFlux", "apFluxErr", "ixx", "iyy", "ixy")]
    + [(name, np.float64) for name in ("ixxPSF", "iyyPSF", "ixyPSF", "sharpness")]
    + [("lobes", np.float64, 8), ("dipole", np.float64, 9), ("trail", np.float64, 12)]
    + [(name, np.int32) for name in ("psfNdata", "footprintFlags", "centreFlags")]
    + [
        (name, np.bool_)
        for name in ("centroidGood", "apertureWhole", "shapeGood", "dipoleTried", "dipoleGood")
    ]
    + [(name, np.bool_) for name in ("trailTried", "trailGood", "psfEdge")]
)
"""Results of the compiled loop for each source; lengths in pixels, fluxes in the image's unit."""


def fit_radius(fwhm: float) -> int:
    """Return the radius of the fitted pixels for a PSF's width; both in pixels."""
    return int(np.clip(math.ceil(1.5 * fwhm), 5, 14))


@numba.njit(cache=True)
def trail_window(length: float, radius: int) -> int:
    """Return the width of the square for a trail's fit; all in pixels."""
    return int(2 * (math.ceil(0.6 * length) + radius) + 1)


def measure_dia_sources(
    difference: Exposure, science: Exposure, matched: Exposure, peaks: NDArray[np.void]
) -> Table:
    """Measure detected sources.

    Parameters
    ----------
    difference : `Exposure`
        The difference searched; nJy, with WCS and PSF.
    science, matched : `Exposure`
        Science image and matched template, for forced fluxes.
    peaks : `~numpy.ndarray` of `dia_detection.PEAK`
        Detections.

    Returns
    -------
    sources : `~astropy.table.Table`
        Columns of the APDB's DiaSource table, without ids, and further columns
        that separate real from spurious sources. See `dia_catalogue.make_catalogue`.

    Raises
    ------
    ValueError
        Raised if an image has no PSF, or the difference no WCS.

    Notes
    -----
    Positions and fluxes come from unweighted fits of the PSF, errors from the variances: weights
    from a variance that contains the source itself would bias its flux. A dipole
    is fitted where a lobe of the other sign is significant, a trail where
    the source is longer than the PSF. Sources whose light overlaps are fitted together first, and
    each is measured with the others subtracted.
    """
    if difference.psf is None or difference.wcs is None:
        raise ValueError("The difference has no PSF or no WCS.")
    results = np.zeros(len(peaks), RESULT)
    spline = SplinePsf.of(difference.psf)
    height, width = difference.shape
    fwhm = difference.psf.fwhm_at((width - 1) / 2, (height - 1) / 2)
    radius = fit_radius(fwhm)
    planes = int(UNMEASURED)
    neighbours = Neighbours.of(difference, peaks, spline, radius, planes)

    def measure(start: int, stop: int) -> None:
        _measure(
            *(difference.image, difference.variance, difference.mask),
            *(spline.splines, spline.order, spline.frame, peaks, np.int32(planes)),
            *(neighbours.first, neighbours.index, neighbours.points),
            *(radius, (fwhm / 2.3548) ** 2, results, start, stop),
        )

    in_bands(measure, len(peaks))
    return make_catalogue(peaks, results, difference, science, matched)


@numba.njit(cache=True, nogil=True)
def _measure(
    image: NDArray[np.float32],
    variance: NDArray[np.float32],
    mask: NDArray[np.int32],
    splines: NDArray[np.float64],
    order: int,
    frame: NDArray[np.float64],
    peaks: NDArray[np.void],
    planes: int,
    first: NDArray[np.int64],
    index: NDArray[np.int64],
    points: NDArray[np.float64],
    radius: int,
    psf_moment: float,
    results: NDArray[np.void],
    start: int,
    stop: int,
) -> None:
    size = splines.shape[1]
    spline, stamp = np.empty((size, size)), np.empty((size, size))
    wide = min(radius + 10, size // 2 - 1)
    data, noise = np.empty((2 * radius + 1, 2 * radius + 1)), np.empty((2 * radius + 1, 2 * radius + 1))
    wide_data, wide_noise = np.empty((2 * wide + 1, 2 * wide + 1)), np.empty((2 * wide + 1, 2 * wide + 1))
    point, dipole, trail = np.empty(8), np.empty(9), np.empty(12)
    lobe, pair, moments = np.empty(8), np.empty(2), np.empty(3)
    start_dipole, start_trail = np.empty(4), np.empty(4)
    for i in range(start, stop):
        peak, result = peaks[i], results[i]
        column, row = int(peak["x"]), int(peak["y"])
        sign = 1.0 if peak["score"] > 0 else -1.0
        near = index[first[i] : first[i + 1]]
        cut(image, variance, mask, planes, column, row, data, noise)
        spline_at(splines, order, frame, float(column), float(row), spline)
        subtract_neighbours(data, column, row, near, points, spline, stamp)
        good = fit_point(data, noise, spline, point)
        # A fit that ends with the other sign has followed a neighbour.
        if point[2] * sign <= 0:
            good = False
        result["centroidGood"] = good
        dx, dy = point[0], point[1]
        result["x"], result["y"], result["psfFlux"] = column + dx, row + dy, point[2]
        result["xErr"], result["yErr"], result["psfFluxErr"] = point[3], point[4], point[5]
        result["psfChi2"], result["xyCov"] = point[6], point[7]
        count = 0
        for r in range(data.shape[0]):
            for c in range(data.shape[1]):
                if noise[r, c] > 0:
                    count += 1
        result["psfNdata"] = count
        _flags(mask, column, row, max(radius // 2, 2), result)
        result["apertureWhole"] = aperture_flux(
            image, variance, result["x"], result["y"], APERTURE_RADIUS, pair
        )
        result["apFlux"], result["apFluxErr"] = pair[0], pair[1]
        result["shapeGood"] = weighted_moments(sign * data, noise, dx, dy, psf_moment, moments)
        result["ixx"], result["iyy"], result["ixy"] = moments[0], moments[1], moments[2]
        total = shifted_stamp(spline, 0.0, 0.0, stamp)
        weighted_moments(stamp / total, np.ones_like(stamp), 0.0, 0.0, psf_moment, moments)
        result["ixxPSF"], result["iyyPSF"], result["ixyPSF"] = moments[0], moments[1], moments[2]
        psf_trace = moments[0] + moments[1]
        result["sharpness"] = _sharpness(data, noise, sign, point, stamp)
        lobes(data, noise, sign, min(1.2 * math.sqrt(psf_trace) * 1.7, radius), lobe)
        result["lobes"][:] = lobe
        if lobe[3] > 3.0 and lobe[3] > 0.15 * lobe[0]:
            result["dipoleTried"] = True
            own = 0 if sign > 0 else 2
            start_dipole[own], start_dipole[own + 1] = lobe[1], lobe[2]
            start_dipole[2 - own], start_dipole[3 - own] = lobe[4], lobe[5]
            result["dipoleGood"] = fit_dipole(data, noise, spline, start_dipole, dipole)
            result["dipole"][:] = dipole
        if peak["trail_length"] > 0:
            # Neither the point fit nor the moments locate its middle.
            length, angle = float(peak["trail_length"]), float(peak["trail_angle"])
            long = trail_window(length, radius)
            long_data, long_noise = np.empty((long, long)), np.empty((long, long))
            cut(image, variance, mask, planes, column, row, long_data, long_noise)
            keep_band(long_noise, length, angle, float(radius))
            start_trail[0], start_trail[1], start_trail[2], start_trail[3] = 0.0, 0.0, length, angle
            result["trailTried"] = True
            result["trailGood"] = fit_trail(long_data, long_noise, spline, start_trail, trail)
            result["trail"][:] = trail
            result["x"], result["y"] = column + trail[0], row + trail[1]
            result["xErr"], result["yErr"], result["xyCov"] = trail[5], trail[6], 0.0
            continue
        cut(image, variance, mask, planes, column, row, wide_data, wide_noise)
        subtract_neighbours(wide_data, column, row, near, points, spline, stamp)
        xx, yy, xy = result["ixx"], result["iyy"], result["ixy"]
        longest = 0.5 * (xx + yy) + math.hypot(0.5 * (xx - yy), xy)
        # The moment of a uniform trail is length^2 / 12 along it.
        excess = longest - 0.5 * psf_trace
        if result["shapeGood"] and excess > 0.15 * psf_trace and abs(peak["score"]) > 8:
            result["trailTried"] = True
            start_trail[0], start_trail[1] = dx, dy
            start_trail[2] = min(math.sqrt(12 * excess), 1.5 * wide)
            start_trail[3] = 0.5 * math.atan2(2 * xy, xx - yy)
            result["trailGood"] = fit_trail(wide_data, wide_noise, spline, start_trail, trail)
            result["trail"][:] = trail


@numba.njit(cache=True, nogil=True)
def _flags(mask: NDArray[np.int32], column: int, row: int, reach: int, result: NDArray[np.void]) -> None:
    """Collect the planes of the footprint's middle and of the 3 x 3 pixels around the peak."""
    height, width = mask.shape
    whole, centre = 0, 0
    for j in range(row - reach, row + reach + 1):
        for i in range(column - reach, column + reach + 1):
            if j < 0 or j >= height or i < 0 or i >= width:
                result["psfEdge"] = True
                continue
            whole |= mask[j, i]
            if abs(j - row) <= 1 and abs(i - column) <= 1:
                centre |= mask[j, i]
    result["footprintFlags"], result["centreFlags"] = whole, centre


@numba.njit(cache=True, nogil=True)
def _sharpness(
    data: NDArray[np.float64],
    noise: NDArray[np.float64],
    sign: float,
    point: NDArray[np.float64],
    stamp: NDArray[np.float64],
) -> float:
    """Return the highest pixel near the middle in units of the fitted PSF's peak; about 1 for a star."""
    half = data.shape[0] // 2
    highest = 0.0
    for r in range(half - 1, half + 2):
        for c in range(half - 1, half + 2):
            if noise[r, c] > 0:
                highest = max(highest, sign * data[r, c])
    expected = abs(point[2]) * stamp.max() / stamp.sum()
    return highest / expected if expected > 0 else 0.0
