"""Find sources so near a brighter one that they have no peak of their own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from prompt_processing.images import UNMEASURED, Exposure
from prompt_processing.imaging.psf_stamps import SplinePsf, shifted_stamp, spline_at
from prompt_processing.imaging.row_bands import in_bands

from .dia_fits import fit_point
from .dia_measurement import fit_radius
from .dia_neighbours import Neighbours, subtract_neighbours
from .dia_pixels import cut
from .dia_trail import fit_trail
from .point_groups import PointGroup, fit_point_group

NEAREST, FARTHEST = 0.8, 2.2
"""Distances of a companion, in FWHM: a nearer one resembles an error of the PSF's shape, a farther one has a
peak of its own."""

LEAST_SHARE = 0.1
"""Least flux of a companion at 1.5 FWHM, as a share of the brighter source's: more than an imperfect PSF
leaves."""

MISFIT = 0.1
"""Largest excess of a pair's chi squared over noise, in units of its significance squared ..."""
EXPLAINED = 0.6
"""... and the least share of a single point's excess that the pair explains."""

MOST = 100
"""Number of most significant candidates to examine."""

CANDIDATE = np.dtype([(name, np.float64) for name in ("x", "y", "flux", "dx", "dy", "significance")])


@dataclass(frozen=True, slots=True, eq=False)
class _Field:
    """What the fits of one difference share."""

    difference: Exposure
    spline: SplinePsf
    fwhm: float
    radius: int
    planes: int
    threshold: float


def with_companions(difference: Exposure, peaks: NDArray[np.void], threshold: float) -> NDArray[np.void]:
    """Split peaks that two point sources fit and one does not.

    Parameters
    ----------
    difference : `Exposure`
        Difference with PSF, after `dia_detection.detect_dia_sources`.
    peaks : `~numpy.ndarray` of `dia_detection.PEAK`
        Detections.
    threshold : `float`
        Least significance of a companion.

    Returns
    -------
    peaks : `~numpy.ndarray` of `dia_detection.PEAK`
        The peaks with their companions, most significant first.

    Notes
    -----
    The residual of each peak's best point source is searched for light of the same sign. A candidate counts
    if both sources together fit better than one point source and than a trail by the Bayesian information
    criterion (Schwarz 1978), and leave little: cosmic rays and errors of the PSF are not sums of two PSFs.
    """
    if difference.psf is None:
        raise ValueError("The difference has no PSF.")
    if not len(peaks):
        return peaks
    height, width = difference.shape
    fwhm = difference.psf.fwhm_at((width - 1) / 2, (height - 1) / 2)
    planes = int(UNMEASURED)
    spline = SplinePsf.of(difference.psf)
    field = _Field(difference, spline, fwhm, fit_radius(fwhm), planes, threshold)
    neighbours = Neighbours.of(difference, peaks, spline, field.radius, planes)
    found = _candidates(field, peaks, neighbours)
    rows = np.flatnonzero(found["significance"] > threshold)
    rows = rows[np.argsort(-found["significance"][rows])][:MOST]
    out, new = peaks.copy(), []
    for i in rows.tolist():
        pair = _split(field, peaks[i], found[i], neighbours, i)
        if pair is None:
            continue
        for k, row in enumerate((out[i], peaks[i].copy())):
            row["x"], row["y"] = (int(n) for n in np.rint(pair[k, :2]))
            row["score"] = pair[k, 2]
            if k == 1:
                new.append(row)
    if not new:
        return peaks
    out = np.concatenate([out, np.array(new, peaks.dtype)])
    return np.asarray(out[np.argsort(-np.abs(out["score"]), kind="stable")])


def _candidates(field: _Field, peaks: NDArray[np.void], neighbours: Neighbours) -> NDArray[np.void]:
    found = np.zeros(len(peaks), CANDIDATE)
    difference, spline = field.difference, field.spline

    def search(start: int, stop: int) -> None:
        _search(
            *(difference.image, difference.variance, difference.mask, np.int32(field.planes)),
            *(spline.splines, spline.order, spline.frame, peaks, field.radius, field.fwhm),
            *(neighbours.first, neighbours.index, neighbours.points, 1.5 * field.threshold),
            *(found, start, stop),
        )

    in_bands(search, len(peaks))
    return found


def _split(
    field: _Field, peak: np.void, candidate: np.void, neighbours: Neighbours, number: int
) -> NDArray[np.float64] | None:
    """Return position and signed significance of both sources, shape (2, 3); `None` if there is only one."""
    difference, radius = field.difference, field.radius
    column, row = int(peak["x"]), int(peak["y"])
    size = 4 * radius + 1
    data, noise = np.empty((size, size)), np.empty((size, size))
    stamp, spline = (np.empty(field.spline.splines.shape[1:]) for _ in range(2))
    cut(difference.image, difference.variance, difference.mask, field.planes, column, row, data, noise)
    spline_at(field.spline.splines, field.spline.order, field.spline.frame, float(column), float(row), spline)
    near = neighbours.index[neighbours.first[number] : neighbours.first[number + 1]]
    subtract_neighbours(data, column, row, near, neighbours.points, spline, stamp)
    start = [(float(candidate["x"]) - column, float(candidate["y"]) - row)]
    start.append((start[0][0] + float(candidate["dx"]), start[0][1] + float(candidate["dy"])))
    v, u = np.mgrid[-2 * radius : 2 * radius + 1, -2 * radius : 2 * radius + 1]
    noise[np.min([np.hypot(u - x, v - y) for x, y in start], axis=0) > radius] = 0.0
    single, trail = np.empty(8), np.empty(12)
    fit_point(data, noise, spline, single)
    pair = fit_point_group(data, noise, spline, start)
    if not _are_two(field, pair, peak, float(single[6]), int(np.count_nonzero(noise))):
        return None
    apart = pair.places[1] - pair.places[0]
    length, angle = 1.5 * float(np.hypot(*apart)), math.atan2(apart[1], apart[0])
    fit_trail(data, noise, spline, np.array([*pair.places.mean(axis=0), length, angle]), trail)
    cost = math.log(np.count_nonzero(noise))
    if not pair.chi_squared + 6 * cost < float(trail[10]) + 5 * cost:
        return None
    significance = pair.flux / pair.flux_error / float(peak["scatter"])
    return np.column_stack([pair.places + np.array([column, row]), significance])


def _are_two(field: _Field, pair: PointGroup, peak: np.void, single: float, n: int) -> bool:
    """Return whether a fitted pair is more than one source and its residual."""
    flux = pair.flux * np.sign(peak["score"])
    apart = float(np.hypot(*(pair.places[1] - pair.places[0]))) / field.fwhm
    moved = float(np.abs(pair.places).max())
    if not (NEAREST <= apart <= 1.3 * FARTHEST and moved < 2 * field.radius and flux.min() > 0):
        return False
    if flux.min() < LEAST_SHARE * (1.5 / apart) ** 2 * flux.max():
        return False
    significance = np.abs(pair.flux) / pair.flux_error / float(peak["scatter"])
    if significance.min() < field.threshold:
        return False
    excess, left = single - n, max(pair.chi_squared - n, 0.0)
    enough = excess - left > field.threshold**2 + 3 * math.log(n)
    beyond_noise = left - 3 * math.sqrt(2 * n)
    total = float(np.sum(pair.flux**2 / pair.flux_error**2))
    return enough and beyond_noise < MISFIT * total and left < (1 - EXPLAINED) * excess + math.sqrt(2 * n)


@numba.njit(cache=True, nogil=True)
def _search(
    image: NDArray[np.float32],
    variance: NDArray[np.float32],
    mask: NDArray[np.int32],
    planes: int,
    splines: NDArray[np.float64],
    order: int,
    frame: NDArray[np.float64],
    peaks: NDArray[np.void],
    radius: int,
    fwhm: float,
    first: NDArray[np.int64],
    index: NDArray[np.int64],
    points: NDArray[np.float64],
    least: float,
    found: NDArray[np.void],
    start: int,
    stop: int,
) -> None:
    """Find the most significant light of a peak's sign around its best point source."""
    size = splines.shape[1]
    spline, stamp = np.empty((size, size)), np.empty((size, size))
    data, noise = np.empty((2 * radius + 1, 2 * radius + 1)), np.empty((2 * radius + 1, 2 * radius + 1))
    wide, wide_noise = np.empty((4 * radius + 1, 4 * radius + 1)), np.empty((4 * radius + 1, 4 * radius + 1))
    result, own, itself = np.empty(8), np.empty((1, 3)), np.zeros(1, np.int64)
    half = min(max(int(fwhm), 2), radius, size // 2)
    far = int(FARTHEST * fwhm)
    for i in range(start, stop):
        if abs(peaks[i]["score"]) < least or peaks[i]["trail_length"] > 0:
            continue
        column, row = int(peaks[i]["x"]), int(peaks[i]["y"])
        sign = 1.0 if peaks[i]["score"] > 0 else -1.0
        near = index[first[i] : first[i + 1]]
        spline_at(splines, order, frame, float(column), float(row), spline)
        cut(image, variance, mask, planes, column, row, data, noise)
        subtract_neighbours(data, column, row, near, points, spline, stamp)
        if not fit_point(data, noise, spline, result) or result[2] * sign <= 0:
            continue
        cut(image, variance, mask, planes, column, row, wide, wide_noise)
        subtract_neighbours(wide, column, row, near, points, spline, stamp)
        own[0, 0], own[0, 1], own[0, 2] = column + result[0], row + result[1], result[2]
        subtract_neighbours(wide, column, row, itself, own, spline, stamp)
        shifted_stamp(spline, 0.0, 0.0, stamp)
        middle, centre = wide.shape[0] // 2, size // 2
        best = 0.0
        for dy in range(-far, far + 1):
            for dx in range(-far, far + 1):
                distance = math.hypot(dx, dy)
                r, c = middle + round(result[1]) + dy, middle + round(result[0]) + dx
                if distance < NEAREST * fwhm or distance > FARTHEST * fwhm:
                    continue
                if min(r, c) < half or max(r, c) >= wide.shape[0] - half:
                    continue
                light = total = 0.0
                for j in range(-half, half + 1):
                    for k in range(-half, half + 1):
                        if wide_noise[r + j, c + k] > 0:
                            p = stamp[centre + j, centre + k]
                            light += p * wide[r + j, c + k]
                            total += p * p * wide_noise[r + j, c + k]
                if total > 0 and sign * light / math.sqrt(total) > best:
                    best = sign * light / math.sqrt(total)
                    found[i]["dx"], found[i]["dy"] = dx, dy
        found[i]["x"], found[i]["y"], found[i]["flux"] = own[0, 0], own[0, 1], own[0, 2]
        found[i]["significance"] = best / peaks[i]["scatter"]
