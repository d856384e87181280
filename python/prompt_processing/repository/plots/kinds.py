"""Kinds of figures, and the places that they are of."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
from lsst.daf.butler import DatasetType

__all__ = [
    "METRICS",
    "PLOT",
    "TABS",
    "PatternError",
    "Place",
    "PlotKind",
    "PlotRef",
    "Tab",
    "kind_of",
    "matching",
    "place_text",
    "read_place",
]

PLOT = "Plot"
"""The field's storage class of figures."""
METRICS = "MetricMeasurementBundle"
"""The field's storage class of metrics."""

Tab = Literal["detector", "visit", "tract", "global"]
TABS: tuple[Tab, ...] = ("detector", "visit", "tract", "global")

_GOVERNORS = {"instrument", "skymap"}
_OBSERVATIONS = ("visit", "exposure", "group")
_WORDS = ("instrument", "skymap", "group")
_NUMBERS = ("visit", "exposure", "detector", "tract")
_LONGEST_PATTERN = 200
_LONGEST_PLACE = 300

Place = tuple[tuple[str, int | str], ...]
"""Dimensions and values that figures of a page have in common, such as instrument, visit and detector."""


class PatternError(ValueError):
    """A regular expression cannot be used; the message says why."""


@dataclass(frozen=True, slots=True, order=True)
class PlotKind:
    """A dataset type of figures.

    Attributes
    ----------
    name
        Name of the dataset type.
    dimensions
        Required dimensions without instrument and sky map.
    governors
        Those of ``instrument`` and ``skymap`` that it has.
    """

    name: str
    dimensions: tuple[str, ...]
    governors: tuple[str, ...]

    @property
    def tab(self) -> Tab:
        """Where figures of this kind are listed."""
        if "detector" in self.dimensions:
            return "detector"
        if any(one in self.dimensions for one in _OBSERVATIONS):
            return "visit"
        return "tract" if "tract" in self.dimensions else "global"

    @property
    def place_dimensions(self) -> tuple[str, ...]:
        """Dimensions of a place; those that are left distinguish figures of one place."""
        order: tuple[str, ...]
        match self.tab:
            case "detector":
                order = (*_OBSERVATIONS, "detector")
            case "visit":
                order = _OBSERVATIONS
            case "tract":
                order = ("tract",)
            case _:
                order = ()
        return (*self.governors, *(one for one in order if one in self.dimensions))


@dataclass(frozen=True, slots=True)
class PlotRef:
    """One figure.

    Attributes
    ----------
    kind
        Name of its dataset type.
    data_id
        Required dimensions and their values.
    id
        Id of the dataset.
    run
        Run that holds it; empty if unknown.
    """

    kind: str
    data_id: Place
    id: uuid.UUID
    run: str = ""

    @property
    def key(self) -> tuple[str, Place]:
        """What the same figure of another collection has in common with this one."""
        return self.kind, self.data_id


def kind_of(dataset_type: DatasetType, storage_class: str = PLOT) -> PlotKind | None:
    """Return the kind of a dataset type; `None` if it is not of figures, or of another storage class."""
    if dataset_type.storageClass_name != storage_class:
        return None
    required = dataset_type.dimensions.required
    return PlotKind(
        dataset_type.name,
        tuple(one for one in required if one not in _GOVERNORS),
        tuple(one for one in required if one in _GOVERNORS),
    )


def matching(names: Iterable[str], pattern: str) -> list[str]:
    """Return the names in which a regular expression is found, whatever the case of their letters.

    The expression is one of RE2: its time grows with the length of the names only, so that no expression
    stops a server.

    Raises
    ------
    PatternError
        Raised if the expression is wrong or too long.
    """
    given = list(names)
    if not pattern or not given:
        return given
    if len(pattern) > _LONGEST_PATTERN:
        raise PatternError(f"a regular expression has at most {_LONGEST_PATTERN} characters")
    try:
        found = pc.match_substring_regex(pa.array(given), pattern=pattern, ignore_case=True)
    except (pa.ArrowInvalid, UnicodeEncodeError) as error:
        raise PatternError(str(error)) from error
    return [name for name, one in zip(given, found.to_pylist(), strict=True) if one]


def place_text(place: Mapping[str, int | str] | Place) -> str:
    """Return a place as ``instrument=HSC,visit=12,detector=3``."""
    return ",".join(f"{name}={value}" for name, value in dict(place).items())


def read_place(text: str) -> Place:
    """Read what `place_text` wrote.

    Raises
    ------
    ValueError
        Raised if the text has another form.
    """
    if not text:
        return ()
    if len(text) > _LONGEST_PLACE:
        raise ValueError("the place is too long")
    place: list[tuple[str, int | str]] = []
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not equals or name not in (*_WORDS, *_NUMBERS):
            raise ValueError(f"a place has the form visit=12,detector=3, not {text[:60]}")
        if name in _WORDS:
            place.append((name, value))
        elif value.isascii() and value.isdecimal() and len(value) < 19:
            place.append((name, int(value)))
        else:
            raise ValueError(f"{name} is a number, not {value[:30]}")
    return tuple(place)
