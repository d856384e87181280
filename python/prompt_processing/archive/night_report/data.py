"""Read what the report of a night shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from lsst.dax.apdb.apdbSchema import ApdbTables

from prompt_processing.alerts.reading import CUTOUTS, AlertReader
from prompt_processing.apdb.preloaded_catalogs import open_apdb
from prompt_processing.nights.reading import Nights
from prompt_processing.nights.records import Detector, Visit

from ..apdb_rows import ApdbRows
from ..nights import NightInterval
from .sources import brightest, classify

__all__ = ["GOAL_S", "METRICS", "STAGES", "NightReport", "read_night"]

METRICS = {
    "seeing": ("calibrateImage.seeing_fwhm_arcsec", "seeing (arcsec)"),
    "zero_point": ("calibrateImage.zero_point_mag", "zero point (mag)"),
    "depth": ("calibrateImage.limiting_magnitude_5sigma", "limiting magnitude (5σ)"),
    "sky": ("calibrateImage.background_electrons", "sky (electrons)"),
    "coverage": ("buildTemplate.coverage", "template coverage"),
}
"""Metrics of an image: column, metric of the outcome, and label."""
STAGES = ("queue", "preload", "wait", "ingest", "pipeline", "alerts", "export", "arrival_to_alert")
"""Stages of a visit-detector, in order of time, and the time from the image's arrival to its last alert."""
GOAL_S = 60.0
"""Seconds from an image's arrival within which its alerts are to be sent."""

_PAGE = 500
_COLUMNS = [
    *(
        "visit",
        "group",
        "detector",
        "announced",
        "filter",
        "ra",
        "dec",
        "rotation",
        "survey",
        "state",
        "reason",
        "n_alerts",
        "n_sources",
    ),
    *STAGES,
    *METRICS,
]


@dataclass(frozen=True, slots=True)
class NightReport:
    """What is known of a night.

    Attributes
    ----------
    night
        ``YYYY-MM-DD``.
    instrument
        Camera.
    detectors
        One row for each visit-detector: state, reason, seconds by stage, metrics.
    sources
        DiaSources with their class; empty if no APDB was named.
    brightest
        Brightest transients.
    cutouts
        FITS files of the cutouts of these, by DiaSource and field.
    """

    night: str
    instrument: str
    detectors: pd.DataFrame
    sources: pd.DataFrame = field(default_factory=pd.DataFrame)
    brightest: pd.DataFrame = field(default_factory=pd.DataFrame)
    cutouts: Mapping[int, Mapping[str, bytes]] = field(default_factory=dict)


def read_night(
    night: str, instrument: str, database: str, apdb: str = "", alerts: str = "", transients: int = 12
) -> NightReport:
    """Read a night.

    Parameters
    ----------
    night
        ``YYYY-MM-DD``.
    instrument
        Camera.
    database
        Database of nights: URL or SQLite file.
    apdb
        Configuration of the APDB; without it, sections about sources are empty.
    alerts
        Folder of alerts, such as an archive; without it, there are no cutouts.
    transients
        Number of brightest transients.

    Raises
    ------
    NightsUnavailableError
        Raised if the database of nights cannot be read.
    RetriableError
        Raised if the APDB cannot be read.
    """
    with Nights(database) as nights:
        found = [
            _row(visit, one)
            for visit in _visits(nights, night, instrument)
            for one in _detectors(nights, visit)
        ]
    detectors = pd.DataFrame(found, columns=_COLUMNS)
    if not apdb:
        return NightReport(night, instrument, detectors)
    rows = ApdbRows(open_apdb(apdb))
    # The database's nights begin at 12:00 TAI, those of a camera perhaps not: its visits count.
    taken = detectors.dropna(subset=["visit"])
    chosen = [
        (int(visit), int(detector)) for visit, detector in zip(taken["visit"], taken["detector"], strict=True)
    ]
    chosen = chosen or list(rows.visits(NightInterval.of(night, instrument)))
    frames = list(rows.of_visits(ApdbTables.DiaSource, chosen)) if chosen else []
    if not frames:
        return NightReport(night, instrument, detectors)
    sources = pd.concat(frames, ignore_index=True)
    objects = list(rows.current_objects(sources["diaObjectId"].dropna().astype("int64").tolist()))
    previous = _previous(sources, pd.concat(objects)) if objects else None
    classes = classify(sources, previous)
    top = brightest(sources, classes, transients)
    cutouts = _cutouts(Path(alerts), set(top["diaSourceId"].tolist())) if alerts else {}
    return NightReport(night, instrument, detectors, sources.assign(class_=classes), top, cutouts)


def _visits(nights: Nights, night: str, instrument: str) -> Iterator[Visit]:
    after = None
    while True:
        page = nights.visits(int(night.replace("-", "")), _PAGE, instrument=instrument or None, after=after)
        yield from page.rows
        if (after := page.next) is None:
            return


def _detectors(nights: Nights, visit: Visit) -> Iterator[Detector]:
    yield from nights.detectors(visit.visit or visit.group, instrument=visit.instrument, limit=_PAGE)


def _row(visit: Visit, one: Detector) -> dict[str, Any]:
    seconds = {stage: one.stages.get(stage) for stage in STAGES[:-1]}
    return {
        "visit": one.visit,
        "group": one.group,
        "detector": one.detector,
        "announced": pd.Timestamp(one.announced, unit="s", tz="UTC"),
        "filter": visit.filter,
        "ra": visit.ra,
        "dec": visit.dec,
        "rotation": visit.rotation,
        "survey": visit.survey,
        "state": str(one.state),
        "reason": one.reason,
        "n_alerts": one.n_alerts,
        "n_sources": one.n_sources,
        **seconds,
        "arrival_to_alert": one.arrival_to_alert,
        **{name: one.metrics.get(metric) for name, (metric, _) in METRICS.items()},
    }


def _previous(sources: pd.DataFrame, objects: pd.DataFrame) -> pd.Series:
    """Return the number of DiaSources that each source's object had before it."""
    total = sources["diaObjectId"].map(objects.set_index("diaObjectId")["nDiaSources"])
    # Later sources of this night are in the total.
    order = sources.sort_values("midpointMjdTai", ascending=False)
    later = order.groupby("diaObjectId").cumcount().reindex(sources.index)
    return (total - 1 - later).fillna(0).clip(lower=0)


def _cutouts(folder: Path, wanted: set[int]) -> dict[int, dict[str, bytes]]:
    found: dict[int, dict[str, bytes]] = {}
    for alert in AlertReader().read(folder):
        content = alert.content
        if isinstance(content, dict) and content["diaSourceId"] in wanted:
            found[content["diaSourceId"]] = {name: content[name] for name in CUTOUTS if content.get(name)}
            if len(found) == len(wanted):
                break
    return found
