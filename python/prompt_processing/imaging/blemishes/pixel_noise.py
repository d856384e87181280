"""The noise of single pixels, where unresolved stars or integer steps hide it."""

from __future__ import annotations

import zlib
from statistics import NormalDist

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from prompt_processing.imaging.percentiles import percentiles

NORMAL = NormalDist()

FAINTEST = 0.25
"""Share of the pairs of pixels to compare, faintest first."""

WHITE = 0.75
"""Scatter between neighbours over that between every other pixel, below which noise is correlated."""

FEWEST = 200
"""Minimum number of pairs for a measurement."""

COARSE = 0.2
"""Steps of the data above this fraction of the noise bias modes and medians."""

CLIPPED = 0.1
"""Share of pixels with exactly the lowest value above which the sky is clipped there."""

MOST_CLIPPED = 0.7
"""Larger shares leave too little of the sky to measure its noise."""

TWO_VALUES = 0.96
"""Share of the sky with one of two neighbouring values above which their step hides the noise."""

SKY_STEPS = 5
"""Steps within which pixels are sky."""


def pixel_noise(image: NDArray[np.float32], usable: NDArray[np.bool_]) -> float:
    """Measure the noise of a pixel of sky from the differences of nearby pixels.

    Parameters
    ----------
    image : `~numpy.ndarray` of float32, shape (height, width)
        Background-subtracted image.
    usable : `~numpy.ndarray` of bool, shape (height, width)
        Pixels to use.

    Returns
    -------
    noise : `float`
        Standard deviation of a pixel; NaN if too few are usable.

    Notes
    -----
    The scatter of all pixels, clipped or not, includes that of unresolved stars; two neighbours share these,
    but not their noise. Only the faintest quarter of such pairs is compared, for the same reason: sum and
    difference of two pixels' noise are independent. Where neighbours differ less than every other pixel does,
    the noise is correlated (resampled images), and pixels farther apart are compared.
    """
    # A hundred thousand pixels measure it to a per cent.
    step = max(min(image.shape) // 250, 1)
    one, two = (_difference_scatter(image, usable, lag, step) for lag in (1, 2))
    if not np.isfinite(one) or one >= WHITE * two:
        return one
    return _difference_scatter(image, usable, 4, step)


def _difference_scatter(image: NDArray[np.float32], usable: NDArray[np.bool_], lag: int, step: int) -> float:
    scatters = []
    for one, two in (
        (np.s_[::step, lag:], np.s_[::step, :-lag]),
        (np.s_[lag:, ::step], np.s_[:-lag, ::step]),
    ):
        totals = np.empty(image[one].size + 1, np.float32)
        differences = np.empty_like(totals)
        n = _pairs(image[one], image[two], usable[one], usable[two], totals, differences)
        if n < FEWEST / FAINTEST:
            continue
        limit = np.float32(percentiles(totals[:n], (100 * FAINTEST,))[0])
        chosen = differences[: _keep_below(totals, differences, n, limit)]
        low, high = percentiles(chosen, (15.865, 84.135)) if chosen.size else (np.nan, np.nan)
        scatters.append(0.5 * (high - low) / np.sqrt(2))
    return float(np.mean(scatters)) if scatters else float("nan")


@numba.njit(cache=True, nogil=True)
def _pairs(
    one: NDArray[np.float32],
    two: NDArray[np.float32],
    usable_one: NDArray[np.bool_],
    usable_two: NDArray[np.bool_],
    totals: NDArray[np.float32],
    differences: NDArray[np.float32],
) -> int:
    """Add and subtract pairs of usable pixels; return their number. Elements beyond it have no meaning."""
    n = 0
    for row in range(one.shape[0]):
        for column in range(one.shape[1]):
            first, second = one[row, column], two[row, column]
            totals[n], differences[n] = first + second, first - second
            # Without a branch, which could not be predicted.
            good = usable_one[row, column] & usable_two[row, column]
            n += int(good & np.isfinite(first) & np.isfinite(second))
    return n


@numba.njit(cache=True, nogil=True)
def _keep_below(
    totals: NDArray[np.float32], differences: NDArray[np.float32], n: int, limit: np.float32
) -> int:
    """Move the differences of pairs whose sum is below a limit to the front; return their number."""
    kept = 0
    for k in range(n):
        differences[kept] = differences[k]
        kept += totals[k] < limit
    return kept


def quantum(image: NDArray[np.float32], usable: NDArray[np.bool_]) -> float:
    """Return the step of which all values in a sample are multiples; 0 if the values have no step."""
    step = max(int(np.sqrt(image.size / 40_000)), 1)
    sample = np.unique(image[::step, ::step][usable[::step, ::step]])
    if len(sample) < 4:
        return 0.0
    steps = np.diff(sample.astype(np.float64))
    least = float(steps.min())
    if least < 100 * float(np.spacing(np.abs(sample).max())):
        # Steps of the floating-point format itself.
        return 0.0
    multiples = steps / least
    # Floats that are not integers have steps of all sizes.
    return least if np.abs(multiples - np.rint(multiples)).max() < 0.02 else 0.0


def unclipped(image: NDArray[np.float32], usable: NDArray[np.bool_]) -> NDArray[np.float32] | None:
    """Return an image with normal noise in place of a sky that is clipped from below.

    Returns `None` if it is not clipped: at most `CLIPPED` of the pixels have the lowest value, or these are
    not scattered like noise, or are those without a photon. Medians, modes and scatters of a clipped sky are
    all wrong.
    """
    sample = image[::4, ::4][usable[::4, ::4]]
    if sample.size and np.count_nonzero(sample == sample.min()) < 0.5 * CLIPPED * sample.size:
        # In a clipped sky, at least twice as many pixels have the lowest value.
        return None
    values = image[usable]
    if values.size < FEWEST:
        return None
    floor = values.min()
    at_floor = usable & (image == floor)
    share = np.count_nonzero(at_floor) / values.size
    together = np.count_nonzero(at_floor[:, 1:] & at_floor[:, :-1]) / np.count_nonzero(at_floor)
    if not CLIPPED < share < MOST_CLIPPED or together > 0.5 * (1 + share):
        return None
    counts = np.unique(values, return_counts=True)[1][:3].astype(float)
    if len(counts) < 3 or counts[0] * counts[2] < counts[1] ** 2:
        # In a Poisson distribution the product is half of the square.
        return None
    # Two percentiles of what is left, as far below the stars as possible.
    low = share + 0.1 * (1 - share)
    high = share + 0.6 * (1 - share)
    values_at = np.quantile(values, [low, high])
    z_floor, z_low, z_high = (NORMAL.inv_cdf(q) for q in (share, low, high))
    scatter = float(values_at[1] - values_at[0]) / (z_high - z_low)
    if not scatter > 0:
        return None
    level = float(values_at[0]) - z_low * scatter
    random = random_numbers(image).random(np.count_nonzero(at_floor)) * NORMAL.cdf(z_floor)
    out = image.copy()
    out[at_floor] = np.minimum(level + scatter * ndtri(np.maximum(random, 1e-6)), floor)
    return out


def hides_noise(image: NDArray[np.float32], usable: NDArray[np.bool_], step: float) -> bool:
    """Return whether steps are so coarse that two values make up nearly all of the sky.

    Its scatter then depends on where its level lies between two steps, and is up to 4 times smaller than
    the error of a step. Counts of single photons also have few values, but these hold all information.
    """
    values = np.rint(image[usable] / np.float32(step)).astype(np.int64)
    if not values.size:
        return False
    values -= int(np.median(values))
    counts = np.bincount(values[np.abs(values) <= SKY_STEPS] + SKY_STEPS, minlength=2 * SKY_STEPS + 1)
    shares = counts / counts.sum()
    pairs = shares[:-1] + shares[1:]
    if pairs.max() < TWO_VALUES:
        return False
    mode = int(np.argmax(shares))
    if mode + 2 < len(shares) and shares[:mode].sum() < 1e-4 < shares[mode + 1]:
        # The next share of a Poisson distribution follows from two.
        return bool(shares[mode + 2] < 0.3 * shares[mode + 1] ** 2 / (2 * shares[mode]))
    return True


def random_numbers(image: NDArray[np.float32]) -> np.random.Generator:
    """Return random numbers that are the same each time for an image, and others for every other image."""
    return np.random.default_rng(zlib.crc32(np.ascontiguousarray(image[::5, ::5]).data))


def dithered(image: NDArray[np.float32], step: float) -> NDArray[np.float32]:
    """Return quantised values spread evenly over their steps, so that modes and medians are unbiased.

    The random numbers are the same each time.
    """
    offsets = random_numbers(image).random(image.shape, np.float32)
    return np.asarray(image + np.float32(step) * (offsets - np.float32(0.5)))
