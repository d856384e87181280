"""How sharp the stars of an image are, told from cosmic rays by their halos."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from prompt_processing.images import Mask

UNSEEN = int(Mask.BAD | Mask.SAT | Mask.NO_DATA)
"""Planes of pixels whose values are unusable."""
STRIP = 64
"""Pixels of a row that are skipped together."""
_SIGNIFICANCE = 30.0
"""Of a peak whose halo can be seen above the noise."""
_OCTANT_SIGNIFICANCE = 2.0
_FALL = 2.5
"""A star's halo at 2 to 3 pixels from the peak is this many times that at 5 to 7 pixels, at least."""
_HALO, _OCTANT = 0.075, 0.035
"""Least brightness of the halo, and of each octant of it, in units of the peak.

Charge that diffuses by a pixel has 0.05 there.
"""
_ROUND = 12.0
"""Greatest ratio of the octants of a halo: a trail of charge is bright on two sides only."""
_FEWEST_STARS = 8
_QUANTILE = 10.0
"""Per cent of the stars that may be sharper: pixels on stars and galaxies are hit by chance, too."""


@numba.njit(cache=True, nogil=True)
def may_have_peak(strip, noise, sky, significance):  # type: ignore[no-untyped-def]
    """Return whether any pixel may be significant. Most strips are sky, and have none."""
    # In float32, and lower than the test itself by more than the rounding of both.
    below = np.float32(sky - 1e-6 * abs(sky))
    lower = np.float32(0.999 * significance * significance)
    some = False
    # Without branches, for the processor's vector instructions.
    for i in range(strip.shape[0]):
        above = strip[i] - below
        some |= (above > 0) & (above * above > lower * noise[i])
    return some


@numba.njit(cache=True, nogil=True)
def _has_halo(image, variance, mask, x, y, sky):  # type: ignore[no-untyped-def]
    """Return whether light surrounds a peak on all sides, and falls outwards."""
    height, width = image.shape
    if not (7 <= x < width - 7 and 7 <= y < height - 7):
        return False
    octants, noises, counts = np.zeros(8), np.zeros(8), np.zeros(8)
    far = np.empty(200)
    n_far = 0
    for dy in range(-7, 8):
        for dx in range(-7, 8):
            square = dx * dx + dy * dy
            if mask[y + dy, x + dx] & UNSEEN:
                continue
            if 3 <= square <= 10:
                octant = int((np.arctan2(dy, dx) + np.pi) / (0.25 * np.pi)) % 8
                octants[octant] += image[y + dy, x + dx] - sky
                noises[octant] += variance[y + dy, x + dx]
                counts[octant] += 1
            elif 25 <= square <= 49:
                far[n_far] = image[y + dy, x + dx] - sky
                n_far += 1
    if n_far < 40:
        return False
    peak = image[y, x] - sky
    least, most, total = np.inf, 0.0, 0.0
    for octant in range(8):
        if counts[octant] == 0:
            return False
        if octants[octant] <= _OCTANT_SIGNIFICANCE * np.sqrt(noises[octant]):
            return False
        level = octants[octant] / counts[octant]
        least, most, total = min(least, level), max(most, level), total + level / 8
    if least < _OCTANT * peak or total < _HALO * peak or most > _ROUND * least:
        return False
    return total > _FALL * np.median(far[:n_far])


@numba.njit(cache=True, nogil=True)
def _any_has_halo(image, variance, mask, sky, significance, candidates):  # type: ignore[no-untyped-def]
    for k in range(candidates.shape[0]):
        y, x = candidates[k]
        pixel = image[y, x] - sky
        bright = pixel * pixel > significance * significance * variance[y, x]
        if bright and _has_halo(image, variance, mask, x, y, sky):
            return True
    return False


@numba.njit(cache=True, nogil=True)
def _is_highest(image, mask, x, y):  # type: ignore[no-untyped-def]
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            if image[y + dy, x + dx] > image[y, x] or mask[y + dy, x + dx] & UNSEEN:
                return False
    return True


@numba.njit(cache=True, nogil=True)
def _ratios_of_stars(image, variance, mask, sky, significance, found):  # type: ignore[no-untyped-def]
    """Find peaks with a halo, and their neighbours over themselves in four directions."""
    height, width = image.shape
    n = 0
    limit = significance * significance
    for y in range(7, height - 7):
        for first in range(7, width - 7, STRIP):
            last = min(first + STRIP, width - 7)
            if not may_have_peak(image[y, first:last], variance[y, first:last], sky, significance):
                continue
            for x in range(first, last):
                pixel = image[y, x] - sky
                if pixel <= 0 or pixel * pixel <= limit * variance[y, x] or mask[y, x] & UNSEEN:
                    continue
                if not _is_highest(image, mask, x, y) or not _has_halo(image, variance, mask, x, y, sky):
                    continue
                if n == found.shape[0]:
                    return n
                for direction in range(4):
                    dx = 0 if direction == 1 else 1
                    dy = 0 if direction == 0 else (-1 if direction == 3 else 1)
                    pair = 0.5 * (image[y + dy, x + dx] + image[y - dy, x - dx]) - sky
                    found[n, direction] = pair / pixel
                n += 1
    return n


def sharp_star_ratios(
    image: NDArray[np.float32],
    variance: NDArray[np.float32],
    mask: NDArray[np.int32],
    sky: float,
    candidates: NDArray[np.int32],
) -> NDArray[np.float64] | None:
    """Return how sharp the stars are, if some are taken for cosmic rays.

    Parameters
    ----------
    image, variance, mask : shape (height, width)
        The exposure.
    sky
        Level of the sky.
    candidates : shape (n, 2)
        Row and column of each pixel that seems to be hit.

    Returns
    -------
    ratios : shape (4,) or `None`
        Mean neighbour over peak of the sharpest stars: rows, columns and both diagonals. `None` if no
        candidate has a halo, or there are too few stars.

    Notes
    -----
    A mount that jumps, or a focus that is better than expected, gives all stars a core of a pixel or two on a
    wider halo, which neither the expected seeing nor a smooth PSF model has. Cosmic rays have no such halo. A
    core that repeats over the image is the PSF.
    """
    if not _any_has_halo(image, variance, mask, sky, _SIGNIFICANCE, candidates):
        return None
    found = np.empty((20_000, 4))
    n = _ratios_of_stars(image, variance, mask, sky, _SIGNIFICANCE, found)
    return None if n < _FEWEST_STARS else np.asarray(np.percentile(found[:n], _QUANTILE, axis=0))
