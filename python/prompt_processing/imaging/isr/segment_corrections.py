"""Crosstalk between amplifiers, deviation from linearity, and deferred charge, in readout order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from prompt_processing.instruments.raw_frame import Segment

from .deferred_charge import DeferredCharge, restore_deferred_charge
from .linearity import Linearity

Crosstalk = Mapping[tuple[str, str], float]
"""Ratio of the victim's signal to the aggressor's, by both amplifiers' names."""


def correct_segments(
    segments: Sequence[Segment],
    levels: Mapping[str, NDArray[np.float32]],
    linearity: Linearity,
    crosstalk: Crosstalk,
    deferred_charge: Mapping[str, DeferredCharge] | None = None,
    gains: Mapping[str, float] | None = None,
    saturation: Mapping[str, float] | None = None,
) -> tuple[Segment, ...]:
    """Remove crosstalk, then make the signals linear, then put deferred charge back.

    Parameters
    ----------
    segments
        Segments as read; they are not modified.
    levels : mapping of `~numpy.ndarray` of float32, shape (rows,)
        Zero level of each row of the data, ADU, by amplifier.
    linearity, crosstalk, deferred_charge
        Corrections by amplifier; amplifiers without one are unchanged.
    gains
        Electrons per ADU by amplifier, for those with deferred charge.
    saturation
        Signal, ADU, from which a pixel is saturated, by amplifier; no correction of linearity lowers such a
        pixel, so that it stays saturated.

    Returns
    -------
    corrected
        Segments with float32 data.
    """
    signals = {
        segment.name: segment.data[segment.data_section].astype(np.float32)
        - levels[segment.name][:, np.newaxis]
        for segment in segments
    }
    corrected = []
    for segment in segments:
        signal = signals[segment.name]
        shares = [
            (ratio, signals[aggressor])
            for (victim, aggressor), ratio in crosstalk.items()
            if victim == segment.name and aggressor in signals and signals[aggressor].shape == signal.shape
        ]
        if shares:
            signal = signal.copy()
            for ratio, other in shares:
                signal -= np.float32(ratio) * other
        if segment.name in linearity:
            linear = linearity[segment.name].correct(signal)
            full = np.inf if saturation is None else saturation[segment.name]
            signal = np.where(signal >= full, np.maximum(signal, linear), linear)
        if deferred_charge and gains and segment.name in deferred_charge:
            electrons = signal * np.float32(gains[segment.name])
            restore_deferred_charge(electrons, deferred_charge[segment.name])
            signal = electrons / np.float32(gains[segment.name])
        data = segment.data.astype(np.float32)
        data[segment.data_section] = signal + levels[segment.name][:, np.newaxis]
        corrected.append(replace(segment, data=data))
    return tuple(corrected)
