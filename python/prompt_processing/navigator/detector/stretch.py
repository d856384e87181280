"""Limits and curve with which pixel values become shades of grey."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from astropy.visualization import ZScaleInterval
from numpy.typing import NDArray

__all__ = ["CURVES", "SCALES", "Curve", "Scale", "greys", "limits"]

Scale = Literal["zscale", "99.5%", "99%", "95%", "minmax"]
Curve = Literal["linear", "asinh", "sqrt", "log"]

SCALES: tuple[Scale, ...] = ("zscale", "99.5%", "99%", "95%", "minmax")
CURVES: tuple[Curve, ...] = ("linear", "asinh", "sqrt", "log")

_N_GREYS = {"log": 1024}
"""A steep curve needs more steps; each is sent to the browser."""
_MOST_SAMPLES = 250_000


def limits(values: NDArray[Any], scale: Scale, *, symmetric: bool = False) -> tuple[float, float]:
    """Return the values that are shown black and white.

    Parameters
    ----------
    values : `~numpy.ndarray`
        Pixels; only finite ones count.
    scale
        ``zscale`` as in DS9, a central percentage of the values, or all of them.
    symmetric
        Whether the limits are symmetric about zero, for a difference.
    """
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return 0.0, 1.0
    if finite.size > _MOST_SAMPLES:
        finite = finite[:: finite.size // _MOST_SAMPLES]
    if scale == "zscale":
        low, high = (float(one) for one in ZScaleInterval(n_samples=5000).get_limits(finite))
    elif scale == "minmax":
        low, high = float(finite.min()), float(finite.max())
    else:
        outside = (100 - float(scale.removesuffix("%"))) / 2
        low, high = (float(one) for one in np.percentile(finite, [outside, 100 - outside]))
    if symmetric:
        high = max(abs(low), abs(high))
        low = -high
    return (low, high) if high > low else (low, low + 1.0)


def greys(curve: Curve, *, symmetric: bool = False) -> list[str]:
    """Return the shades of values from the lower to the upper limit, in equal steps of the value.

    Since the curve is in the colours, pixel values go to the browser as they are.

    Parameters
    ----------
    curve
        How shades follow values; all but ``linear`` show faint structure.
    symmetric
        Whether the curve is symmetric about the middle.
    """
    place = np.linspace(0.0, 1.0, _N_GREYS.get(curve, 256))
    if symmetric:
        signed = 2.0 * place - 1.0
        shade = 0.5 + 0.5 * np.sign(signed) * _curved(np.abs(signed), curve)
    else:
        shade = _curved(place, curve)
    return [f"#{level:02x}{level:02x}{level:02x}" for level in np.round(255 * shade).astype(int)]


def _curved(place: NDArray[np.float64], curve: Curve) -> NDArray[np.float64]:
    match curve:
        case "asinh":
            return np.asarray(np.arcsinh(10.0 * place) / np.arcsinh(10.0))
        case "sqrt":
            return np.sqrt(place)
        case "log":
            return np.asarray(np.log10(1000.0 * place + 1.0) / np.log10(1001.0))
        case _:
            return place
