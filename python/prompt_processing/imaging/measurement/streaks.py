"""Find satellite streaks: long straight lines that appear only in the science image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from prompt_processing.images import UNUSABLE, Exposure, Mask
from prompt_processing.imaging.row_bands import in_bands


@dataclass(frozen=True, slots=True)
class StreakOptions:
    """Options of the streak search.

    Attributes
    ----------
    bin_size : `int`
        Width, pixels, of the squares in which pixels are averaged first; long streaks lose little by it.
    bin_significance : `float`
        Least significance of a square; each square counts once, however bright.
    minimum_length : `int`
        Least length, pixels; shorter streaks may be fast asteroids and are left to the trail fits.
    minimum_filling : `float`
        Least share of significant squares along the streak.
    significance : `float`
        Least significance of the number of squares on the line.
    maximum_streaks : `int`
        Maximum number of streaks to find.
    maximum_half_width : `int`
        Largest half width of the masked band, pixels.
    step : `float`
        Difference of the levels on both sides, in units of the line's height, above which it is not a streak
        but a step between amplifiers.
    """

    bin_size: int = 8
    bin_significance: float = 3.0
    minimum_length: int = 300
    minimum_filling: float = 0.6
    significance: float = 8.0
    maximum_streaks: int = 8
    maximum_half_width: int = 40
    step: float = 0.5


@dataclass(frozen=True, slots=True)
class Streak:
    """A masked streak.

    Attributes
    ----------
    x0, y0, x1, y1 : `float`
        Ends of the streak, pixels.
    half_width : `int`
        Half width of the masked band, pixels.
    brightness : `float`
        Mean of the difference over the masked pixels, its unit.
    pixels : `int`
        Number of masked pixels.
    """

    x0: float
    y0: float
    x1: float
    y1: float
    half_width: int
    brightness: float
    pixels: int

    @property
    def length(self) -> float:
        """Length, pixels."""
        return math.hypot(self.x1 - self.x0, self.y1 - self.y0)

    @property
    def angle(self) -> float:
        """Angle, degrees from the x axis towards y, 0 to 180."""
        return math.degrees(math.atan2(self.y1 - self.y0, self.x1 - self.x0)) % 180


def mask_streaks(difference: Exposure, options: StreakOptions | None = None) -> list[Streak]:
    """Find streaks of either sign and set ``STREAK`` on their pixels, in place.

    Parameters
    ----------
    difference : `Exposure`
        Difference with a correct variance.
    options : `StreakOptions`, optional
        Thresholds.

    Returns
    -------
    streaks : `list` [`Streak`]
        Streaks, most significant first.

    Notes
    -----
    A Hough transform (Duda & Hart 1972) of the significant squares of a binned image: on a
    detector those are a few thousand, so that every angle is tried in milliseconds. Its
    candidates must be filled along their length, which excludes chance alignments of sources.
    """
    options = options or StreakOptions()
    significance = _binned_significance(difference, options.bin_size)
    streaks: list[Streak] = []
    for sign in (1.0, -1.0):
        left = sign * significance > options.bin_significance
        while len(streaks) < options.maximum_streaks:
            line = _strongest_line(left, options)
            if line is None:
                break
            near, ends = line
            if ends is not None:
                streak = _mask_line(difference, sign, ends, options)
                if streak is not None:
                    streaks.append(streak)
            left &= ~near
    return streaks


def _binned_significance(difference: Exposure, size: int) -> NDArray[np.float32]:
    """Return the mean of squares of pixels over its error; 0 where too few pixels are usable."""
    height, width = (n // size for n in difference.shape)
    out = np.zeros((height, width), np.float32)
    planes = np.int32(int(UNUSABLE | Mask.SAT_TEMPLATE))
    in_bands(
        lambda start, stop: _bin(
            difference.image, difference.variance, difference.mask, planes, size, out, start, stop
        ),
        height,
    )
    return out


@numba.njit(cache=True, nogil=True)
def _bin(
    image: NDArray[np.float32],
    variance: NDArray[np.float32],
    mask: NDArray[np.int32],
    planes: int,
    size: int,
    out: NDArray[np.float32],
    start: int,
    stop: int,
) -> None:
    for row in range(start, stop):
        for column in range(out.shape[1]):
            total, noise, count = 0.0, 0.0, 0
            for y in range(row * size, (row + 1) * size):
                for x in range(column * size, (column + 1) * size):
                    value, v = image[y, x], variance[y, x]
                    if not mask[y, x] & planes and v > 0 and math.isfinite(value):
                        # One bright pixel does not make a square significant.
                        limit = 4 * math.sqrt(v)
                        total += min(max(value, -limit), limit)
                        noise += v
                        count += 1
            if count > size * size // 2:
                out[row, column] = total / math.sqrt(noise)


@numba.njit(cache=True, nogil=True)
def _hough(
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    angles: NDArray[np.float64],
    counts: NDArray[np.int32],
) -> None:
    """Count points by angle of the line's normal and distance from the origin, in squares."""
    middle = counts.shape[1] // 2
    for a in range(angles.size):
        cosine, sine = math.cos(angles[a]), math.sin(angles[a])
        for i in range(rows.size):
            counts[a, math.floor(columns[i] * cosine + rows[i] * sine + 0.5) + middle] += 1


def _strongest_line(
    significant: NDArray[np.bool_], options: StreakOptions
) -> tuple[NDArray[np.bool_], tuple[float, float, float, float] | None] | None:
    """Return the squares of the strongest line and its ends in pixels; the ends are `None` if it has gaps."""
    rows, columns = np.nonzero(significant)
    least = options.minimum_length / options.bin_size * options.minimum_filling
    if len(rows) < least:
        return None
    diagonal = math.ceil(math.hypot(*significant.shape)) + 2
    angles = np.arange(0, np.pi, 0.7 / diagonal * 2)
    counts = np.zeros((angles.size, 2 * diagonal + 1), np.int32)
    _hough(rows, columns, angles, counts)
    # A streak is a square or two wide and falls into neighbouring cells.
    sums = counts[:, :-1] + counts[:, 1:]
    place, distance = np.unravel_index(int(np.argmax(sums)), sums.shape)
    votes = int(sums[place, distance])
    share = len(rows) / significant.size
    expected = max(2 * share * diagonal, 1.0)
    if votes < least or (votes - expected) / math.sqrt(expected) < options.significance:
        return None
    normal = float(angles[place])
    offset = float(distance) - diagonal + 0.5
    normal, offset = _refined(rows, columns, normal, offset)
    away = np.abs(columns * math.cos(normal) + rows * math.sin(normal) - offset)
    chosen = away < 2.0
    along = (-columns * math.sin(normal) + rows * math.cos(normal))[chosen]
    near = np.zeros(significant.shape, np.bool_)
    near[rows[chosen], columns[chosen]] = True
    span = _longest_filled(along, options.minimum_filling)
    if span is None or (span[1] - span[0]) * options.bin_size < options.minimum_length:
        return near, None
    size, half = options.bin_size, (options.bin_size - 1) / 2
    ends = [
        (
            (offset * math.cos(normal) - t * math.sin(normal)) * size + half,
            (offset * math.sin(normal) + t * math.cos(normal)) * size + half,
        )
        for t in span
    ]
    return near, (*ends[0], *ends[1])


def _refined(
    rows: NDArray[np.int64], columns: NDArray[np.int64], normal: float, offset: float
) -> tuple[float, float]:
    """Fit the line to the points near it, by their principal axis."""
    for reach in (2.5, 1.8):
        away = np.abs(columns * math.cos(normal) + rows * math.sin(normal) - offset)
        chosen = away < reach
        x, y = columns[chosen].astype(float), rows[chosen].astype(float)
        if len(x) < 3:
            break
        values = np.cov(np.stack([x, y]))
        direction = np.linalg.eigh(values)[1][:, 1]
        normal = math.atan2(direction[0], -direction[1])
        offset = float(x.mean() * math.cos(normal) + y.mean() * math.sin(normal))
    return normal, offset


def _longest_filled(along: NDArray[np.float64], filling: float) -> tuple[float, float] | None:
    """Return the ends of the longest stretch of which the given share is filled."""
    if not len(along):
        return None
    places = np.unique(np.floor(along).astype(int))
    best: tuple[float, float] | None = None
    starts = np.flatnonzero(np.diff(places, prepend=places[0] - 100) > 8)
    for first, last in zip(starts, [*starts[1:], len(places)], strict=True):
        part = places[first:last]
        length = part[-1] - part[0] + 1
        if len(part) >= filling * length and (best is None or length > best[1] - best[0]):
            best = float(part[0]), float(part[-1]) + 1
    return best


def _mask_line(
    difference: Exposure, sign: float, ends: tuple[float, float, float, float], options: StreakOptions
) -> Streak | None:
    """Mask a line over its visible width, and to the image's edge if it ends nearby.

    The edge of a step is left alone.
    """
    x0, y0, x1, y1 = ends
    length = math.hypot(x1 - x0, y1 - y0)
    ux, uy = (x1 - x0) / length, (y1 - y0) / length
    height, width = difference.shape
    reach = options.maximum_half_width
    across, noise = np.zeros(2 * reach + 1), np.full(2 * reach + 1, np.inf)
    planes = np.int32(int(UNUSABLE | Mask.SAT_TEMPLATE))
    _profile(difference.image, difference.variance, difference.mask, planes, sign, x0, y0, ux, uy, length,
             across, noise)  # fmt: skip
    if _is_step(across, noise, options.step):
        return None
    weight = np.where(np.arange(2 * reach + 1) == reach, 0.5, 1.0) / noise
    weights = weight[reach:] + weight[reach::-1]
    usable = np.where(weights > 0, weights, 1.0)
    profile = (weight * across)[reach:] + (weight * across)[reach::-1]
    profile /= usable
    # Streaks that cross this one add light at all distances.
    profile -= max(float(np.percentile(profile[reach // 2 :], 25)), 0.0)
    seen = np.flatnonzero(profile > 3 / np.sqrt(usable) + 0.02 * profile[0])
    # Beyond a gap is something else: a star, or another streak that crosses this one.
    ends_at = np.flatnonzero(np.diff(np.concatenate([[0], seen, [2 * reach + GAP]])) > GAP)[0]
    outermost = int(seen[ends_at - 1]) if ends_at > 0 else 3
    # The faintest part of the profile is invisible but would affect a matched filter.
    half_width = min(outermost + 3, reach)
    edge = 6 * options.bin_size
    for x, y, direction in ((x0, y0, -1.0), (x1, y1, 1.0)):
        beyond = direction * edge
        if not (0 <= x + beyond * ux < width and 0 <= y + beyond * uy < height):
            if direction < 0:
                x0, y0 = x + beyond * ux, y + beyond * uy
            else:
                x1, y1 = x + beyond * ux, y + beyond * uy
    length = math.hypot(x1 - x0, y1 - y0)
    result = np.zeros(2)
    _paint_line(difference.image, difference.mask, np.int32(int(Mask.STREAK)), x0, y0, ux, uy, length,
                float(half_width), result)  # fmt: skip
    pixels = int(result[0])
    return Streak(x0, y0, x1, y1, half_width, float(result[1]) / max(pixels, 1), pixels)


GAP = 4
"""Invisible distances, pixels, that end a streak's profile; the middle of one out of focus may be darker."""

SIDES = slice(6, 30)
"""Distances from a line, pixels, at which its sides' levels are compared."""


def _is_step(across: NDArray[np.float64], noise: NDArray[np.float64], least: float) -> bool:
    """Return whether the levels on both sides of a line differ by much of its height."""
    reach = len(across) // 2
    levels, errors = [], []
    for side in (np.s_[reach:], np.s_[reach::-1]):
        values, variances = across[side][SIDES], noise[side][SIDES]
        known = np.isfinite(variances)
        if not known.any():
            return False
        levels.append(float(np.mean(values[known])))
        errors.append(float(np.sum(variances[known])) / np.count_nonzero(known) ** 2)
    height = float(np.mean(across[reach - 2 : reach + 3]))
    difference = abs(levels[0] - levels[1])
    return difference > least * height and difference > 5 * math.sqrt(sum(errors))


@numba.njit(cache=True, nogil=True)
def _profile(  # type: ignore[no-untyped-def]
    image, variance, mask, planes, sign, x0, y0, ux, uy, length, profile, noise
):
    """Average along a line as a function of the signed distance; means without pixels keep their noise."""
    reach = profile.size // 2
    for side in range(-reach, reach + 1):
        total = squares = 0.0
        count = 0
        for step in range(int(length)):
            x = round(x0 + step * ux - side * uy)
            y = round(y0 + step * uy + side * ux)
            if x < 0 or y < 0 or x >= image.shape[1] or y >= image.shape[0] or mask[y, x] & planes:
                continue
            value, v = image[y, x], variance[y, x]
            if v > 0 and math.isfinite(value):
                limit = 6 * math.sqrt(v)
                total += min(max(sign * value, -limit), limit)
                squares += v
                count += 1
        if count > 0:
            profile[side + reach] = total / count
            noise[side + reach] = squares / (count * count)


@numba.njit(cache=True, nogil=True)
def _paint_line(image, mask, plane, x0, y0, ux, uy, length, half_width, result):  # type: ignore[no-untyped-def]
    """Set a plane within a distance of a line; count the pixels and sum the finite ones."""
    height, width = image.shape
    x1, y1 = x0 + length * ux, y0 + length * uy
    top = max(int(min(y0, y1) - half_width), 0)
    bottom = min(int(max(y0, y1) + half_width) + 2, height)
    left = max(int(min(x0, x1) - half_width), 0)
    right = min(int(max(x0, x1) + half_width) + 2, width)
    for y in range(top, bottom):
        first, last = left, right
        if abs(uy) > 1e-3:
            # Range in which the band crosses this row.
            middle = x0 + (y - y0) * ux / uy
            spread = (half_width + 1) / abs(uy)
            first, last = max(int(middle - spread), left), min(int(middle + spread) + 2, right)
        for x in range(first, last):
            along = (x - x0) * ux + (y - y0) * uy
            away = abs(-(x - x0) * uy + (y - y0) * ux)
            if away <= half_width and -half_width <= along <= length + half_width:
                mask[y, x] |= plane
                result[0] += 1
                if math.isfinite(image[y, x]):
                    result[1] += image[y, x]
