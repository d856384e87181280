"""Draw gain, read noise and saturation for each simulated amplifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from prompt_processing.instruments import Camera, Detector, load_instrument

__all__ = ["with_drawn_electronics"]


_RELATIVE = 0.1
"""Spread around the nominal values of an instrument without measured ones."""


def with_drawn_electronics(camera: Camera) -> Camera:
    """Draw electronic values for all amplifiers of a camera.

    Parameters
    ----------
    camera
        Camera with nominal values, which all amplifiers of a vendor share.

    Returns
    -------
    camera
        Camera with values spread as in a real focal plane. They depend only on the detector, so that a
        detector is the same in every simulated night.
    """
    spreads = load_instrument(camera.name).simulation.spreads
    return replace(
        camera,
        detectors={id_: _drawn(one, spreads.get(one.vendor, {})) for id_, one in camera.detectors.items()},
    )


def _drawn(detector: Detector, spread: Mapping[Any, tuple[float, float]]) -> Detector:
    draws = np.random.default_rng(detector.id).uniform(size=(len(detector.amplifiers), 3))

    def drawn(name: str, nominal: float, draw: float) -> float:
        low, high = spread.get(name, ((1 - _RELATIVE) * nominal, (1 + _RELATIVE) * nominal))
        return round(float(low + (high - low) * draw), 3)

    return replace(
        detector,
        amplifiers=tuple(
            replace(
                amplifier,
                gain=drawn("gain", amplifier.gain, draw[0]),
                read_noise=drawn("read_noise", amplifier.read_noise, draw[1]),
                saturation=drawn("saturation", amplifier.saturation, draw[2]),
            )
            for amplifier, draw in zip(detector.amplifiers, draws, strict=True)
        ),
    )
