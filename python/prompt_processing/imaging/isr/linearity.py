"""Deviation of an amplifier from linearity, and its correction.

The forms are those of the Rubin stack's linearizers: polynomials, splines, and lookup tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prompt_processing.imaging.errors import UnusableCalibrationError

__all__ = ["AmplifierLinearity", "Linearity", "LookupTable", "Polynomial", "Splines"]


@dataclass(frozen=True, slots=True)
class Polynomial:
    """Powers of the signal, from its square on: ``true = x + c[0] x^2 + c[1] x^3 + ...``."""

    coefficients: tuple[float, ...]

    def __post_init__(self) -> None:
        _require_finite("A coefficient of a polynomial", self.coefficients)

    def correct(self, signal: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the true signal; of any shape, in the unit of the coefficients."""
        factor = np.zeros_like(signal)
        for coefficient in reversed(self.coefficients):
            factor = (factor + np.float32(coefficient)) * signal
        corrected: NDArray[np.float32] = signal * (np.float32(1) + factor)
        return corrected


class Splines:
    """Akima splines of what to subtract, the second of what the first has corrected.

    Parameters
    ----------
    nodes
        Increasing signals, and what to subtract at each; one pair or several. Beyond the nodes the correction
        is that of the nearest.

    Raises
    ------
    UnusableCalibrationError
        Raised if nodes are not finite, do not increase, or are fewer than two.
    """

    def __init__(self, nodes: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> None:
        # Takes a tenth of a second to import, and only splines need it.
        from scipy.interpolate import Akima1DInterpolator

        self._splines = []
        for signals, values in nodes:
            _require_finite("A node of a spline", (*signals, *values))
            if len(signals) < 2 or (np.diff(signals) <= 0).any():
                raise UnusableCalibrationError("The nodes of a spline for linearity do not increase")
            self._splines.append((Akima1DInterpolator(signals, values, method="akima"), signals))

    def correct(self, signal: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the true signal; of any shape, in the unit of the nodes."""
        for spline, signals in self._splines:
            within = np.clip(signal, signals[0], signals[-1])
            signal = (signal - spline(within)).astype(np.float32)
        return signal


@dataclass(frozen=True, slots=True, eq=False)
class LookupTable:
    """What to add to each integer signal.

    Attributes
    ----------
    values : `~numpy.ndarray`, shape (n,)
        What to add; signals beyond the table use its ends.
    offset
        Added to a signal before its fraction is cut off for the index.
    """

    values: NDArray[np.float64]
    offset: float

    def __post_init__(self) -> None:
        _require_finite("The lookup table", (*self.values, self.offset))
        if not len(self.values):
            raise UnusableCalibrationError("The lookup table for linearity is empty")

    def correct(self, signal: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the true signal; of any shape, in the unit of the table."""
        last = len(self.values) - 1
        index = np.clip(signal + np.float32(self.offset), 0, last).astype(np.intp)
        corrected: NDArray[np.float32] = signal + self.values.astype(np.float32)[index]
        return corrected


AmplifierLinearity = Polynomial | Splines | LookupTable
"""Correction of one amplifier."""

Linearity = Mapping[str, AmplifierLinearity]
"""Correction of the signal in ADU, by amplifier."""


def _require_finite(what: str, values: Sequence[float]) -> None:
    if not np.isfinite(np.asarray(values, float)).all():
        raise UnusableCalibrationError(f"{what} for linearity is not finite")
