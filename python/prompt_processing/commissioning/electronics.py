"""Measure gain and read noise roughly, from pairs of flat and bias frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .frames import Frame

__all__ = ["CENTRE", "RoughElectronics", "measure"]

CENTRE = 400
"""Width of the square in the middle of an amplifier that is measured, pixels."""
_MOST_FLATS = 8
_SAME_LEVEL = 1.5
"""Flats of more different levels are of different filters or exposure times."""
_LINEAR_ADU = 58_000
"""Level above which a 16-bit flat may be saturated."""

Pixels = Callable[[Frame], NDArray[np.float64]]
"""Reads the middle of an amplifier's data from a frame."""


@dataclass(frozen=True, slots=True)
class RoughElectronics:
    """Measured values.

    Attributes
    ----------
    gain
        Electrons per ADU; `None` without a pair of flats.
    read_noise_adu
        ADU; `None` without a pair of bias frames.
    level
        Median of the bias, ADU; `None` without a bias.
    """

    gain: float | None
    read_noise_adu: float | None
    level: float | None


def measure(frames: Sequence[Frame], pixels: Pixels) -> RoughElectronics:
    """Measure an amplifier's gain and read noise.

    Parameters
    ----------
    frames
        Frames, of which pairs of bias and of flat frames are used.
    pixels
        Reads the middle of the amplifier's data from a frame.

    Raises
    ------
    RawFileError
        Raised if a frame is truncated.

    Notes
    -----
    The difference of two flats has twice the variance of photons and read noise, whatever the flat looks like
    (Janesick 2001). ``prompt calibrations build`` measures both properly.
    """
    biases = [pixels(frame) for frame in frames if frame.kind == "bias"][:2]
    level = float(np.median(biases[0])) if biases else None
    noise_variance = None
    if len(biases) == 2 and biases[0].shape == biases[1].shape:
        noise_variance = _variance(biases[0] - biases[1]) / 2
    read_noise = None if noise_variance is None else float(np.sqrt(noise_variance))
    gain = None
    if level is not None and (pair := _pair_of_flats(frames, pixels, level)) is not None:
        first, second = pair
        mean = [float(np.mean(flat)) - level for flat in pair]
        # Lamps flicker: the second flat is scaled to the first.
        difference = first - level - (second - level) * (mean[0] / mean[1])
        photons = _variance(difference) / (1 + mean[0] / mean[1]) - (noise_variance or 0.0)
        gain = mean[0] / photons if photons > 0 else None
    return RoughElectronics(gain, read_noise, level)


def _pair_of_flats(
    frames: Sequence[Frame], pixels: Pixels, level: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return the two brightest flats of about the same level that are not saturated."""
    flats = [pixels(frame) for frame in frames if frame.kind == "flat"][:_MOST_FLATS]
    flats = [flat for flat in flats if level < float(np.mean(flat)) and float(np.mean(flat)) < _LINEAR_ADU]
    flats.sort(key=lambda flat: -float(np.mean(flat)))
    for first, second in pairwise(flats):
        if (
            first.shape == second.shape
            and np.mean(first) - level < _SAME_LEVEL * (np.mean(second) - level)
            and not np.array_equal(first, second)
        ):
            return first, second
    return None


def _variance(values: NDArray[np.float64]) -> float:
    """Return the variance of a difference, without levels of rows and columns and outermost values."""
    # Interlaced frames and flickering lamps shift whole rows.
    values = values - np.median(values, axis=1, keepdims=True)
    values -= np.median(values, axis=0)
    for _ in range(5):
        middle, sigma = float(np.median(values)), float(np.std(values))
        kept = values[np.abs(values - middle) <= 5 * max(sigma, 1e-9)]
        if len(kept) == values.size:
            break
        values = kept
    return float(np.var(values))
