"""Correct headers that are known to be wrong, by date or exposure.

The corrections are data: the top of ``data/header_corrections.yaml`` explains
the form of a rule. An instrument's folder may have a file of the same name.
``data/exposure_corrections.csv`` has the values of single exposures, by day and
range of sequence numbers; they are applied first. More of them, one file for
each exposure, are read by `astro_metadata_translator` from the folders in
``METADATA_CORRECTIONS_PATH``.
"""

from __future__ import annotations

import csv
import functools
import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import astropy.units as u
import yaml
from astropy.coordinates import Angle
from astropy.time import Time

from .description.instrument import InstrumentError
from .description.registry import load_instrument

__all__ = ["correct_header"]

_OWN_FILE = "header_corrections.yaml"
_OBSERVED = re.compile(r"[A-Z]{2}_O_(?P<day>\d{8})_(?P<sequence>\d{5,6})", re.ASCII)
"""Identifier of an exposure of the observatory's own control system."""
_NUMBER = re.compile(r"-?\d+(\.\d*)?(e[+-]?\d+)?", re.ASCII)
_BEGIN_KEYS = ("MJD-BEG", "DATE-BEG", "MJD-OBS", "DATE-OBS")


@dataclass(frozen=True, slots=True)
class _Rule:
    """One correction: its conditions and its changes."""

    instruments: tuple[str, ...]
    why: str
    begin_from: Time | None = None
    begin_before: Time | None = None
    days: tuple[tuple[int, int], ...] | None = None
    sequences: tuple[tuple[int, int], ...] | None = None
    where: Mapping[str, Any] = field(default_factory=dict)
    set: Mapping[str, Any] = field(default_factory=dict)
    copy: Mapping[str, str] = field(default_factory=dict)
    add: Mapping[str, float] = field(default_factory=dict)
    multiply: Mapping[str, float] = field(default_factory=dict)
    wrap: tuple[str, ...] = ()
    from_position: Mapping[str, tuple[str, str, float]] = field(default_factory=dict)
    delete_text: Mapping[str, str] = field(default_factory=dict)

    def applies(self, instrument: str, header: Mapping[str, Any]) -> bool:
        if instrument not in self.instruments:
            return False
        if not (_within(header.get("DAYOBS"), self.days) and _within(header.get("SEQNUM"), self.sequences)):
            return False
        if self.begin_from is not None or self.begin_before is not None:
            begin = begin_of(header)
            if begin is None:
                return False
            if self.begin_from is not None and begin <= self.begin_from:
                return False
            if self.begin_before is not None and begin >= self.begin_before:
                return False
        return all(_holds(header.get(key), wanted) for key, wanted in self.where.items())

    def apply(self, header: MutableMapping[str, Any]) -> None:
        for key, source in self.copy.items():
            header[key] = header.get(source)
        for key, value in self.set.items():
            header[key] = value
        for key, factor in self.multiply.items():
            if _is_number(header.get(key)):
                header[key] *= factor
        for key, term in self.add.items():
            if _is_number(header.get(key)):
                header[key] += term
        for key, (source, unit, degrees) in self.from_position.items():
            if header.get(source) is not None:
                header[key] = float((Angle(header[source], unit=unit) + degrees * u.deg).to_value(unit))
        for key in self.wrap:
            if _is_number(header.get(key)):
                header[key] = (header[key] + 180.0) % 360.0 - 180.0
        for key, text in self.delete_text.items():
            if isinstance(header.get(key), str):
                header[key] = header[key].replace(text, "")


def correct_header(instrument: str, header: MutableMapping[str, Any]) -> bool:
    """Correct a header in place.

    Parameters
    ----------
    instrument
        Short name.
    header
        Keywords, merged.

    Returns
    -------
    modified
        Whether a rule applied.
    """
    modified = _correct_exposure(instrument, header)
    for rule in (*_rules(), *_own_rules(load_instrument(instrument).folder)):
        if rule.applies(instrument, header):
            rule.apply(header)
            modified = True
    return modified


def begin_of(header: Mapping[str, Any]) -> Time | None:
    """Return the begin of an LSST exposure, or `None` if the header does not say.

    Raises
    ------
    ValueError
        Raised if the keyword's value is not a time.
    """
    for key in _BEGIN_KEYS:
        value = header.get(key)
        if value is None or value == "":
            continue
        # TIMESYS was wrong for years; the clocks always ran on TAI.
        return Time(value, scale="tai", format="mjd" if key.startswith("MJD") else "fits")
    return None


def _correct_exposure(instrument: str, header: MutableMapping[str, Any]) -> bool:
    """Set the values that are known for this exposure alone."""
    found = _OBSERVED.fullmatch(str(header.get("OBSID") or header.get("IMGNAME") or ""))
    if found is None:
        return False
    sequence, modified = int(found["sequence"]), False
    for first, last, keyword, value in _exposure_corrections().get((instrument, int(found["day"])), ()):
        if first <= sequence <= last:
            header[keyword] = value
            modified = True
    return modified


@functools.cache
def _exposure_corrections() -> Mapping[tuple[str, int], list[tuple[int, int, str, str | float]]]:
    """Return first and last sequence number, keyword and value by instrument and day."""
    text = (resources.files(__package__) / "data" / "exposure_corrections.csv").read_text(encoding="utf-8")
    found: dict[tuple[str, int], list[tuple[int, int, str, str | float]]] = {}
    for row in csv.DictReader(text.splitlines()):
        value = float(row["value"]) if _NUMBER.fullmatch(row["value"]) else row["value"]
        found.setdefault((row["instrument"], int(row["day_obs"])), []).append(
            (int(row["first"]), int(row["last"]), row["keyword"], value)
        )
    return found


@functools.cache
def _rules() -> tuple[_Rule, ...]:
    text = (resources.files(__package__) / "data" / "header_corrections.yaml").read_text(encoding="utf-8")
    return tuple(_parse(rule) for rule in yaml.safe_load(text))


@functools.cache
def _own_rules(folder: Path) -> tuple[_Rule, ...]:
    """Return the rules beside the description of an instrument."""
    path = folder / _OWN_FILE
    if not path.is_file():
        return ()
    try:
        return tuple(_parse(rule) for rule in yaml.safe_load(path.read_text(encoding="utf-8")) or [])
    except (OSError, TypeError, ValueError, yaml.YAMLError) as error:
        raise InstrumentError(f"{path} is unusable: {error}") from error


def _parse(rule: dict[str, Any]) -> _Rule:
    values = dict(rule)
    for key in ("begin_from", "begin_before"):
        if key in values:
            values[key] = Time(values[key], scale="utc", format="isot")
    for key in ("days", "sequences"):
        if key in values:
            values[key] = tuple(
                (item, item) if isinstance(item, int) else tuple(item) for item in values[key]
            )
    for key in ("instruments", "wrap"):
        values[key] = tuple(values.get(key, ()))
    return _Rule(**values)


def _holds(value: Any, wanted: Any) -> bool:
    """Return whether a keyword's value satisfies a rule's condition."""
    if isinstance(wanted, dict):
        if "matches" in wanted:
            return (
                isinstance(value, str) and re.fullmatch(wanted["matches"], value, re.IGNORECASE) is not None
            )
        if "defined" in wanted:
            return (value is not None and value != "") is wanted["defined"]
        return value != wanted["not"]
    if isinstance(wanted, list):
        return value in wanted
    return bool(value == wanted)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _within(value: Any, ranges: tuple[tuple[int, int], ...] | None) -> bool:
    """Return whether an integer lies in one of some ranges; always true without ranges."""
    if ranges is None:
        return True
    digits = str(value).replace("-", "")
    return digits.isdecimal() and any(first <= int(digits) <= last for first, last in ranges)
