"""Measure gain and read noise roughly, from pairs of flat and bias frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .frames import Frame

__all__ = ["RoughElectronics", "measure"]

_CENTRE = 400
"""Width of the square in the middle of an image that is measured, pixels."""


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


def measure(frames: Sequence[Frame], image: int = 0) -> RoughElectronics:
    """Measure an amplifier's gain and read noise.

    Parameters
    ----------
    frames
        Frames, of which pairs of bias and of flat frames are used.
    image
        Which image of each.

    Raises
    ------
    RawFileError
        Raised if a frame is truncated.

    Notes
    -----
    The difference of two flats has twice the variance of photons and read noise, whatever the flat looks like
    (Janesick 2001). ``prompt calibrations build`` measures both properly.
    """
    biases = [_centre(frame.pixels(frame.images[image])) for frame in frames if frame.kind == "bias"][:2]
    flats = [_centre(frame.pixels(frame.images[image])) for frame in frames if frame.kind == "flat"][:2]
    level = float(np.median(biases[0])) if biases else None
    noise_variance = _variance(biases[0] - biases[1]) / 2 if len(biases) == 2 else None
    read_noise = None if noise_variance is None else float(np.sqrt(noise_variance))
    gain = None
    if len(flats) == 2 and level is not None and flats[0].shape == flats[1].shape:
        mean = [float(np.mean(flat)) - level for flat in flats]
        if min(mean) > 0:
            # Lamps flicker: the second flat is scaled to the first.
            difference = flats[0] - level - (flats[1] - level) * (mean[0] / mean[1])
            photons = _variance(difference) / (1 + mean[0] / mean[1]) - (noise_variance or 0.0)
            gain = mean[0] / photons if photons > 0 else None
    return RoughElectronics(gain, read_noise, level)


def _centre(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    height, width = pixels.shape
    rows = slice(max(height // 2 - _CENTRE // 2, 0), height // 2 + _CENTRE // 2)
    columns = slice(max(width // 2 - _CENTRE // 2, 0), width // 2 + _CENTRE // 2)
    return pixels[rows, columns]


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
