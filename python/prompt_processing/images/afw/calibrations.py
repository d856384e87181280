"""Linearity, photon transfer, crosstalk and other calibrations that the stack's ``ip_isr`` wrote."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table
from numpy.typing import NDArray

from ..damaged_files import naming_the_file
from .archive import text_of
from .errors import StackFileError, UnreadableTypeError

__all__ = [
    "Crosstalk",
    "IsrCalibration",
    "Linearizer",
    "PhotonTransfer",
    "read_crosstalk",
    "read_isr_calibration",
    "read_linearizer",
    "read_photon_transfer",
]


@dataclass(frozen=True, slots=True, eq=False)
class IsrCalibration:
    """Any calibration of the stack: its tables as written.

    Attributes
    ----------
    kind
        Its ``OBSTYPE``, such as ``PTC`` or ``CTI``.
    metadata
        Keywords.
    tables
        In the order of the file.
    """

    kind: str
    metadata: Mapping[str, Any]
    tables: tuple[Table, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Linearizer:
    """Correction of the amplifiers' non-linearity.

    Attributes
    ----------
    kind
        Functional form by amplifier: ``Spline``, ``DoubleSpline``, ``Polynomial``, ``Squared``,
        ``LookupTable``, ``Proportional`` or ``None``.
    coefficients
        Its parameters by amplifier.
    unit
        Unit of the counts to which it applies, ``adu`` or ``electron``.
    table
        Rows of the lookup table; `None` without one.
    metadata
        Keywords.
    """

    kind: Mapping[str, str]
    coefficients: Mapping[str, NDArray[np.float64]]
    unit: str
    table: NDArray[np.float64] | None
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class PhotonTransfer:
    """Results of photon transfer curves.

    Attributes
    ----------
    gain, noise, turnoff
        Electrons per ADU, read noise (electrons), and level (ADU) to which the curve was fitted, by
        amplifier; NaN where not measured.
    bad
        Amplifiers without a usable curve.
    metadata
        Keywords.
    """

    gain: Mapping[str, float]
    noise: Mapping[str, float]
    turnoff: Mapping[str, float]
    bad: frozenset[str]
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Crosstalk:
    """Signal of each amplifier of a detector that appears in the others.

    Attributes
    ----------
    coefficients : `~numpy.ndarray`, shape (n, n)
        Fraction of the signal of the column's amplifier that appears in the row's, in the order of the
        camera's amplifiers.
    squared : `~numpy.ndarray` or `None`, shape (n, n)
        Coefficients of the signal's square.
    between_detectors : mapping of `~numpy.ndarray`
        Coefficients for signal of other detectors, by their names.
    unit
        Unit of the signal to which they apply.
    metadata
        Keywords.
    """

    coefficients: NDArray[np.float64]
    squared: NDArray[np.float64] | None
    between_detectors: Mapping[str, NDArray[np.float64]]
    unit: str
    metadata: Mapping[str, Any]


@naming_the_file("a calibration of the stack", StackFileError, UnreadableTypeError)
def read_isr_calibration(path: str | Path) -> IsrCalibration:
    """Read the tables and keywords of any calibration.

    Raises
    ------
    StackFileError
        Raised if the file has no table.
    """
    with warnings.catch_warnings():
        # Keywords longer than eight letters, and units that are none.
        warnings.simplefilter("ignore")
        with fits.open(path) as hdus:
            tables = tuple(
                Table.read(hdu, mask_invalid=False) for hdu in hdus if isinstance(hdu, fits.BinTableHDU)
            )
    if not tables:
        raise StackFileError(f"{path} has no table: it is not a calibration.")
    metadata = {
        key: None if isinstance(value, fits.card.Undefined) else value
        for key, value in tables[0].meta.items()
    }
    return IsrCalibration(str(metadata.get("OBSTYPE", "")).strip(), metadata, tables)


@naming_the_file("a calibration of the stack", StackFileError, UnreadableTypeError)
def read_linearizer(path: str | Path) -> Linearizer:
    """Read a linearizer.

    Raises
    ------
    StackFileError
        Raised if the file is something else.
    """
    found = read_isr_calibration(path)
    rows = _by_amplifier(found, path, "TYPE", "COEFFS")
    table = None
    if len(found.tables) > 1 and "LOOKUP_VALUES" in found.tables[1].colnames:
        table = np.asarray(found.tables[1]["LOOKUP_VALUES"], float)
    return Linearizer(
        {name: text_of(row["TYPE"]) for name, row in rows.items()},
        {name: np.atleast_1d(np.asarray(row["COEFFS"], float)) for name, row in rows.items()},
        str(found.metadata.get("LINEARITY_UNITS") or "adu"),
        table,
        found.metadata,
    )


@naming_the_file("a calibration of the stack", StackFileError, UnreadableTypeError)
def read_photon_transfer(path: str | Path) -> PhotonTransfer:
    """Read the results of photon transfer curves.

    Raises
    ------
    StackFileError
        Raised if the file is something else.
    """
    found = read_isr_calibration(path)
    rows = _by_amplifier(found, path, "GAIN", "NOISE")
    bad: set[str] = set()
    if "BAD_AMPS" in found.tables[0].colnames and rows:
        listed = next(iter(rows.values()))["BAD_AMPS"]
        bad = {text_of(name) for name in np.atleast_1d(listed).ravel()} - {""}

    def numbers(column: str) -> dict[str, float]:
        there = column in found.tables[0].colnames
        return {
            name: float(np.ravel(row[column])[0]) if there else float("nan") for name, row in rows.items()
        }

    return PhotonTransfer(
        numbers("GAIN"), numbers("NOISE"), numbers("PTC_TURNOFF"), frozenset(bad), found.metadata
    )


@naming_the_file("a calibration of the stack", StackFileError, UnreadableTypeError)
def read_crosstalk(path: str | Path) -> Crosstalk:
    """Read crosstalk coefficients.

    Raises
    ------
    StackFileError
        Raised if the file is something else.
    """
    found = read_isr_calibration(path)
    table = found.tables[0]
    if "CT_COEFFS" not in table.colnames or len(table) != 1:
        raise _wrong(path, "crosstalk", "CT_COEFFS", table)
    between = {}
    if len(found.tables) > 1 and "IC_COEFFS" in found.tables[1].colnames:
        between = {text_of(row["IC_SOURCE_DET"]): _square(row["IC_COEFFS"]) for row in found.tables[1]}
    return Crosstalk(
        _square(table["CT_COEFFS"][0]),
        _square(table["CT_COEFFS_SQR"][0]) if "CT_COEFFS_SQR" in table.colnames else None,
        between,
        str(found.metadata.get("CROSSTALK_RATIOS_UNITS") or "adu"),
        found.metadata,
    )


def _by_amplifier(found: IsrCalibration, path: str | Path, *columns: str) -> dict[str, Any]:
    table = found.tables[0]
    for column in ("AMPLIFIER_NAME", *columns):
        if column not in table.colnames:
            raise _wrong(path, "amplifiers", column, table)
    return {text_of(row["AMPLIFIER_NAME"]): row for row in table}


def _wrong(path: str | Path, wanted: str, column: str, table: Table) -> StackFileError:
    return StackFileError(
        f"{path} is not a calibration of {wanted}: "
        f"its table has no {column}, but {', '.join(table.colnames)}."
    )


def _square(values: Any) -> NDArray[np.float64]:
    flat = np.ravel(np.asarray(values, float))
    side = round(flat.size**0.5)
    if side * side != flat.size:
        raise StackFileError(f"{flat.size} crosstalk coefficients are not a square matrix.")
    return flat.reshape(side, side)
