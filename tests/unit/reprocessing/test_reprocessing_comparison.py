"""Two processings of the same images are compared source by source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lsst.daf.butler import Butler, CollectionType  # type: ignore[attr-defined]

from prompt_processing.reprocessing.comparison import Comparison, compare, compare_metrics
from prompt_processing.reprocessing.outputs import own_runs, read_outputs
from prompt_processing.reprocessing.picture import draw_comparison
from prompt_processing.reprocessing.report import NightComparison, as_text, write_tables
from prompt_processing.reprocessing.times import COLUMNS, compare_times, quantum_times, read_times

ARCSEC = 1 / 3600


def night(n: int = 6, visit: int = 7, detector: int = 94, ra: float = 359.9999) -> pd.DataFrame:
    """Sources 10 arcsec from each other, on both sides of RA 0."""
    number = np.arange(n)
    return pd.DataFrame(
        {
            "diaSourceId": 100 * visit + number,
            "visit": visit,
            "detector": detector,
            "ra": (ra + number * 10 * ARCSEC) % 360.0,
            "dec": -30.0,
            "psfFlux": 1000.0 + number,
            "psfFluxErr": 10.0,
            "reliability": 0.9,
            "snr": 100.0,
        }
    )


def night_of(sources: Comparison) -> NightComparison:
    metric = pd.DataFrame(
        {"visit": [7], "detector": [94], "metric": ["seeing"], "value": [0.8], "unit": ["arcsec"]}
    )
    return NightComparison(sources, compare_metrics(metric, metric), [], [], 1)


def test_processing_compared_with_itself_has_no_difference() -> None:
    both = pd.concat([night(), night(visit=8, detector=95)])
    found = compare(both, both.sample(frac=1.0, random_state=1))
    assert found.identical
    assert len(found.pairs) == 12
    assert found.by_detector[["visit", "detector", "both"]].to_numpy().tolist() == [[7, 94, 6], [8, 95, 6]]
    assert night_of(found).identical


def test_planted_differences_are_found() -> None:
    first = night()
    second = first.copy()
    second["diaSourceId"] += 50
    second.loc[1, "psfFlux"] += 25.0
    second.loc[2, "dec"] += 0.2 * ARCSEC
    second.loc[3, "reliability"] = 0.4
    second.loc[4, "ra"] += 3 * ARCSEC  # farther than the radius: lost here and found there
    second = second.drop(index=5)
    found = compare(first, second)
    assert not found.identical
    pairs = found.pairs.set_index("diaSourceId_first")
    assert pairs.index.tolist() == [700, 701, 702, 703]
    assert pairs["diaSourceId_second"].tolist() == [750, 751, 752, 753]
    assert pairs["flux_pull"].tolist() == [0.0, 2.5, 0.0, 0.0]
    assert pairs["separation_mas"].to_numpy() == pytest.approx([0.0, 0.0, 200.0, 0.0], abs=1e-3)
    assert pairs["reliability_difference"].to_numpy() == pytest.approx([0.0, 0.0, 0.0, -0.5])
    assert found.only_first["diaSourceId"].tolist() == [704, 705]
    assert found.only_second["diaSourceId"].tolist() == [754]
    row = found.by_detector.iloc[0]
    assert (row["both"], row["only_first"], row["only_second"]) == (4, 2, 1)
    assert row["largest_flux_pull"] == 2.5
    assert row["largest_reliability_difference"] == pytest.approx(0.5)


def test_any_column_counts_except_time_of_processing() -> None:
    first = night().assign(
        diaObjectId=pd.array([5, None, 7, 8, 9, 2**60], dtype="Int64"),
        extendedness=[0.1, np.nan, np.nan, 0.0, 0.0, 0.0],
        isDipole=False,
        band="r",
        timeProcessedMjdTai=61000.0,
    )
    second = first.assign(timeProcessedMjdTai=61001.0)
    assert compare(first, second).identical
    second["diaObjectId"] = pd.array([5, None, 7, 8, 9, 2**60 + 1], dtype="Int64")
    second.loc[2, "extendedness"] = 0.5
    second.loc[3, "isDipole"] = True
    second.loc[4, "reliability"] = np.nan
    second["band"] = list("rrrrrg")
    second["new"] = [1.0, *[np.nan] * 5]
    found = compare(first, second)
    changed = found.changed.set_index("column")
    assert not found.identical
    assert changed["pairs"].to_dict() == {
        "reliability": 1, "diaObjectId": 1, "extendedness": 1, "isDipole": 1, "band": 1, "new": 1
    }  # fmt: skip
    assert changed.loc["isDipole", "largest"] == 1.0
    assert np.isnan(changed.loc["reliability", "largest"])
    assert "Columns of the sources that differ:" in as_text(night_of(found), "a", "b")


def test_rounding_is_no_difference() -> None:
    first = night().assign(midpointMjdTai=61000.0)
    rounded = first.assign(psfFlux=first["psfFlux"] * (1 + 1e-6), ra=first["ra"] + 4e-13)
    assert compare(first, rounded).identical
    for name, change in (("psfFlux", 0.1), ("ra", 1e-8), ("midpointMjdTai", 1e-7), ("diaSourceId", 1)):
        changed = compare(first, rounded.assign(**{name: rounded[name] + change})).changed
        assert changed["column"].tolist() == [name]


def test_sources_of_other_visits_or_detectors_are_no_partners() -> None:
    found = compare(night(), pd.concat([night(detector=95), night(visit=8)]))
    assert found.pairs.empty
    assert found.by_detector[["only_first", "only_second"]].sum().tolist() == [6, 12]


def test_each_source_has_one_partner() -> None:
    second = pd.concat([night(1), night(1)], ignore_index=True)
    second["diaSourceId"] = [1, 2]
    second.loc[1, "dec"] += 0.1 * ARCSEC
    found = compare(night(1), second)
    assert found.pairs["diaSourceId_second"].tolist() == [1]
    assert found.only_second["diaSourceId"].tolist() == [2]


def test_night_without_sources_compares_as_empty() -> None:
    empty = night(0)
    assert compare(empty, empty).identical
    assert len(compare(empty, night()).only_second) == 6


def test_metrics_are_side_by_side() -> None:
    columns = ["visit", "detector", "metric", "value", "unit"]
    first = pd.DataFrame([[7, 94, "seeing", 0.8, "arcsec"], [7, 94, "depth", 24.0, "mag"]], columns=columns)
    second = pd.DataFrame([[7, 94, "seeing", 0.9, "arcsec"]], columns=columns)
    table = compare_metrics(first, second).set_index("metric")
    assert table.loc["seeing", "difference"] == pytest.approx(0.1)
    assert np.isnan(table.loc["depth", "second"])
    nothing = Comparison(
        *[pd.DataFrame(columns=["separation_mas", "flux_difference", "reliability_difference"])] * 4
    )
    assert not NightComparison(nothing, table.reset_index(), [], [], 1).identical


def test_report_has_numbers_tables_and_picture(tmp_path: Path) -> None:
    second = night()
    second.loc[1, "psfFlux"] += 25.0
    found = night_of(compare(night(), second.drop(index=5)))
    text = as_text(found, "LSSTCam/prompt/output-2026-11-20", "u/me/again")
    assert "5 in both, 1 only in the first, 0 only in the second" in text
    assert "largest 2.5 sigma" in text
    assert "identical" not in text
    files = write_tables(tmp_path, found)
    assert len(pd.read_parquet(files[0])) == 5
    draw_comparison(tmp_path / "comparison.png", found.sources)
    assert (tmp_path / "comparison.png").stat().st_size > 10_000


def test_inputs_of_a_processing_are_not_its_outputs(tmp_path: Path) -> None:
    Butler.makeRepo(str(tmp_path))
    with Butler.from_config(str(tmp_path), writeable=True) as butler:
        for run in ("night/first", "u/me/again/0000", "u/me/again/0001", "u/me/again2/0000"):
            butler.collections.register(run)
        butler.collections.register("u/me/again", CollectionType.CHAINED)
        # The first processing is an input: it has the night's regions.
        butler.collections.redefine_chain("u/me/again", ["u/me/again/0000", "night/first"])
        assert own_runs(butler, "u/me/again") == ["u/me/again/0000", "u/me/again/0001"]
        assert read_outputs(butler, own_runs(butler, "u/me/other"), "HSC", [1]).processed == set()
        assert read_times(butler, own_runs(butler, "u/me/again"), "HSC", [1]).empty


def test_times_are_compared_where_both_have_the_task(tmp_path: Path) -> None:
    metadata = {
        "quantum": {
            "prepUtc": ["2026-11-28T18:06:54.5+00:00"],
            "endUtc": ["2026-11-28T18:06:56.75+00:00"],
            "prepCpuTime": [6.0],
            "endCpuTime": [7.5],
        }
    }
    assert quantum_times(metadata) == (2.25, 1.5)
    assert quantum_times({"isr": {}}) is None
    rows = [(7, 94, "isr", 1.0, 0.5), (7, 94, "warp", 2.0, 1.5), (7, 95, "isr", 3.0, 0.5)]
    first = pd.DataFrame(rows, columns=COLUMNS)
    second = first.assign(seconds=first["seconds"] * 2)
    table = compare_times(first, pd.concat([second[second["task"] == "isr"]])).set_index("task")
    assert table.loc["isr", ["quanta", "seconds_first", "seconds_second"]].tolist() == [2, 2.0, 4.0]
    assert "warp" not in table.index
    # Of each visit-detector the tasks are added: 3 and 3 s.
    assert compare_times(first, second).set_index("task").loc["all", "seconds_first"] == 3.0
    assert compare_times(first, first.head(0)).empty
    sources = compare(night(), night())
    found = NightComparison(
        sources,
        compare_metrics(*[pd.DataFrame(columns=["visit", "detector", "metric", "value", "unit"])] * 2),
        [],
        [],
        1,
        compare_times(first, second),
    )
    assert found.identical
    assert "Seconds of the tasks" in as_text(found, "a", "b")
    assert [path.name for path in write_tables(tmp_path, found)][-1] == "times.parquet"
