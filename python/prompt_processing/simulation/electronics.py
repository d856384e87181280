"""Draw gain, read noise and saturation for each simulated amplifier."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from prompt_processing.instruments import Camera, Detector

__all__ = ["with_drawn_electronics"]


@dataclass(frozen=True, slots=True)
class _Spread:
    """Lowest and highest values in a focal plane."""

    gain: tuple[float, float]
    read_noise: tuple[float, float]
    saturation: tuple[float, float]


_LSST = _Spread(gain=(1.1, 1.7), read_noise=(5.0, 10.0), saturation=(130_000, 142_000))
_SPREADS = {
    "ITL": _LSST,
    "E2V": _LSST,
    "HSC": _Spread(gain=(2.8, 3.6), read_noise=(4.0, 6.0), saturation=(140_000, 160_000)),
}
"""By vendor; gain in electrons per ADU, the others in electrons."""


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
    return replace(camera, detectors={id_: _drawn(detector) for id_, detector in camera.detectors.items()})


def _drawn(detector: Detector) -> Detector:
    spread = _SPREADS[detector.vendor]
    draws = np.random.default_rng(detector.id).uniform(size=(len(detector.amplifiers), 3))

    def between(limits: tuple[float, float], draw: float) -> float:
        low, high = limits
        return round(float(low + (high - low) * draw), 3)

    return replace(
        detector,
        amplifiers=tuple(
            replace(
                amplifier,
                gain=between(spread.gain, draw[0]),
                read_noise=between(spread.read_noise, draw[1]),
                saturation=between(spread.saturation, draw[2]),
            )
            for amplifier, draw in zip(detector.amplifiers, draws, strict=True)
        ),
    )
