"""The demo's night on small detectors among real servers: Kafka, S3, PostgreSQL, Redis, a schema registry."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from warm_commands import WarmCommands

pytestmark = [pytest.mark.integration, pytest.mark.services, pytest.mark.usefixtures("warm_start")]

N_VISITS = 2


@dataclass(frozen=True)
class Night:
    """What a run of the demo left."""

    output: Path
    result: dict[str, Any]

    def log(self, name: str) -> str:
        return (self.output / "logs" / f"{name}.log").read_text()


def run_demo(output: Path, night: Path, *options: str) -> Night:
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "prompt_processing",
            "demo",
            "--services",
            "--detectors=94",
            "--miniature=127x500",
            "--slew=1",
            "--exposure=6",
            f"--output={output}",
            f"--night={night}",
            *options,
        ],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        # Whoever runs the demo may have these set for other work.
        env={
            **os.environ,
            "SASQUATCH_URL": "http://127.0.0.1:9",
            "LSST_DB_AUTH": "/nowhere",
            "PLATFORM": "x",
        },
        stdin=subprocess.DEVNULL,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return Night(output, json.loads((output / "result.json").read_text()))


@pytest.fixture(scope="module")
def folder(all_software: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo-services")


@pytest.fixture(scope="module")
def over_http(folder: Path) -> Night:
    return run_demo(folder / "http", folder / "night", f"--visits={N_VISITS}", "--pause=6")


@pytest.fixture(scope="module")
def over_redis(folder: Path, over_http: Night) -> Night:
    return run_demo(folder / "redis", folder / "night", "--visits=1", "--platform=keda")


def test_every_visit_sends_its_alerts(over_http: Night) -> None:
    assert [visit["number"] for visit in over_http.result["visits"]] == [1, 2]
    for visit in over_http.result["visits"]:
        assert (visit["status"], visit["pipeline"]) == ("processed", "ApPipe")
        # Read back with a password, and decoded with the schema that the registry has under its id.
        assert visit["alerts_sent"] == visit["alerts_read_back"] > 0


def test_second_visit_finds_the_objects_of_the_first_in_postgresql(over_http: Night) -> None:
    first, second = over_http.result["visits"]
    assert first["updated_dia_objects"] == 0
    assert second["updated_dia_objects"] > 0
    assert second["alerts_with_history"] >= second["updated_dia_objects"]
    assert over_http.result["dia_objects"] >= first["new_dia_objects"]


def test_writer_has_entered_all_outputs(over_http: Night) -> None:
    for dataset_type in ("preliminary_visit_image", "difference_image", "dia_source_apdb", "apdb_marker"):
        assert over_http.result["datasets"][dataset_type] == N_VISITS
    assert over_http.result["datasets"]["promptPreload_metrics"] == N_VISITS
    exported = sum(_outcome(over_http, visit)["exported"] for visit in over_http.result["visits"])
    # The rest are init-outputs.
    assert 0 < exported < sum(over_http.result["datasets"].values())


def _outcome(night: Night, visit: dict[str, Any]) -> dict[str, Any]:
    (outcome,) = (
        entry["outcome"]
        for line in night.log("activator").splitlines()
        if '"outcome"' in line and (entry := json.loads(line)).get("group") == visit["group"]
    )
    return dict(outcome)


def test_stream_worker_does_the_same(over_redis: Night) -> None:
    (visit,) = over_redis.result["visits"]
    assert (visit["status"], visit["pipeline"]) == ("processed", "ApPipe")
    assert visit["alerts_sent"] == visit["alerts_read_back"] > 0
    assert "Ready for visits of instrument:lsstcam" in over_redis.log("worker-1")
    assert over_redis.result["datasets"]["dia_source_apdb"] == 1


def test_nothing_is_left_running_or_lying_about(
    over_http: Night, over_redis: Night, warm_start: WarmCommands
) -> None:
    listed = subprocess.run(["ps", "-wweo", "args"], capture_output=True, text=True, check=True).stdout
    for night in (over_http, over_redis):
        assert not (night.output / "work").exists()
        assert str(night.output) not in listed
    assert warm_start.running() == []
