"""The report of a night sorts sources and failures, and reads all of the night."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from night_messages import START, a_visit, ended

from prompt_processing.archive.night_report import figures, tables
from prompt_processing.archive.night_report.data import read_night
from prompt_processing.archive.night_report.sources import brightest, classify, movers
from prompt_processing.domain.outcome import Status
from prompt_processing.nights.store import NightStore


def sources(n: int = 1, **columns: object) -> pd.DataFrame:
    base = {
        "diaSourceId": np.arange(n) + 100,
        "diaObjectId": pd.array(np.arange(n) + 1, "Int64"),
        "ssObjectId": pd.array([0] * n, "Int64"),
        "midpointMjdTai": 61000.0 + np.arange(n) / 24,
        "ra": 10.0,
        "dec": 0.0,
        "psfFlux": 1000.0,
        "trailLength": np.nan,
        "trailLengthErr": np.nan,
        "reliability": 0.9,
        "isDipole": False,
        "isNegative": False,
    }
    return pd.DataFrame(base | columns, index=range(n))


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({}, "new"),
        ({"ssObjectId": 7, "reliability": 0.1}, "solar system"),
        ({"trailLength": 4.0, "trailLengthErr": 0.2}, "trail"),
        ({"trailLength": 4.0, "trailLengthErr": 2.0}, "new"),
        ({"isDipole": True, "reliability": 0.1}, "dipole"),
        ({"reliability": 0.49}, "doubtful"),
        ({"isNegative": True}, "negative"),
    ],
)
def test_source_belongs_to_the_first_class_that_fits(columns: dict[str, object], expected: str) -> None:
    assert classify(sources(**columns)).tolist() == [expected]


def test_later_source_of_an_object_was_seen_before() -> None:
    table = sources(3, diaObjectId=[5, 5, 6]).iloc[::-1]
    assert classify(table).to_dict() == {0: "new", 1: "seen before", 2: "new"}


def test_rate_of_a_mover_is_measured_across_right_ascension_zero() -> None:
    table = sources(2, ssObjectId=[8, 8], ra=[359.999, 0.001], dec=60.0, psfFlux=[1000.0, 4000.0])
    found = movers(table).iloc[0]
    assert found["sources"] == 2
    assert found["rate (arcsec/h)"] == pytest.approx(0.002 * 3600 * 0.5)
    assert found["magnitude"] == pytest.approx(31.4 - 2.5 * np.log10(4000.0))
    assert movers(sources()).empty


def test_brightest_transients_are_one_for_each_object() -> None:
    table = sources(4, diaObjectId=[1, 1, 2, 3], psfFlux=[10.0, 30.0, 20.0, 99.0], isDipole=[0, 0, 0, 1])
    top = brightest(table, classify(table), 5)
    assert top["diaSourceId"].tolist() == [101, 102]
    assert len(brightest(table, classify(table), 1)) == 1


@pytest.fixture
def database(tmp_path: Path) -> str:
    path = tmp_path / "night.db"
    messages = [ended(a_visit(number, detector)) for number in (1, 2) for detector in (94, 95)]
    failed = [
        ended(a_visit(3, detector), at=START + 99, status=Status.FAILED, reason="<b>No template</b>")
        for detector in (94, 95)
    ]
    NightStore(path).write([*messages, *failed], {})
    return str(path)


def test_report_has_every_visit_detector_of_the_night(database: str) -> None:
    report = read_night("2026-05-31", "LSSTCam", database)
    assert len(report.detectors) == 6
    assert tables.summary(report).set_index("")["number"].to_dict() == {
        "visits": 3,
        "visit-detectors": 6,
        "... done": 4,
        "... failed": 2,
        "alerts sent": 40,
        "DiaSources in the APDB": 0,
        "solar-system objects": 0,
        "median seeing (arcsec)": "0.89",
        "median seconds from image to last alert": "11.0",
        "... within 60 s": "100 %",
    }
    assert tables.failures(report).iloc[0].tolist()[:3] == ["failed", "<b>No template</b>", 2]
    latency = tables.latency_percentiles(report).set_index("stage")
    assert latency.loc["pipeline", "median (s)"] == 9.0
    assert report.detectors["seeing"].dropna().round(3).tolist() == [0.894, 0.895, 0.894, 0.895]
    assert read_night("2026-06-01", "LSSTCam", database).detectors.empty


def test_every_figure_is_drawn_for_a_night_without_sources(database: str) -> None:
    for night in ("2026-05-31", "2026-06-01"):
        report = read_night(night, "", database)
        for draw in (
            figures.weather_figure,
            figures.latency_figure,
            figures.classes_figure,
            figures.coverage_figure,
            figures.cutouts_figure,
        ):
            assert draw(report).axes
        for table in (tables.summary, tables.failures, tables.movers_table, tables.transients_table):
            assert table(report) is not None
