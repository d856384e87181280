"""Convert results from the numerics' unit to the unit of the files."""

from __future__ import annotations

import re

import numpy as np
from astropy.table import Table

from ..images import Exposure

_FLUX = re.compile(r"\w*Flux(Diff)?(Err)?|residualBackground")
_SMALLEST = 1e-37
"""Range of 32-bit numbers with full precision."""


def scale_exposure(exposure: Exposure, unit: float) -> None:
    """Multiply an image by ``unit``, a power of two, in place, and its variance by the square.

    A variance too small or too large for 32 bits becomes one of 64.
    """
    if unit == 1:
        return
    exposure.image *= np.float32(unit)
    usable = exposure.variance[(exposure.variance > 0) & np.isfinite(exposure.variance)]
    extremes = (float(usable.min()), float(usable.max())) if usable.size else (1.0, 1.0)
    if not (extremes[0] * unit**2 > _SMALLEST and extremes[1] * unit**2 < 1 / _SMALLEST):
        exposure.variance = exposure.variance.astype(np.float64)
        exposure.variance *= unit**2
    else:
        exposure.variance *= np.float32(unit)
        exposure.variance *= np.float32(unit)


def scale_fluxes(sources: Table, unit: float) -> None:
    """Multiply the fluxes of a catalogue by ``unit``, in place."""
    for name in sources.colnames:
        if unit != 1 and _FLUX.fullmatch(name) and sources[name].dtype.kind == "f":
            sources[name] = np.asarray(sources[name], np.float64) * unit


def scale_summary(
    summary: dict[str, float | int | str | bool], science: float, template: float
) -> dict[str, float | int | str | bool]:
    """Return the summary of a subtraction in the units of the files.

    Parameters
    ----------
    summary : `dict`
        Summary in the units of the numerics.
    science, template : `float`
        The units of the numerics, in those of the two files.
    """
    factors = {"fluxRatio": science / template, "residualBackground": science}
    for name, unit in (("science", science), ("template", template)):
        factors |= {f"{name}Sky": unit, f"{name}Noise": unit, f"{name}Gain": 1 / unit}
    return {
        name: value * factors[name] if name in factors and isinstance(value, int | float) else value
        for name, value in summary.items()
    }
