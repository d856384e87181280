"""What the commands for a central repository tell, and what they change."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import butler_world as world
import pytest
from lsst.daf.butler import Butler, DatasetType, DimensionConfig, DimensionUniverse

from prompt_processing.activator.factory import ProcessContext
from prompt_processing.butler.universe import UniverseError, universe_problems
from prompt_processing.cli.main import run
from prompt_processing.repository.central import make_central_repository
from prompt_processing.repository.content import RepositoryContent

pytestmark = pytest.mark.integration

PIPELINES = Path(__file__).parents[2] / "pipelines"


def check(folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    """Findings that are not well, by subject."""
    capsys.readouterr()
    central = str(folder / "central")
    status = run("repo", "check", central, "--instrument=LSSTCam", "--json", *arguments)
    findings = json.loads(capsys.readouterr().out)
    return status, {one["subject"]: one for one in findings if one["severity"] != "ok"}


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CENTRAL_REPO", "RUBIN_INSTRUMENT", "SKYMAP", "CONFIG_APDB"):
        monkeypatch.delenv(name, raising=False)


def test_repository_of_the_contract_has_no_problem(
    central_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [f"--pipeline={path}" for path in world.write_pipelines(central_folder / "pipelines").values()]
    status, bad = check(
        central_folder, capsys, "--skymap=tiny", f"--apdb={central_folder / 'apdb.yaml'}", *paths
    )
    # It has calibrations of one detector only, and not yet what the pipelines write.
    assert set(bad) == {"bias", "dark", "flat", "defects"}
    assert {one["severity"] for one in bad.values()} == {"warning"}
    assert status == 0


@pytest.mark.parametrize("chain", ["LSSTCam/defaults", "LSSTCam/calib", "LSSTCam/templates", "refcats"])
def test_missing_collection_is_told_and_repaired_as_told(
    central_folder: Path, capsys: pytest.CaptureFixture[str], chain: str
) -> None:
    central = str(central_folder / "central")
    with Butler.from_config(central, writeable=True) as butler:
        for parent in butler.collections.get_info(chain, include_parents=True).parents or ():
            butler.collections.remove_from_chain(parent, chain)
        butler.collections.x_remove(chain)
    status, bad = check(central_folder, capsys)
    assert status == 1
    assert bad[f"collection {chain}"]["message"] == "is missing"
    assert "prompt repo make --add" in bad[f"collection {chain}"]["remedy"]
    assert run("repo", "make", "--add", "--instrument=LSSTCam", central) == 0
    status, bad = check(central_folder, capsys)
    assert status == 0, bad


def test_instrument_can_be_added_to_a_repository_of_another(
    central_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    central = str(central_folder / "central")
    assert run("repo", "check", central, "--instrument=LATISS") == 1
    assert "LATISS is not known" in capsys.readouterr().out
    assert run("repo", "make", "--add", "--instrument=LATISS", central) == 0
    assert run("repo", "check", central, "--instrument=LATISS") == 0
    assert check(central_folder, capsys)[0] == 0


def test_gains_that_nobody_measured_are_reported(
    central_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "camera" not in check(central_folder, capsys)[1]
    central = str(central_folder / "central")
    assert run("repo", "make", "--add", "--instrument=LATISS", central) == 0
    capsys.readouterr()
    assert run("repo", "check", central, "--instrument=LATISS", "--json") == 0
    (camera,) = [one for one in json.loads(capsys.readouterr().out) if one["subject"] == "camera"]
    assert camera["severity"] == "warning"
    assert "nominal gains and read noise for 1 of 1 detectors" in camera["message"]


def test_camera_that_cannot_be_read_is_a_problem(
    central_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    central = central_folder / "central"
    with Butler.from_config(str(central)) as butler:
        uri = butler.getURI("camera", instrument="LSSTCam", collections="LSSTCam/calib/unbounded")
    Path(uri.ospath).write_bytes(b"")
    status, bad = check(central_folder, capsys)
    assert status == 1
    assert "cannot be read" in bad["camera"]["message"]


def test_wrong_sky_map_and_apdb_are_told(central_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, bad = check(central_folder, capsys, "--skymap=other", "--apdb=/nonexistent/apdb.yaml")
    assert status == 1
    assert "tiny" in bad["sky map"]["message"]
    assert "/nonexistent/apdb.yaml" in bad["APDB"]["message"]


def test_dataset_types_of_new_pipelines_are_found_shown_and_registered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    central, pipelines = str(tmp_path / "central"), f"--pipeline={PIPELINES / 'LSSTCam'}"
    make_central_repository(central, world.small_camera(), RepositoryContent())
    assert run("repo", "dataset-types", central, pipelines) == 1
    shown = capsys.readouterr().out
    assert "missing  dia_source_apdb" in shown
    assert "--register" in shown
    remedy = check(tmp_path, capsys, pipelines)[1]["dataset types"]["remedy"]
    assert remedy.startswith("prompt repo dataset-types")
    assert run("repo", "dataset-types", central, pipelines, "--register") == 0
    assert run("repo", "dataset-types", central, pipelines) == 0
    assert "dataset types" not in check(tmp_path, capsys, pipelines)[1]


def test_dataset_type_that_the_repository_knows_otherwise_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    central = str(tmp_path / "central")
    make_central_repository(central, world.small_camera(), RepositoryContent())
    with Butler.from_config(central, writeable=True) as butler:
        other = DatasetType("dia_source_apdb", ("instrument",), "ArrowAstropy", universe=butler.dimensions)
        butler.registry.registerDatasetType(other)
    pipelines = f"--pipeline={PIPELINES / 'LSSTCam' / 'ApPipe.yaml'}"
    assert run("repo", "dataset-types", central, pipelines, "--register") == 0
    shown = capsys.readouterr().out
    assert "renamed  dia_source_apdb" in shown
    assert "ours are written as prompt_dia_source_apdb" in shown
    names = "--names={dia_source_apdb: our_source}"
    assert run("repo", "dataset-types", central, pipelines, "--register", names) == 0
    with Butler.from_config(central) as butler:
        assert butler.get_dataset_type("our_source").dimensions.required >= {"visit"}


def make_repository_of_version(folder: Path, version: int) -> None:
    config = DimensionConfig()
    config["version"] = version
    Butler.makeRepo(str(folder), dimensionConfig=config)


@pytest.mark.parametrize(
    ("change", "problem", "remedy"),
    [
        ({"version": 999}, "newer than", "rebuild the containers"),
        ({"namespace": "other"}, "namespace", "another kind of data"),
    ],
)
def test_universe_of_another_kind_or_age_is_told(change: dict[str, Any], problem: str, remedy: str) -> None:
    config = DimensionConfig()
    for key, value in change.items():
        config[key] = value
    found = universe_problems(DimensionUniverse(config), DimensionUniverse())
    assert found is not None
    assert problem in found[0]
    assert remedy in found[1]


def test_own_universe_is_well() -> None:
    assert universe_problems(DimensionUniverse(), DimensionUniverse()) is None


def test_worker_does_not_start_between_two_universes(central_folder: Path, tmp_path: Path) -> None:
    """Data from one cannot be written to the other."""
    own = DimensionUniverse().version
    make_repository_of_version(tmp_path / "older", own - 1)
    settings = world.make_settings(
        central_folder,
        central_repo=str(tmp_path / "older"),
        read_central_repo=str(central_folder / "central"),
    )
    context = ProcessContext(settings, world.small_camera())
    with pytest.raises(UniverseError, match=f"{own}.*{own - 1}.*migrate the older one"):
        context.repositories()
    assert not list((central_folder / "local").iterdir())


def test_process_that_finds_another_universe_ends_with_status_three_and_says_what_to_do(
    central_folder: Path, tmp_path: Path
) -> None:
    make_repository_of_version(tmp_path / "older", DimensionUniverse().version - 1)
    pipeline = world.write_pipelines(central_folder / "pipelines")["Isr"]
    (tmp_path / "local").mkdir(exist_ok=True)
    environment = os.environ | {
        "RUBIN_INSTRUMENT": "LSSTCam",
        "SKYMAP": "tiny",
        "CENTRAL_REPO": str(tmp_path / "older"),
        "READ_CENTRAL_REPO": str(central_folder / "central"),
        "LOCAL_REPOS": str(tmp_path / "local"),
        "IMAGE_BUCKET": "none",
        "KAFKA_CLUSTER": "127.0.0.1:9",
        "BUCKET_TOPIC": "none",
        "CONFIG_APDB": str(central_folder / "apdb.yaml"),
        "PREPROCESSING_PIPELINES_CONFIG": "- pipelines: []",
        "MAIN_PIPELINES_CONFIG": f"- pipelines: [{pipeline}]",
        "PYTHONPATH": str(Path(world.__file__).parent),
    }
    code = "from prompt_processing.activator.app import create_app; create_app()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3, done.stderr
    assert "butler migrate upgrade" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "local").iterdir())
