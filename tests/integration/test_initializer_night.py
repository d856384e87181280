"""The nightly job on a central repository as the observatory has it, run more often than it should be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import butler_world as world
import pytest
from lsst.daf.butler import Butler
from lsst.utils.packages import Packages
from real_central import RealCentral, make_real_central

from prompt_processing.services.object_store import ObjectStore
from prompt_processing.services.postgresql import PostgreSql

pytestmark = pytest.mark.services

NIGHT = "2026-11-21"
SUPPORT = Path(__file__).parents[1] / "support"


@pytest.fixture
def central(
    tmp_path: Path, postgresql: PostgreSql, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> RealCentral:
    return make_real_central(tmp_path, postgresql, object_store, monkeypatch)


def start(central: RealCentral, **changed: str) -> subprocess.Popen[str]:
    paths = world.write_pipelines(central.folder / "pipelines")
    settings = {
        "RUBIN_INSTRUMENT": world.INSTRUMENT,
        "CENTRAL_REPO": central.uri,
        "CONFIG_APDB": str(central.folder / "apdb.yaml"),
        "PREPROCESSING_PIPELINES_CONFIG": f"- pipelines: [{paths['Preprocessing']}]",
        "MAIN_PIPELINES_CONFIG": f"- pipelines: [{paths['ApPipe']}, {paths['SingleFrame']}]",
        # Where the pipelines' tasks are.
        "PYTHONPATH": str(SUPPORT),
    }
    program = Path(sys.executable).with_name("prompt-initializer")
    return subprocess.Popen(
        [program, "--night", NIGHT],
        env={**os.environ, **settings, **changed},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def content(central: RealCentral) -> tuple[list[str], list[str]]:
    """Return the night's runs, and its datasets by id."""
    with Butler.from_config(central.uri) as butler:
        runs = butler.collections.get_info(f"{world.INSTRUMENT}/prompt/output-{NIGHT}").children
        refs = butler.query_all_datasets(list(runs), find_first=False, limit=None)
        return list(runs), sorted(f"{ref.datasetType.name} {ref.id}" for ref in refs)


def test_second_run_of_a_night_changes_nothing(central: RealCentral) -> None:
    for first in (True, False):
        process = start(central)
        log, _ = process.communicate(timeout=180)
        assert process.returncode == 0, log
        if first:
            runs, datasets = content(central)
    assert (runs, datasets) == content(central)
    assert len(runs) == 4  # Preload products, and three pipelines.
    assert any(name.startswith("packages ") for name in datasets)
    # Runs whose init-outputs other software wrote are not extended.
    with Butler.from_config(central.uri, writeable=True, run=runs[-1]) as butler:
        (ref,) = butler.query_datasets("packages", runs[-1])
        older = Packages({**butler.get(ref), "numpy": "1.0"})
        butler.pruneDatasets([ref], unstore=True, purge=True)
        butler.put(older, "packages")
    process = start(central)
    log, _ = process.communicate(timeout=180)
    assert process.returncode == 1, log
    assert "numpy: 1.0 vs 2" in log


def test_two_at_once_prepare_one_night(central: RealCentral) -> None:
    processes = [start(central) for _ in range(2)]
    logs = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(logs)
    runs, datasets = content(central)
    assert len(runs) == len(set(runs)) == 4
    of_type = [name.split()[0] for name in datasets]
    assert of_type.count("packages") == 3


def test_database_that_is_away_is_told_and_the_job_can_be_repeated(central: RealCentral) -> None:
    process = start(central, LSST_DB_AUTH="/nowhere")
    log, _ = process.communicate(timeout=180)
    assert process.returncode == 1
    assert central.uri in log
    assert "Traceback" not in log
