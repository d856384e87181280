"""A whole simulated night on small detectors: every process of the demo, over the wire, in a hurry."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from astropy.io import fits
from warm_commands import WarmCommands

from prompt_processing.demo.alerts import decode_alert, read_alerts
from prompt_processing.navigator.nights.quality import QUALITY
from prompt_processing.nights.reading import Nights
from prompt_processing.nights.records import State

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("warm_start")]

N_VISITS = 3


def run_demo(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "prompt_processing", "demo", *arguments],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    folder = tmp_path_factory.mktemp("demo")
    home = folder / "home"
    home.mkdir()
    output = folder / "output"
    run = run_demo(
        f"--visits={N_VISITS}",
        "--miniature=127x500",
        "--slew=1",
        "--exposure=6",
        "--pause=6",
        f"--output={output}",
        HOME=str(home),
        # Whoever runs the demo may have these set for other work.
        AWS_PROFILE="nobody",
        S3_ENDPOINT_URL="http://127.0.0.1:9",
    )
    return run, output


@pytest.fixture(scope="module")
def result(demo: tuple[subprocess.CompletedProcess[str], Path]) -> dict[str, Any]:
    run, output = demo
    assert run.returncode == 0, run.stdout + run.stderr
    found: dict[str, Any] = json.loads((output / "result.json").read_text())
    return found


@pytest.fixture(scope="module")
def output(demo: tuple[subprocess.CompletedProcess[str], Path], result: dict[str, Any]) -> Path:
    return demo[1]


def test_every_visit_of_every_detector_sends_its_alerts(result: dict[str, Any]) -> None:
    visits = result["visits"]
    assert [(v["number"], v["detector"]) for v in visits] == [
        (n + 1, d) for n in range(N_VISITS) for d in (0, 94)
    ]
    for visit in visits:
        assert (visit["status"], visit["pipeline"]) == ("processed", "ApPipe")
        assert visit["alerts_sent"] == visit["alerts_read_back"] > 0
        assert visit["arrival_to_alert_s"] > 0
        assert all(
            visit[f"{stage}_s"] is not None for stage in ("preload", "wait", "ingest", "pipeline", "export")
        )


def test_every_goal_that_counts_is_met(result: dict[str, Any]) -> None:
    assert [goal["name"] for goal in result["goals"] if goal["counts"] and not goal["met"]] == []


def test_each_missed_or_spurious_source_has_a_reason(result: dict[str, Any]) -> None:
    missed = sum(visit["injected"] - visit["recovered"] for visit in result["visits"])
    spurious = sum(visit["spurious"] for visit in result["visits"])
    assert len(result["discrepancies"]) == missed + spurious
    assert all(one["reason"] for one in result["discrepancies"])


def test_injected_sources_are_recovered_and_little_else(result: dict[str, Any]) -> None:
    injected = sum(visit["injected"] for visit in result["visits"])
    recovered = sum(visit["recovered"] for visit in result["visits"])
    spurious = sum(visit["spurious"] for visit in result["visits"])
    above = sum(visit["above_threshold"] for visit in result["visits"])
    assert injected > 30
    assert recovered >= 0.9 * injected
    assert spurious < 0.2 * above


def test_later_visits_know_the_objects_of_earlier_ones(result: dict[str, Any]) -> None:
    first = [visit for visit in result["visits"] if visit["number"] == 1]
    later = [visit for visit in result["visits"] if visit["number"] > 1]
    for visit in first:
        assert visit["updated_dia_objects"] == visit["alerts_with_history"] == 0
    for visit in later:
        assert visit["alerts_with_history"] >= visit["updated_dia_objects"] > 0
    # All together: a turn of the camera moves a small detector at the field's edge by a third of its width.
    assert sum(v["updated_dia_objects"] for v in later) > sum(v["new_dia_objects"] for v in later)


def test_alerts_are_read_by_avro_and_their_cutouts_by_astropy(output: Path) -> None:
    alerts = list(read_alerts(output / "alerts"))
    assert {alert.n_cutouts for alert in alerts} == {3}
    stamp = decode_alert(alerts[0].path.read_bytes())["cutoutDifference"]
    with fits.open(io.BytesIO(stamp)) as hdus:
        assert any(hdu.data is not None for hdu in hdus)


def test_butler_command_lists_what_was_exported(output: Path, result: dict[str, Any]) -> None:
    for dataset_type in ("preliminary_visit_image", "difference_image", "dia_source_apdb", "apdb_marker"):
        assert result["datasets"][dataset_type] == 2 * N_VISITS
    assert "difference_image" in (output / "datasets.txt").read_text()


def test_tables_and_pictures_are_left(output: Path) -> None:
    for name in ("timeline", "magnitudes", "cutouts", "residuals"):
        assert (output / "pictures" / f"{name}.png").stat().st_size > 5000
    assert "Goals" in (output / "tables.txt").read_text()
    assert (output / "missed-and-spurious.csv").read_text().startswith("visit,detector")
    with (output / "visits.csv").open() as rows:
        assert len(list(csv.DictReader(rows))) == 2 * N_VISITS


def test_night_is_left_as_a_database_for_pages(output: Path, result: dict[str, Any]) -> None:
    with Nights(output / "night.db") as nights:
        (night,) = nights.nights().rows
        assert (night.n_visits, night.states[State.DONE]) == (N_VISITS, 2 * N_VISITS)
        assert {one.visit for one in nights.visits(night.night).rows} == {
            visit["visit"] for visit in result["visits"]
        }
        assert night.n_alerts > 0
        # The names of metrics that pages show first.
        assert all(QUALITY.keys() <= one.metrics.keys() for one in nights.visits(night.night).rows)


def test_nothing_is_left_running_or_lying_about(output: Path, warm_start: WarmCommands) -> None:
    assert not (output / "work").exists()
    listed = subprocess.run(["ps", "-wweo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(output) not in listed
    assert warm_start.running() == []


def test_foreign_folder_is_not_emptied(tmp_path: Path) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")
    run = run_demo(f"--output={tmp_path}")
    assert run.returncode == 1
    assert "not empty" in run.stdout
    assert precious.read_text() == "mine"


def test_unknown_detector_is_told(tmp_path: Path) -> None:
    run = run_demo("--detectors", "R99_S99", f"--output={tmp_path / 'output'}")
    assert run.returncode == 2
    assert "R99_S99" in run.stderr
