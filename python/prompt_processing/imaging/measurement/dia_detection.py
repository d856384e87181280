"""Detect sources: peaks of both signs in the difference filtered with its PSF."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from prompt_processing.images import Exposure, Mask
from prompt_processing.imaging.row_bands import in_bands

from .dia_centres import centre_peaks, distinct
from .significance import Significance

PEAK = np.dtype(
    [("x", np.int32), ("y", np.int32), ("score", np.float32), ("footprint", np.int32), ("area", np.int32)]
    + [(name, np.int32) for name in ("x_min", "y_min", "x_max", "y_max")]
    + [("trail_length", np.float32), ("trail_angle", np.float32), ("scatter", np.float32)]
)
"""One row per source: peak pixel, signed significance, its footprint's number, pixels and bounding box, and,
if the footprint is one long trail, the trail's length (pixels, 0 if not) and angle (radian from x to y); and
the scatter of the score around it, 1 where the variance describes the noise."""


@dataclass(frozen=True, slots=True)
class DetectionOptions:
    """Options of the detection.

    Attributes
    ----------
    threshold : `float`
        Significance of a point source at the peak.
    half : `int`
        Half width of the PSF used as the filter, pixels.
    same_source : `float`
        Two peaks belong to one source where the significance between them
        stays above this fraction of the lower peak.
    neighbour_fraction : `float`
        Share of a brighter neighbour's profile that an imperfect PSF may leave.
    """

    threshold: float = 5.0
    half: int = 15
    same_source: float = 0.85
    neighbour_fraction: float = 0.05


def detect_dia_sources(difference: Exposure, options: DetectionOptions | None = None) -> NDArray[np.void]:
    """Detect point-like sources of both signs.

    Parameters
    ----------
    difference : `Exposure`
        Difference with white noise and a correct variance. Its mask gets
        ``DETECTED`` and ``DETECTED_NEGATIVE``, in place.
    options : `DetectionOptions`, optional
        Options of the detection.

    Returns
    -------
    peaks : `~numpy.ndarray` of `PEAK`
        Peaks, most significant first.

    Raises
    ------
    ValueError
        Raised if the difference has no PSF.

    Notes
    -----
    The score is that of `Significance`. Fainter peaks must exceed the residuals of brighter ones nearby, as
    in CLEAN.
    """
    options = options or DetectionOptions()
    if difference.psf is None:
        raise ValueError("The difference has no PSF.")
    significance = Significance.of(difference, difference.psf, options.half, options.threshold)
    score = significance.score
    positive, negative = np.int32(int(Mask.DETECTED)), np.int32(int(Mask.DETECTED_NEGATIVE))
    above: dict[int, NDArray[np.int64]] = {}
    # Reuses an array that is no longer needed: the sources touch nearly every page of new memory.
    label = significance.filtered.view(np.int32)

    def find(start: int, stop: int) -> None:
        label[start:stop] = 0
        difference.mask[start:stop] &= ~(positive | negative)
        above[start] = _find_above(score, options.threshold, start, stop)

    in_bands(find, difference.shape[0])
    positions = np.concatenate([above[start] for start in sorted(above)])
    table = _find_peaks(score, positions, label, difference.mask, options.threshold, positive, negative)
    if not len(table):
        return np.zeros(0, PEAK)
    columns = table[np.argsort(-np.abs(table[:, 2]))]
    autocorrelation = _autocorrelation(significance.central_psf.astype(np.float64))
    keep = _clean(columns, score, autocorrelation, options.threshold, options.same_source,
                  options.neighbour_fraction)  # fmt: skip
    columns = columns[keep]
    peaks = np.zeros(len(columns), PEAK)
    for name, column in zip(PEAK.names or (), columns.T, strict=False):
        peaks[name] = column
    most = math.ceil(1.5 * difference.psf.fwhm_at())
    centre_peaks(difference.image, significance.usable, significance.stamps, significance.grid, most, peaks)
    peaks = distinct(peaks)
    peaks["scatter"] = significance.scatter_at(peaks["x"], peaks["y"])
    return peaks


@numba.njit(cache=True, nogil=True)
def _find_above(score: NDArray[np.float32], threshold: float, start: int, stop: int) -> NDArray[np.int64]:
    """Return the positions in the flat image with a score beyond the threshold, in reading order."""
    width = score.shape[1]
    found = [np.int64(0)]
    found.pop()
    for row in range(start, stop):
        for column in range(width):
            if not abs(score[row, column]) < threshold:
                found.append(np.int64(row) * width + column)
    return np.array(found)


@numba.njit(cache=True, nogil=True)
def _find_peaks(
    score: NDArray[np.float32],
    positions: NDArray[np.int64],
    label: NDArray[np.int32],
    mask: NDArray[np.int32],
    threshold: float,
    positive: int,
    negative: int,
) -> NDArray[np.float64]:
    """Label connected regions beyond the threshold; return one row of `PEAK` per local maximum."""
    height, width = score.shape
    rows = [np.zeros(9)]
    rows.pop()
    stack = [np.int64(0)]
    stack.pop()
    n_footprints = 0
    for begin in positions:
        row, column = begin // width, begin % width
        value = score[row, column]
        if label[row, column] != 0:
            continue
        n_footprints += 1
        sign = 1.0 if value > 0 else -1.0
        plane = positive if value > 0 else negative
        first = len(rows)
        area = 0
        x_min = x_max = column
        y_min = y_max = row
        label[row, column] = n_footprints
        stack.append(np.int64(row) * width + column)
        while len(stack) > 0:
            position = stack.pop()
            j, i = position // width, position % width
            area += 1
            mask[j, i] |= plane
            x_min, x_max, y_min, y_max = min(x_min, i), max(x_max, i), min(y_min, j), max(y_max, j)
            here = sign * score[j, i]
            is_peak = True
            for dj in range(-1, 2):
                for di in range(-1, 2):
                    jj, ii = j + dj, i + di
                    if (dj == 0 and di == 0) or jj < 0 or jj >= height or ii < 0 or ii >= width:
                        continue
                    other = sign * score[jj, ii]
                    # Of equal neighbours, the first in reading order is the peak.
                    if other > here or (other == here and (dj < 0 or (dj == 0 and di < 0))):
                        is_peak = False
                    if other >= threshold and label[jj, ii] == 0:
                        label[jj, ii] = n_footprints
                        stack.append(jj * width + ii)
            if is_peak:
                peak = np.zeros(9)
                peak[0], peak[1], peak[2], peak[3] = i, j, score[j, i], n_footprints
                rows.append(peak)
        for k in range(first, len(rows)):
            rows[k][4] = area
            rows[k][5], rows[k][6], rows[k][7], rows[k][8] = x_min, y_min, x_max, y_max
    out = np.zeros((len(rows), 9))
    for k in range(len(rows)):
        out[k] = rows[k]
    return out


def _autocorrelation(kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the fall of a unit peak's score with the offset; shape (2 * size - 1,) squared."""
    n = 2 * kernel.shape[0] - 1
    power = np.abs(np.fft.rfft2(kernel, (n, n))) ** 2
    image = np.fft.fftshift(np.fft.irfft2(power, (n, n)))
    return np.asarray(image / image.max())


@numba.njit(cache=True, nogil=True)
def _clean(
    peaks: NDArray[np.float64],
    score: NDArray[np.float32],
    autocorrelation: NDArray[np.float64],
    threshold: float,
    same_source: float,
    neighbour_fraction: float,
) -> NDArray[np.bool_]:
    """Keep peaks that are not residuals of brighter ones; the input is sorted by brightness."""
    n = len(peaks)
    reach = autocorrelation.shape[0] // 2
    keep = np.zeros(n, np.bool_)
    order = np.argsort(peaks[:, 1])
    rank = np.empty(n, np.int64)
    for k in range(n):
        rank[order[k]] = k
    for i in range(n):
        predicted, nearest = 0.0, 0.0
        same = False
        for direction in (-1, 1):
            k = rank[i] + direction
            while 0 <= k < n:
                j = order[k]
                dy = int(peaks[i, 1] - peaks[j, 1])
                if abs(dy) > reach:
                    break
                k += direction
                dx = int(peaks[i, 0] - peaks[j, 0])
                if j >= i or not keep[j] or abs(dx) > reach:
                    continue
                left = peaks[j, 2] * autocorrelation[dy + reach, dx + reach]
                predicted += left
                nearest = max(nearest, abs(peaks[j, 2]) * abs(autocorrelation[dy + reach, dx + reach]))
                # Some light always remains beyond the modelled core.
                nearest = max(nearest, 0.03 * abs(peaks[j, 2]) / max(math.hypot(dx, dy) / 5.0, 1.0) ** 2)
                if peaks[i, 3] == peaks[j, 3]:
                    lowest = abs(peaks[i, 2])
                    steps = int(max(abs(dx), abs(dy)))
                    for s in range(1, steps):
                        y = round(peaks[j, 1] + dy * s / steps)
                        x = round(peaks[j, 0] + dx * s / steps)
                        lowest = min(lowest, abs(score[y, x]))
                    same = same or lowest > same_source * abs(peaks[i, 2])
        left_over = (peaks[i, 2] - predicted) * np.sign(peaks[i, 2])
        keep[i] = not same and left_over > threshold + neighbour_fraction * nearest
    return keep
