"""The benchmark of a full camera's load, with two detectors: what it counts must hold on any machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("warm_start")]

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "focal_plane.py"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Results of a run that also balances its books: outcomes, stream, registry, local repositories."""
    folder = tmp_path_factory.mktemp("focal-plane")
    size = ["--quick", "--detectors", "2", "--workers", "1", "--visits", "1"]
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), *size, "--only", "visits", "worker", "--output", str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    if done.returncode == 3 and not os.environ.get("CI"):
        pytest.skip(done.stdout)
    # 1 tells of seconds that are not as wanted, which is this machine's affair.
    assert done.returncode in (0, 1), done.stdout + done.stderr
    # A benchmark that ends in an error exits with 1 as well.
    assert (folder / "results.json").exists(), done.stdout + done.stderr
    found: dict[str, Any] = json.loads((folder / "results.json").read_text())
    assert (folder / "table.md").read_text().startswith("**Targets**")
    return found


def test_warm_worker_asks_the_central_database_little(results: dict[str, Any]) -> None:
    statements = {
        figure["what"]: figure["value"]
        for figure in results["figures"]
        if figure["what"].endswith("statements")
    }
    for case in ("the same detector again", "another detector", "another field"):
        assert statements[f"preload of a warm worker, {case}: most statements"] <= 22
    assert statements["first preload of a process: statements"] < 150


def test_export_through_the_writer_asks_it_nothing(results: dict[str, Any]) -> None:
    (figure,) = (
        figure for figure in results["figures"] if "export through the writer: most" in figure["what"]
    )
    assert figure["value"] == 0


def test_whole_visits_take_no_more_than_their_preload(results: dict[str, Any]) -> None:
    (row,) = results["growth"]
    assert row["visit_detectors"] == 2
    assert row["statements_workers"] < 30
    assert row["s3_put_kib"] > 0
