"""Join the detections along one long trail, which has a peak every few pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from prompt_processing.images import UNMEASURED, Exposure, Mask
from prompt_processing.imaging.psf_stamps import SplinePsf, spline_at

from .dia_measurement import fit_radius, trail_window
from .dia_pixels import cut
from .dia_trail import fit_trail, keep_band
from .point_groups import MOST_POINTS, fit_point_group

SHORTEST = 2.5
"""Least length, in FWHM of the PSF; a shorter trail has only one peak."""
LONGEST = 130.0
"""Largest length, pixels: 20 degrees per day in 30 s, at 0.2 arcsec. Fitting a longer trail takes seconds."""
WIDEST = 2.0
"""Largest second moment across a trail, in units of the PSF's."""
WIDEST_GAP = 25.0
"""Largest gap between two parts of a trail, from unusable pixels or noise, pixels."""
MISFIT = 0.15
"""Largest excess of a trail's chi squared over noise, in units of its significance squared."""


_Places = TypeVar("_Places", float, NDArray[np.float64])


@dataclass(frozen=True, slots=True)
class _Line:
    """A line on the image, pixels and radian from x to y, of light of one sign."""

    x: float
    y: float
    length: float
    angle: float
    sign: float

    def along(self, x: _Places, y: _Places) -> _Places:
        return (x - self.x) * math.cos(self.angle) + (y - self.y) * math.sin(self.angle)

    def across(self, x: _Places, y: _Places) -> _Places:
        return abs((y - self.y) * math.cos(self.angle) - (x - self.x) * math.sin(self.angle))

    def at(self, along: float) -> tuple[float, float]:
        return self.x + along * math.cos(self.angle), self.y + along * math.sin(self.angle)

    def contains(self, line: _Line, fwhm: float) -> bool:
        near = self.across(line.x, line.y) < fwhm and abs(self.along(line.x, line.y)) < 0.5 * self.length
        return near and line.sign == self.sign

    def covers(self, peaks: NDArray[np.void], fwhm: float) -> NDArray[np.bool_]:
        """Return which peaks are on the line and have its sign."""
        x, y = peaks["x"].astype(float), peaks["y"].astype(float)
        near = (self.across(x, y) < fwhm) & (abs(self.along(x, y)) < 0.5 * self.length + fwhm)
        return near & (np.sign(peaks["score"]) == self.sign)

    def beside(self, peaks: NDArray[np.void], fwhm: float) -> list[tuple[float, float]]:
        """Return the positions of peaks that may continue the line beyond its ends, nearest first."""
        x, y = peaks["x"].astype(float), peaks["y"].astype(float)
        beyond = abs(self.along(x, y)) - 0.5 * self.length
        near = (self.across(x, y) < fwhm) & (beyond > 0) & (beyond < WIDEST_GAP)
        order = np.argsort(beyond[near])
        return list(zip(x[near][order].tolist(), y[near][order].tolist(), strict=True))

    def with_part(self, part: _Line, tolerance: float) -> _Line | None:
        """Return the joined line if the part continues this one, else `None`."""
        places = [part.at(-0.5 * part.length), part.at(0.5 * part.length)]
        ends = [self.along(*place) for place in places]
        gap = min(map(abs, ends)) - 0.5 * self.length
        off = max(self.across(*place) for place in places)
        if part.sign != self.sign or gap > WIDEST_GAP or off > tolerance + 0.05 * max(map(abs, ends)):
            return None
        low, high = min(*ends, -0.5 * self.length), max(*ends, 0.5 * self.length)
        if high - low <= self.length:
            return None
        return _Line(*self.at(0.5 * (low + high)), high - low, self.angle, self.sign)


def join_long_trails(difference: Exposure, peaks: NDArray[np.void]) -> NDArray[np.void]:
    """Replace the peaks along a long and straight trail by one, if one trail fits them.

    Parameters
    ----------
    difference : `Exposure`
        Difference after `dia_detection.detect_dia_sources`.
    peaks : `~numpy.ndarray` of `dia_detection.PEAK`
        Detections, most significant first.

    Returns
    -------
    peaks : `~numpy.ndarray` of `dia_detection.PEAK`
        Peaks, with those of a trail replaced by one in its middle, with ``trail_length`` and ``trail_angle``.

    Raises
    ------
    ValueError
        Raised if the difference has no PSF.
    """
    if difference.psf is None:
        raise ValueError("The difference has no PSF.")
    height, width = difference.shape
    fwhm = difference.psf.fwhm_at((width - 1) / 2, (height - 1) / 2)
    extent = np.hypot(peaks["x_max"] - peaks["x_min"], peaks["y_max"] - peaks["y_min"])
    _, first, counts = np.unique(peaks["footprint"], return_index=True, return_counts=True)
    # A footprint of that size with one peak is an ordinary bright star.
    least = np.where(counts > 1, SHORTEST, 2 * SHORTEST) * fwhm
    candidates = first[(extent[first] > least) & (extent[first] < 1.5 * LONGEST)]
    lines = [line for index in candidates if (line := _line(difference, peaks[index], fwhm)) is not None]
    if not lines:
        return peaks
    spline = SplinePsf.of(difference.psf)
    out, keep = peaks.copy(), np.ones(len(peaks), bool)
    lines.sort(key=lambda line: -line.length)
    while lines:
        trail = _fit(difference, lines.pop(0), spline, fwhm)
        if trail is None:
            continue
        rest = peaks[keep & (np.sign(peaks["score"]) == trail.sign)]
        for other in [*lines, *(_Line(x, y, 0.0, 0.0, trail.sign) for x, y in trail.beside(rest, fwhm))]:
            # Parts that belong to the trail lengthen it; the fit excludes the others again.
            if (longer := trail.with_part(other, 0.5 * fwhm)) is not None:
                trail = _fit(difference, longer, spline, fwhm) or trail
        on_it = keep & trail.covers(peaks, fwhm)
        if _points_fit_better(difference, trail, peaks[on_it], spline, fwhm):
            continue
        lines = [line for line in lines if not trail.contains(line, fwhm)]
        if not on_it.any():
            continue
        brightest = int(np.argmax(on_it))
        keep &= ~on_it
        keep[brightest] = True
        out["x"][brightest], out["y"][brightest] = round(trail.x), round(trail.y)
        out["trail_length"][brightest], out["trail_angle"][brightest] = trail.length, trail.angle
    return np.asarray(out[keep])


def _line(difference: Exposure, peak: np.void, fwhm: float) -> _Line | None:
    """Return the line along a footprint's light; `None` if it is too short or too wide."""
    rows = slice(int(peak["y_min"]), int(peak["y_max"]) + 1)
    columns = slice(int(peak["x_min"]), int(peak["x_max"]) + 1)
    sign, plane = (1, Mask.DETECTED) if peak["score"] > 0 else (-1, Mask.DETECTED_NEGATIVE)
    labels, _ = ndimage.label(difference.mask[rows, columns] & int(plane), np.ones((3, 3)))
    if not labels.any():
        return None
    # Peaks are centred on the light, which may lie beyond their footprint.
    at = labels == np.argmax(np.bincount(labels[labels > 0]))
    v, u = np.nonzero(at)
    light = np.fmax(sign * difference.image[rows, columns][at].astype(float), 0)
    if len(light) < 3 or not light.sum() > 0:
        return None
    places = np.stack([u, v])
    x, y = np.average(places, axis=1, weights=light)
    (across, along), axes = np.linalg.eigh(np.cov(places, aweights=light))
    # A uniform trail adds length^2 / 12 to the PSF's moment along it.
    length = math.sqrt(12 * max(along - across, 0.0))
    if not SHORTEST * fwhm < length < LONGEST or across > WIDEST * (fwhm / 2.3548) ** 2:
        return None
    angle = math.atan2(axes[1, 1], axes[0, 1])
    return _Line(float(x) + columns.start, float(y) + rows.start, length, angle, float(sign))


def _cut(
    difference: Exposure, line: _Line, spline: SplinePsf, fwhm: float
) -> tuple[int, int, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the middle pixel of a line, the pixels along it, their variance, and the PSF's spline there."""
    radius = fit_radius(fwhm)
    size = trail_window(line.length, radius)
    data, noise = np.empty((size, size)), np.empty((size, size))
    planes = np.int32(int(UNMEASURED))
    x, y = round(line.x), round(line.y)
    cut(difference.image, difference.variance, difference.mask, planes, x, y, data, noise)
    keep_band(noise, line.length, line.angle, float(radius))
    stamp = np.empty(spline.splines.shape[1:])
    spline_at(spline.splines, spline.order, spline.frame, float(x), float(y), stamp)
    return x, y, data, noise, stamp


def _points_fit_better(
    difference: Exposure, trail: _Line, peaks: NDArray[np.void], spline: SplinePsf, fwhm: float
) -> bool:
    """Return whether close point sources fit the peaks better than a trail.

    Both models are compared by the Bayesian information criterion (Schwarz 1978): a trail has five
    parameters, a point source three.
    """
    if not 2 <= len(peaks) <= MOST_POINTS:
        return False
    x, y, data, noise, stamp = _cut(difference, trail, spline, fwhm)
    result = np.empty(12)
    start = np.array([trail.x - x, trail.y - y, trail.length, trail.angle])
    if not fit_trail(data, noise, stamp, start, result):
        return True
    places = [(float(peak["x"]) - x, float(peak["y"]) - y) for peak in peaks]
    points = fit_point_group(data, noise, stamp, places).chi_squared
    cost = math.log(np.count_nonzero(noise > 0))
    return points + 3 * len(peaks) * cost < float(result[10]) + 5 * cost


def _fit(difference: Exposure, line: _Line, spline: SplinePsf, fwhm: float) -> _Line | None:
    """Return the trail that fits the pixels along a line; `None` if no trail fits."""
    if line.length > LONGEST:
        return None
    x, y, data, noise, stamp = _cut(difference, line, spline, fwhm)
    result = np.empty(12)
    if not fit_trail(data, noise, stamp, np.array([0.0, 0.0, line.length, line.angle]), result):
        return None
    significance = abs(result[4]) / max(result[9], 1e-30)
    beyond_noise = result[10] - result[11] - 3 * math.sqrt(2 * result[11])
    if beyond_noise > MISFIT * significance**2 or result[4] * line.sign <= 0 or result[2] < SHORTEST * fwhm:
        return None
    return _Line(x + float(result[0]), y + float(result[1]), float(result[2]), float(result[3]), line.sign)
