"""A replayed night has the outcomes of the night, in a deployment that has none of its outputs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lsst.daf.butler import Butler
from second_deployment import outcomes_of, second_deployment, sources_in

pytestmark = pytest.mark.integration

N_VISITS = 2
LONGEST_S = 400.0


@contextmanager
def kept_demo(folder: Path) -> Iterator[Path]:
    """Run the demo on small images, and yield its output folder while its services run."""
    output = folder / "output"
    options = ("--detectors=94", "--miniature=127x500", "--slew=1", "--exposure=6", "--pause=6", "--keep")
    command = [sys.executable, "-m", "prompt_processing", "demo", f"--visits={N_VISITS}", *options]
    with (folder / "demo.log").open("wb") as log:
        demo = subprocess.Popen(
            [*command, f"--output={output}"],
            env=dict(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + LONGEST_S
        # The last that it writes before it stays.
        while not (output / "environment.sh").exists():
            assert demo.poll() is None, (folder / "demo.log").read_text()
            assert time.monotonic() < deadline, (folder / "demo.log").read_text()
            time.sleep(0.2)
        yield output
    finally:
        demo.terminate()
        demo.wait(120)


def test_replay_at_ten_times_the_speed_has_the_outcomes_of_the_night(tmp_path: Path) -> None:
    with kept_demo(tmp_path) as demo:
        with Butler.from_config(str(demo / "repository")) as kept:
            # Plots of the night compare stars with it, also when the services have stopped.
            assert kept.query_datasets("reference_stars", "refcats")
        outcomes = outcomes_of(demo / "night.db")
        sources = sources_in(demo / "work" / "apdb.db")
        with second_deployment(demo, tmp_path / "again") as again:
            said = again.replay(speed=10.0)
            again.await_outcomes()
    assert f"Sent {N_VISITS} announcements" in said
    assert [(one["state"], one["alerts"] > 0) for one in outcomes.values()] == [("done", True)] * N_VISITS
    assert {image: len(found) for image, found in sources.items()} == {
        image: one["sources"] for image, one in outcomes.items()
    }
    assert outcomes_of(again.folders.night_database) == outcomes
    assert sources_in(again.apdb) == sources
