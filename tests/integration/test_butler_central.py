"""The central repository as others see it: many workers, object stores, the field's own tools."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import boto3
import butler_world as world
import pytest
from butler_fixtures import Worker
from lsst.daf.butler import Butler, CollectionType  # type: ignore[attr-defined]
from moto.server import ThreadedMotoServer

from prompt_processing.butler.central import CentralRepository
from prompt_processing.initializer.process import run_initializer
from prompt_processing.repository.central import make_central_repository

pytestmark = pytest.mark.integration


def _butler(*arguments: str) -> str:
    """Run the field's command line in a process that knows nothing of us."""
    environment = {key: value for key, value in os.environ.items() if key != "DAF_BUTLER_CONFIG_PATH"}
    command = [str(Path(sys.executable).parent / "butler"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_butler_command_line_lists_inputs_and_outputs(butler_worker: Worker, central_folder: Path) -> None:
    butler_worker.process()
    listing = _butler("query-datasets", str(central_folder / "central"), "--collections", "*")
    for name in ("bias", "flat", "template_coadd", "reference_stars", "skyMap", "template_detector"):
        assert name in listing
    collections = _butler("query-collections", str(central_folder / "central"))
    for name in ("LSSTCam/defaults", "LSSTCam/calib/unbounded", "LSSTCam/templates", "refcats", "skymaps"):
        assert name in collections


def test_collections_are_those_of_the_contract(central_folder: Path) -> None:
    with Butler.from_config(str(central_folder / "central")) as butler:
        kinds = {info.name: info.type for info in butler.collections.query_info("*")}
        assert kinds["LSSTCam/defaults"] is CollectionType.CHAINED
        assert kinds["LSSTCam/calib/initial"] is CollectionType.CALIBRATION
        assert kinds["LSSTCam/raw/all"] is CollectionType.RUN
        assert set(butler.collections.get_info("LSSTCam/defaults").children) == {
            "LSSTCam/calib",
            "LSSTCam/templates",
            "refcats",
            "skymaps",
        }
        camera = butler.get("camera", instrument="LSSTCam", collections="LSSTCam/defaults")
        assert camera == world.small_camera()
        assert len(butler.query_dimension_records("detector", instrument="LSSTCam", limit=None)) == 205


def _initialize(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    settings = world.make_settings(folder)
    paths = world.write_pipelines(folder / "pipelines")
    main = ", ".join(paths[stem] for stem in ("ApPipe", "SingleFrame", "Isr"))
    for name, value in {
        "RUBIN_INSTRUMENT": settings.rubin_instrument,
        "CENTRAL_REPO": settings.central_repo,
        "CONFIG_APDB": settings.config_apdb,
        "PREPROCESSING_PIPELINES_CONFIG": f"- pipelines: [{paths['Preprocessing']}]",
        "MAIN_PIPELINES_CONFIG": f"- pipelines: [{main}]",
    }.items():
        monkeypatch.setenv(name, value)


def test_workers_use_the_runs_of_the_initializer(
    monkeypatch: pytest.MonkeyPatch,
    open_butler_worker: Callable[..., Worker],
    central_folder: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    _initialize(monkeypatch, central_folder)
    assert run_initializer() == 0
    # Twice does no harm.
    assert run_initializer() == 0
    with Butler.from_config(str(central_folder / "central")) as butler:
        (chain,) = butler.collections.query("LSSTCam/prompt/output-????-??-??")
        runs = butler.collections.get_info(chain).children
        assert {run.split("/")[-2] for run in runs} == {
            "NoPipeline",
            "Preprocessing",
            "ApPipe",
            "SingleFrame",
            "Isr",
        }
        assert butler.get("isr_config", collections=chain)
        assert butler.get("packages", collections=chain)
    butler_worker = open_butler_worker()
    butler_worker.process()
    butler_worker.process(exposure=world.EXPOSURE + 1)
    assert not [message for message in caplog.messages if "init-outputs" in message and "no" in message]
    # They stay for the next visit.
    assert "isr_config" in butler_worker.local_datasets()
    with Butler.from_config(str(central_folder / "central")) as butler:
        assert butler.collections.get_info(chain).children == runs
        used = {ref.run for ref in butler.query_datasets("template_detector", chain)}
        assert used < set(runs)


def test_initializer_names_all_missing_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("RUBIN_INSTRUMENT", "CENTRAL_REPO", "CONFIG_APDB"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MAIN_PIPELINES_CONFIG", "{")
    monkeypatch.setenv("PREPROCESSING_PIPELINES_CONFIG", "None")
    assert run_initializer() == 3
    told = capsys.readouterr().err
    for name in ("RUBIN_INSTRUMENT", "CENTRAL_REPO", "CONFIG_APDB", "MAIN_PIPELINES_CONFIG"):
        assert name in told


def _process_some(folder: Path, first: int, n_visits: int) -> int:
    from prompt_processing.butler.types import use_butler_types

    use_butler_types()
    worker = Worker(folder, world.make_settings(folder, repo_retry_delay=1.0))
    worker.folder = folder / f"raws-{first}"
    try:
        return sum(worker.process(exposure=first + number)[1] for number in range(n_visits))
    finally:
        worker.repositories.close()


def test_workers_export_at_the_same_time(central_folder: Path) -> None:
    # Spawned, since a fork would share the parent's database connections.
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [
            pool.submit(_process_some, central_folder, world.EXPOSURE + 100 * number, 2)
            for number in range(2)
        ]
        n_exported = [future.result(timeout=300) for future in futures]
    with Butler.from_config(str(central_folder / "central")) as butler:
        assert len(butler.query_all_datasets("LSSTCam/prompt/*", find_first=False)) == sum(n_exported)
        assert len(butler.query_datasets("template_detector", "LSSTCam/prompt/*", find_first=False)) == 4
        (chain,) = butler.collections.query("LSSTCam/prompt/output-????-??-??")
        children = butler.collections.get_info(chain).children
        assert len(children) == len(set(children)) == 3


@pytest.fixture
def object_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "S3_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_SECRET_ACCESS_KEY": "something",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="central")
    yield "central"
    server.stop()


def test_central_repository_may_live_in_an_object_store(object_store: str, tmp_path: Path) -> None:
    camera = world.small_camera()
    paths = world.write_pipelines(tmp_path / "pipelines")
    root = f"s3://{object_store}/repo"
    make_central_repository(
        root,
        camera,
        world.small_content(camera),
        pipelines=list(paths.values()),
        database=f"sqlite:///{tmp_path}/registry.sqlite3",
    )
    world.make_apdb(tmp_path)
    worker = Worker(tmp_path, world.make_settings(tmp_path, central_repo=root))
    try:
        result, n_exported = worker.process()
        assert result.pipeline == "ApPipe"
        with Butler.from_config(root) as butler:
            refs = butler.query_all_datasets("LSSTCam/prompt/*", find_first=False)
            assert len(refs) == n_exported
            assert butler.getURI(refs[0]).scheme == "s3"
            image = next(ref for ref in refs if ref.datasetType.name == "preliminary_visit_image")
            assert butler.get(image, storageClass="ExposureF").shape == (64, 256)
    finally:
        worker.repositories.close()


def test_repository_in_an_object_store_needs_a_database(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="database"):
        make_central_repository(
            "s3://somewhere/repo", world.small_camera(), world.small_content(world.small_camera())
        )


def test_unknown_instrument_is_told(central_folder: Path) -> None:
    settings = world.make_settings(central_folder, rubin_instrument="HSC")
    with pytest.raises(LookupError, match="HSC"):
        CentralRepository.open(
            settings.central_repo, settings.input_repo, settings.rubin_instrument, settings.repo_retry_delay
        ).instrument_records()
