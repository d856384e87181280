"""Signals of one amplifier that appear in the others, from bright sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prompt_processing.images.robust import MAD_TO_SIGMA
from prompt_processing.instruments import RawFrame

BRIGHT_ADU = 15_000.0
"""Least signal of a source's pixel above the background."""

LEAST_PIXELS = 30
"""Minimum number of bright pixels of an aggressor."""


@dataclass(frozen=True, slots=True, eq=False)
class CrosstalkRatios:
    """Ratios of victims' signals to aggressors', pixel by pixel in readout order.

    Attributes
    ----------
    names
        Amplifiers.
    ratios, errors : `~numpy.ndarray`, shape (n, n)
        Rows are victims, columns are aggressors; 0 and NaN where not measured.
    pixels : `~numpy.ndarray` of int64, shape (n,)
        Number of bright pixels of each aggressor.
    """

    names: tuple[str, ...]
    ratios: NDArray[np.float64]
    errors: NDArray[np.float64]
    pixels: NDArray[np.int64]


def measure_crosstalk(frames: Sequence[RawFrame], bright_adu: float = BRIGHT_ADU) -> CrosstalkRatios | None:
    """Compare the amplifiers' pixels that are read at the same time.

    Parameters
    ----------
    frames : sequence of `RawFrame`
        Raws with bright sources, such as saturated stars.
    bright_adu
        See `BRIGHT_ADU`.

    Returns
    -------
    ratios : `CrosstalkRatios` or `None`
        `None` if the detector has one amplifier, or they differ in size.
    """
    if not frames or len(frames[0].segments) < 2:
        return None
    names = tuple(segment.name for segment in frames[0].segments)
    shapes = {segment.data[segment.data_section].shape for segment in frames[0].segments}
    if len(shapes) > 1:
        return None
    n = len(names)
    xx, xy, yy = np.zeros((n, n)), np.zeros((n, n)), np.zeros((n, n))
    count, pixels = np.zeros((n, n)), np.zeros(n, np.int64)
    for frame in frames:
        data = [segment.data[segment.data_section].astype(np.float64) for segment in frame.segments]
        # Neither sources nor what they leave in the other amplifiers may shift the background.
        hidden = np.any([values - np.median(values) > 0.1 * bright_adu for values in data], axis=0)
        signals = [_above_background(values, hidden) for values in data]
        noise = [MAD_TO_SIGMA * float(np.median(np.abs(signal))) for signal in signals]
        for aggressor in range(n):
            bright = signals[aggressor] > bright_adu
            pixels[aggressor] += int(bright.sum())
            if not bright.any():
                continue
            for victim in range(n):
                if victim == aggressor:
                    continue
                # Sources of the victim's own would hide the effect.
                y = signals[victim]
                use = bright & (np.abs(y) < max(6 * noise[victim], 3e-3 * bright_adu))
                x = signals[aggressor][use]
                values = y[use]
                xx[victim, aggressor] += float(x @ x)
                xy[victim, aggressor] += float(x @ values)
                yy[victim, aggressor] += float(values @ values)
                count[victim, aggressor] += len(x)
    ratios, errors = np.zeros((n, n)), np.full((n, n), np.nan)
    enough = (count >= LEAST_PIXELS) & (xx > 0)
    ratios[enough] = xy[enough] / xx[enough]
    with np.errstate(invalid="ignore"):
        scatter = np.maximum(yy[enough] - ratios[enough] ** 2 * xx[enough], 1e-9) / (count[enough] - 1)
        errors[enough] = np.sqrt(scatter / xx[enough])
    return CrosstalkRatios(names, ratios, errors, pixels)


def _above_background(values: NDArray[np.float64], hidden: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return a segment's data above the median of their rows and columns, of which some pixels are hidden."""
    signal = values - np.median(values[~hidden] if not hidden.all() else values)
    for axis in (1, 0):
        middle = np.ma.median(np.ma.masked_array(signal, hidden), axis=axis, keepdims=True)
        signal = signal - np.ma.filled(middle, 0.0)
    return signal
