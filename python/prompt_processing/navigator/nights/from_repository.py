"""Nights and visits by what a repository has, where there is no database of nights."""

from __future__ import annotations

from dataclasses import dataclass

from lsst.daf.butler import Butler, MissingDatasetTypeError
from lsst.daf.butler.registry import (  # type: ignore[attr-defined]
    DatasetTypeError,
    MissingCollectionError,
)

from ..detector.data import IMAGES, instruments, output_chains

__all__ = ["KeptNight", "KeptVisit", "kept_detectors", "kept_nights", "kept_visits"]

_MOST_ROWS = 20_000


@dataclass(frozen=True, slots=True)
class KeptNight:
    """A night's chain of outputs."""

    night: int
    instrument: str
    chain: str


@dataclass(frozen=True, slots=True)
class KeptVisit:
    """A visit with the number of its detectors that have a difference image."""

    visit: int
    n_detectors: int


def kept_nights(butler: Butler) -> list[KeptNight]:
    """Return the newest nights that have outputs, newest first."""
    found = []
    for instrument in instruments(butler):
        for chain in output_chains(butler, instrument):
            day = chain.rpartition("/output-")[2].replace("-", "")
            if day.isdecimal():
                found.append(KeptNight(int(day), instrument, chain))
    return sorted(found, key=lambda one: (-one.night, one.instrument))


def kept_visits(butler: Butler, night: KeptNight) -> list[KeptVisit]:
    """Return the visits of a night, newest first."""
    numbers: dict[int, int] = {}
    for visit, _ in _visit_detectors(butler, night):
        numbers[visit] = numbers.get(visit, 0) + 1
    return [KeptVisit(visit, number) for visit, number in sorted(numbers.items(), reverse=True)]


def kept_detectors(butler: Butler, instrument: str, visit: int) -> tuple[str, list[int]]:
    """Return the instrument of a visit and its detectors that have a difference image."""
    for name in [instrument] if instrument else instruments(butler):
        for chain in output_chains(butler, name):
            rows = _visit_detectors(butler, KeptNight(0, name, chain), visit)
            if rows:
                return name, sorted(detector for _, detector in rows)
    return instrument, []


def _visit_detectors(butler: Butler, night: KeptNight, visit: int | None = None) -> list[tuple[int, int]]:
    fixed = {} if visit is None else {"visit": visit}
    with butler.query() as query:
        try:
            rows = (
                query.join_dataset_search(IMAGES["difference"][0], night.chain)
                .where({"instrument": night.instrument, **fixed})
                .data_ids(["visit", "detector"])
                .order_by("-visit")
                .limit(_MOST_ROWS)
            )
            return [(int(row["visit"]), int(row["detector"])) for row in rows]
        except (MissingDatasetTypeError, DatasetTypeError, MissingCollectionError):
            return []
