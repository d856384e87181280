"""Put charge back that arrives late at the output of an amplifier (Snyder et al. 2021, JATIS 7, 048002)."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from prompt_processing.imaging.errors import UnusableCalibrationError

__all__ = ["TRAP_KINDS", "DeferredCharge", "SerialTrap", "restore_deferred_charge"]

TRAP_KINDS = ("linear", "logistic", "spline")
"""Forms of the charge that a trap captures."""

_LINEAR, _LOGISTIC, _SPLINE, _NONE = range(4)


@dataclass(frozen=True, slots=True, eq=False)
class SerialTrap:
    """A trap in the serial register.

    Attributes
    ----------
    size
        Most charge that it holds, electrons.
    emission_time
        Time constant of the release, transfers.
    kind
        One of `TRAP_KINDS`.
    coefficients
        Captured fraction (linear); half-full signal and slope (logistic); signals, then captured charges,
        both in electrons (spline, interpolated linearly and constant beyond its ends).
    """

    size: float
    emission_time: float
    kind: str
    coefficients: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class DeferredCharge:
    """Deferred charge of one amplifier.

    Attributes
    ----------
    drift_scale, decay_time
        Offset that a signal leaves behind, as a fraction of it, and how many transfers it takes to decay;
        a scale of 0 means none.
    global_cti
        Fraction of a pixel's charge that each transfer leaves behind.
    trap
        `None` if there is none.
    """

    drift_scale: float = 0.0
    decay_time: float = 1.0
    global_cti: float = 0.0
    trap: SerialTrap | None = None

    def __post_init__(self) -> None:
        numbers = [self.drift_scale, self.decay_time, self.global_cti]
        if self.trap is not None:
            kind, given = self.trap.kind, len(self.trap.coefficients)
            enough = {"linear": given >= 1, "logistic": given >= 2, "spline": given >= 4 and given % 2 == 0}
            if kind not in enough:
                raise UnusableCalibrationError(
                    f"A trap is of the kind {kind!r}; those that are known are {', '.join(TRAP_KINDS)}"
                )
            if not enough[kind]:
                raise UnusableCalibrationError(f"A {kind} trap has {given} coefficient(s)")
            numbers += [self.trap.size, self.trap.emission_time, *self.trap.coefficients]
            if not self.trap.emission_time > 0:
                raise UnusableCalibrationError(f"A trap has an emission time of {self.trap.emission_time}")
        if not np.isfinite(numbers).all() or not self.decay_time > 0:
            raise UnusableCalibrationError(
                f"The deferred charge has unusable numbers: {', '.join(f'{one:g}' for one in numbers)}"
            )


def restore_deferred_charge(signal: NDArray[np.float32], model: DeferredCharge) -> None:
    """Remove deferred charge from where it arrived, and put trapped charge back, in place.

    Parameters
    ----------
    signal : `~numpy.ndarray` of float32, shape (rows, columns)
        Electrons above the zero level in readout order: column 0 is read first.
    model
        The amplifier's.

    Notes
    -----
    The offset and the charge in a trap at a pixel are the larger of what its own signal, or that of the pixel
    before it, sets, and of what is left from earlier pixels. The sums reach back to the start of the row; the
    Rubin stack ends them after 15 and 6 pixels, where they have decayed.
    """
    trap = model.trap
    if model.drift_scale <= 0 and trap is None:
        return
    kind = _NONE if trap is None else TRAP_KINDS.index(trap.kind)
    _restore(
        signal,
        max(model.drift_scale, 0.0),
        float(np.exp(-1 / model.decay_time)),
        kind,
        0.0 if trap is None else trap.size,
        0.0 if trap is None else float(np.exp(-1 / trap.emission_time)),
        np.zeros(2) if trap is None else np.asarray(trap.coefficients, np.float64),
        1.0 - model.global_cti,
    )


@numba.njit(cache=True, nogil=True)
def _captured(kind: int, size: float, coefficients: NDArray[np.float64], signal: float) -> float:
    if kind == _LINEAR:
        return min(size, signal * coefficients[0])
    if kind == _LOGISTIC:
        return float(size / (1.0 + np.exp(-coefficients[1] * (signal - coefficients[0]))))
    half = len(coefficients) // 2
    if signal <= coefficients[0]:
        return float(coefficients[half])
    for i in range(1, half):
        if signal <= coefficients[i]:
            share = (signal - coefficients[i - 1]) / (coefficients[i] - coefficients[i - 1])
            below, above = coefficients[half + i - 1], coefficients[half + i]
            return float(below + share * (above - below))
    return float(coefficients[-1])


@numba.njit(cache=True, nogil=True)
def _restore(
    signal: NDArray[np.float32],
    scale: float,
    drift: float,
    kind: int,
    size: float,
    release: float,
    coefficients: NDArray[np.float64],
    transferred: float,
) -> None:
    for row in range(signal.shape[0]):
        offset = 0.0
        occupied = 0.0
        for column in range(signal.shape[1]):
            value = float(signal[row, column])
            offset = max(scale * max(value, 0.0), drift * offset)
            value -= offset
            if kind != _NONE:
                capture = _captured(kind, size, coefficients, max(value, 0.0))
                arrived = occupied * (1.0 - release)
                lost = max(capture - occupied * release, 0.0)
                occupied = max(capture, release * occupied)
                value -= transferred * (arrived - lost)
            signal[row, column] = value
