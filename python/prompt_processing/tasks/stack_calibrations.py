"""Calibrations of the Rubin stack in the forms that the signature removal uses."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from prompt_processing.images.afw.archive import text_of
from prompt_processing.images.afw.calibrations import (
    Crosstalk,
    IsrCalibration,
    Linearizer,
    PhotonTransfer,
)
from prompt_processing.images.afw.camera import segment_name
from prompt_processing.imaging.errors import UnusableCalibrationError
from prompt_processing.imaging.isr.linearity import AmplifierLinearity, LookupTable, Polynomial, Splines
from prompt_processing.instruments.camera import Amplifier, Detector

if TYPE_CHECKING:
    from prompt_processing.imaging.isr.deferred_charge import DeferredCharge, SerialTrap

__all__ = [
    "brighter_fatter_kernel",
    "crosstalk_ratios",
    "deferred_charge",
    "linearity_of_stack",
    "with_gain_correction",
    "with_photon_transfer",
]

_LOG = logging.getLogger(__name__)


def with_photon_transfer(detector: Detector, ptc: PhotonTransfer) -> Detector:
    """Return a detector with measured gains, read noise and, where it is lower, saturation.

    Parameters
    ----------
    detector
        With the camera's values, which stay for amplifiers that ``ptc`` calls bad or has not measured.
    ptc
        Gains (electrons per ADU), read noise (electrons), and turn-off (ADU), above which the variance no
        longer follows the signal, so that the pixel counts as saturated.

    Raises
    ------
    UnusableCalibrationError
        Raised if no amplifier has a gain.
    """
    bad = frozenset(map(segment_name, ptc.bad))
    gains = {segment_name(name): gain for name, gain in ptc.gain.items()}
    noise = {segment_name(name): value for name, value in ptc.noise.items()}
    turnoff = {segment_name(name): value for name, value in ptc.turnoff.items()}
    good = {name for name, gain in gains.items() if name not in bad and _is_positive(gain)}
    measured = good & {one.name for one in detector.amplifiers}
    if not measured:
        raise UnusableCalibrationError(f"ptc has no gain of any amplifier of {detector.name}")
    if len(measured) < len(detector.amplifiers):
        _LOG.warning(
            "ptc has gains of %d of the %d amplifiers of %s; the others are the camera's.",
            len(measured),
            len(detector.amplifiers),
            detector.name,
        )

    def of(one: Amplifier) -> Amplifier:
        if one.name not in measured:
            return one
        value = noise.get(one.name, math.nan)
        found = _with_gain(
            replace(one, read_noise=value if _is_positive(value) else one.read_noise), gains[one.name]
        )
        level = turnoff.get(one.name, math.nan)
        if _is_positive(level) and level * found.gain < found.saturation:
            found = replace(found, saturation=level * found.gain)
        return found

    return replace(detector, amplifiers=tuple(map(of, detector.amplifiers)))


def with_gain_correction(detector: Detector, correction: IsrCalibration) -> Detector:
    """Return a detector whose gains are multiplied by the factors of ``gain_correction``.

    Raises
    ------
    UnusableCalibrationError
        Raised if the table is of another form, has no amplifier of the detector, or a factor is not positive.
    """
    table = correction.tables[0]
    _require(table.colnames, {"AMP_NAME", "GAIN_ADJUSTMENT"}, "gain_correction")
    factors = {segment_name(text_of(row["AMP_NAME"])): float(row["GAIN_ADJUSTMENT"]) for row in table}
    for name, factor in factors.items():
        if not _is_positive(factor):
            raise UnusableCalibrationError(f"The factor of {name} in gain_correction is {factor}")
    if factors.keys().isdisjoint(one.name for one in detector.amplifiers):
        raise UnusableCalibrationError(f"gain_correction has no amplifier of {detector.name}")
    return replace(
        detector,
        amplifiers=tuple(
            _with_gain(one, one.gain * factors.get(one.name, 1.0)) for one in detector.amplifiers
        ),
    )


def brighter_fatter_kernel(bfk: IsrCalibration, detector: str) -> NDArray[np.float64]:
    """Return the kernel of a detector, or the mean of its amplifiers' valid kernels.

    Raises
    ------
    UnusableCalibrationError
        Raised if there is neither.
    """
    shape = tuple(int(bfk.metadata.get(f"KERNEL_D{axis}") or 0) for axis in "XY")
    for table in bfk.tables:
        if "DETECTOR" not in table.colnames or "KERNEL" not in table.colnames:
            continue
        for row in table:
            if text_of(row["DETECTOR"]) == detector:
                return _square(row["KERNEL"], shape)
    first = bfk.tables[0]
    if {"AMPLIFIER", "KERNEL"} <= set(first.colnames):
        valid = [row for row in first if "VALID" not in first.colnames or bool(row["VALID"])]
        kernels = [_square(row["KERNEL"], shape) for row in valid]
        kernels = [kernel for kernel in kernels if np.isfinite(kernel).all()]
        if kernels:
            return np.asarray(np.mean(kernels, axis=0))
    raise UnusableCalibrationError(f"bfk has no kernel of {detector}, and none of its amplifiers is valid")


def crosstalk_ratios(crosstalk: Crosstalk, detector: Detector) -> dict[tuple[str, str], float]:
    """Return the share of each aggressor's signal (ADU) that appears in each victim, by both names.

    Squares of the signal and signals of other detectors are left out.

    Raises
    ------
    UnusableCalibrationError
        Raised if there is no coefficient for each pair of amplifiers, or their unit is unknown.
    """
    amplifiers = detector.amplifiers
    if crosstalk.coefficients.shape != (len(amplifiers), len(amplifiers)):
        raise UnusableCalibrationError(
            f"crosstalk has {crosstalk.coefficients.shape[0]} amplifiers, and {detector.name} has "
            f"{len(amplifiers)}"
        )
    unit = crosstalk.unit.strip().lower()
    if unit not in {"adu", "electron", "electrons"}:
        raise UnusableCalibrationError(
            f"The unit of crosstalk is {crosstalk.unit!r}, neither adu nor electron"
        )
    found = {}
    for victim, row in zip(amplifiers, crosstalk.coefficients, strict=True):
        for aggressor, coefficient in zip(amplifiers, row, strict=True):
            if victim is aggressor or not math.isfinite(coefficient) or coefficient == 0:
                continue
            scale = 1.0 if unit == "adu" else aggressor.gain / victim.gain
            found[victim.name, aggressor.name] = float(coefficient) * scale
    return found


def deferred_charge(cti: IsrCalibration) -> dict[str, DeferredCharge]:
    """Return the deferred charge of each amplifier.

    Raises
    ------
    UnusableCalibrationError
        Raised if the tables are of another form, or a number in them is unusable.
    """
    columns = {"AMPLIFIER", "DRIFT_SCALE", "DECAY_TIME", "GLOBAL_CTI"}
    of_traps = {"AMPLIFIER", "SIZE", "EMISSION_TIME", "TYPE", "COEFFS"}
    first = cti.tables[0]
    _require(first.colnames, columns, "cti")
    # Imported late: a worker is ready before it has the numerics.
    from prompt_processing.imaging.isr.deferred_charge import DeferredCharge, SerialTrap

    traps: dict[str, SerialTrap] = {}
    for table in cti.tables[1:]:
        if "EMISSION_TIME" not in table.colnames:
            continue
        _require(table.colnames, of_traps, "cti")
        for row in table:
            # Shorter lists are filled with NaN.
            coefficients = np.atleast_1d(np.asarray(row["COEFFS"], float))
            traps[segment_name(text_of(row["AMPLIFIER"]))] = SerialTrap(
                float(row["SIZE"]),
                float(row["EMISSION_TIME"]),
                text_of(row["TYPE"]),
                coefficients[~np.isnan(coefficients)],
            )
    found = {}
    for row in first:
        name = segment_name(text_of(row["AMPLIFIER"]))
        scale = float(row["DRIFT_SCALE"])
        found[name] = DeferredCharge(
            scale,
            # Without an offset its decay may be anything.
            float(row["DECAY_TIME"]) if scale > 0 else 1.0,
            float(row["GLOBAL_CTI"]),
            traps.get(name),
        )
    return found


def linearity_of_stack(linearizer: Linearizer, detector: Detector) -> dict[str, AmplifierLinearity]:
    """Return the correction (ADU) of each amplifier that has one.

    Amplifiers whose coefficients are unusable, or of an unknown form, are left out with a warning.

    Raises
    ------
    UnusableCalibrationError
        Raised if it has no amplifier of the detector, or its unit is unknown.
    """
    unit = linearizer.unit.strip().lower()
    if unit not in {"adu", "electron", "electrons"}:
        raise UnusableCalibrationError(
            f"The unit of linearizer is {linearizer.unit!r}, neither adu nor electron"
        )
    forms = {segment_name(name): name for name in linearizer.kind}
    if forms.keys().isdisjoint(one.name for one in detector.amplifiers):
        raise UnusableCalibrationError(f"linearizer has no amplifier of {detector.name}")
    # A file that says so holds no correction, whatever its rows are.
    if not linearizer.metadata.get("HAS_LINEARITY", True):
        return {}
    missing = [one.name for one in detector.amplifiers if one.name not in forms]
    if missing:
        _LOG.warning("linearizer has no amplifier %s of %s.", ", ".join(missing), detector.name)
    found: dict[str, AmplifierLinearity] = {}
    for one in detector.amplifiers:
        if one.name in missing:
            continue
        try:
            correction = _linearity(linearizer, forms[one.name], 1.0 if unit == "adu" else one.gain)
        except UnusableCalibrationError as error:
            _LOG.warning("%s of %s is not made linear: %s", one.name, detector.name, error)
            continue
        if correction is not None:
            found[one.name] = correction
    return found


def _linearity(linearizer: Linearizer, name: str, gain: float) -> AmplifierLinearity | None:
    """Return the correction of one amplifier for ADU, of which ``gain`` make the unit of the coefficients."""
    kind, values = linearizer.kind[name], linearizer.coefficients[name]
    # Rows that are shorter than others are filled.
    while values.size and np.isnan(values[-1]):
        values = values[:-1]
    match kind.strip().lower():
        case "none" | "proportional" | "":
            return None
        case "squared" | "polynomial" as form:
            powers = values[:1] if form == "squared" else values
            if not powers.size:
                raise UnusableCalibrationError("it has no finite coefficient")
            scaled = tuple(float(value) * gain**order for order, value in enumerate(powers, start=1))
            return Polynomial(scaled) if any(scaled) else None
        case "spline":
            signals, corrections = _nodes(values, gain)
            # A dark pixel is not changed: the correction starts from nothing at no signal.
            corrections = corrections - corrections[0]
            if signals[0] != 0:
                signals, corrections = np.append(0.0, signals), np.append(0.0, corrections)
            return Splines([(signals, corrections)])
        case "doublespline":
            first, second = (int(value) for value in _counts(values))
            if values.size < 2 + 2 * (first + second):
                raise UnusableCalibrationError(f"it has too few coefficients for {first} and {second} nodes")
            rows = values[2 : 2 + 2 * first], values[2 + 2 * first : 2 + 2 * (first + second)]
            nodes = [_nodes(row, gain) for row in rows if row.size]
            return Splines(nodes) if nodes else None
        case "lookuptable":
            table = linearizer.table
            row, offset = (float(value) for value in _counts(values))
            if table is None or not 0 <= row < len(table):
                raise UnusableCalibrationError(f"there is no row {row:g} in its lookup table")
            if gain != 1.0:
                raise UnusableCalibrationError("a lookup table of electrons is not supported")
            return LookupTable(np.asarray(table[int(row)], float), offset)
        case _:
            raise UnusableCalibrationError(f"its form {kind!r} is unknown")


def _nodes(values: NDArray[np.float64], gain: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if values.size < 2 or values.size % 2:
        raise UnusableCalibrationError(f"{values.size} coefficients are no pairs of nodes and values")
    signals, corrections = np.split(values / gain, 2)
    return signals, corrections


def _counts(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the first two coefficients, which are numbers of nodes, or a row and an offset."""
    if values.size < 2 or not np.isfinite(values[:2]).all() or values[0] < 0:
        raise UnusableCalibrationError("its first two coefficients are unusable")
    return values[:2]


def _with_gain(amplifier: Amplifier, gain: float) -> Amplifier:
    """Return an amplifier with another gain; the level of its saturation is known in ADU."""
    return replace(amplifier, gain=gain, saturation=amplifier.saturation * gain / amplifier.gain)


def _is_positive(value: float) -> bool:
    return math.isfinite(value) and value > 0


def _square(values: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    flat = np.ravel(np.asarray(values, float))
    side = round(flat.size**0.5)
    wanted = shape if math.prod(shape) == flat.size else (side, side)
    if math.prod(wanted) != flat.size or wanted[0] != wanted[1] or wanted[0] % 2 == 0:
        raise UnusableCalibrationError(
            f"A kernel of bfk has {flat.size} values, which is not the square of an odd number"
        )
    return flat.reshape(wanted)


def _require(columns: list[str], wanted: set[str], name: str) -> None:
    missing = sorted(wanted - set(columns))
    if missing:
        raise UnusableCalibrationError(
            f"{name} has no {', '.join(missing)} in its table, but {', '.join(columns)}"
        )
