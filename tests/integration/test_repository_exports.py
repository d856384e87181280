"""Exports of one repository fill another one, from which the worker can start."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import butler_world as world
import pytest
from astropy.io import fits
from butler_fixtures import Worker
from lsst.daf.butler import Butler
from real_central import use_environment

from prompt_processing.cli.main import run
from prompt_processing.images import Defects
from prompt_processing.instruments import exposure_dimension_record_fields, read_header, translate
from prompt_processing.instruments.raw_frame import RawFrame
from prompt_processing.repository.central import add_instrument, create_repository, make_central_repository
from prompt_processing.repository.content import RepositoryContent
from prompt_processing.services.object_store import ObjectStore
from prompt_processing.services.postgresql import PostgreSql

pytestmark = pytest.mark.integration


def datasets(repo: str) -> set[tuple[str, str, str]]:
    """Type, data ID and run of all datasets."""
    with Butler.from_config(repo) as butler:
        return {
            (ref.datasetType.name, str(dict(ref.dataId.required)), ref.run)
            for ref in butler.query_all_datasets("*", find_first=False, limit=None)
        }


def ingest_raws(folder: Path, exposures: list[int]) -> None:
    """Put raws of a detector into the central repository."""
    from lsst.daf.butler import DatasetRef, FileDataset

    with Butler.from_config(str(folder / "central"), writeable=True) as butler:
        for exposure in exposures:
            path = world.write_raw(
                folder / "raws", world.small_camera(), exposure=exposure, group=f"g{exposure}"
            )
            observation = translate(read_header(path), str(path))
            fields = exposure_dimension_record_fields(observation)
            for element, row in (
                ("day_obs", {"instrument": "LSSTCam", "id": observation.day_obs}),
                ("group", {"instrument": "LSSTCam", "name": observation.group}),
                ("exposure", fields),
            ):
                butler.registry.insertDimensionData(element, row, skip_existing=True)
            data_id = butler.registry.expandDataId(
                instrument="LSSTCam", exposure=exposure, detector=world.DETECTOR
            )
            ref = DatasetRef(butler.get_dataset_type("raw"), data_id, run="LSSTCam/raw/all")
            butler.ingest(FileDataset(path=str(path), refs=[ref]), transfer="copy")


def export_all(folder: Path) -> list[str]:
    central = str(folder / "central")
    arguments = ["--instrument", "LSSTCam", f"--detectors={world.DETECTOR}"]
    assert run("repo", "export", "visits", central, str(folder / "visits"), *arguments) == 0
    assert (
        run("repo", "export", "templates", central, str(folder / "templates"), "--instrument", "LSSTCam") == 0
    )
    return [str(folder / "visits"), str(folder / "templates")]


def test_exports_fill_an_empty_repository_that_a_worker_can_start_from(
    central_folder: Path, tmp_path: Path, open_butler_worker: Callable[..., Worker]
) -> None:
    ingest_raws(central_folder, [world.EXPOSURE])
    folders = export_all(central_folder)
    new = str(tmp_path / "new")
    create_repository(new)
    assert run("repo", "import", new, *folders) == 0
    add_instrument(new, world.small_camera(), RepositoryContent())
    worker = open_butler_worker(central_repo=new)
    result, _ = worker.process(exposure=world.EXPOSURE + 1)
    assert result.pipeline == "ApPipe"


def test_only_what_the_visits_need_is_exported(central_folder: Path, tmp_path: Path) -> None:
    ingest_raws(central_folder, [world.EXPOSURE, world.EXPOSURE + 1])
    output = tmp_path / "out"
    arguments = ["--instrument=LSSTCam", "--n-exposures=1", f"--detectors={world.DETECTOR}"]
    assert run("repo", "export", "visits", str(central_folder / "central"), str(output), *arguments) == 0
    contents = json.loads((output / "contents.json").read_text())
    # Two biases of different validity are there, and flats in two filters, and two shards of stars.
    assert contents["datasets"] == {
        "bias": 1,
        "camera": 1,
        "dark": 1,
        "defects": 1,
        "flat": 1,
        "raw": 1,
        "reference_stars": 1,
        "skyMap": 1,
    }
    assert set(contents["chains"]) == {"LSSTCam/calib", "refcats"}


def test_import_can_be_repeated_and_keeps_what_is_there(central_folder: Path, tmp_path: Path) -> None:
    ingest_raws(central_folder, [world.EXPOSURE])
    folders = export_all(central_folder)
    new = str(tmp_path / "new")
    create_repository(new)
    assert run("repo", "import", new, *folders) == 0
    once = datasets(new)
    assert run("repo", "import", new, *folders) == 0
    assert datasets(new) == once
    assert run("repo", "import", str(central_folder / "central"), *folders) == 0


def test_what_we_record_is_known_to_every_stack(central_folder: Path) -> None:
    """Another stack imports the name of each formatter, whether or not it reads the file."""
    raw_file = world.write_raw(central_folder / "raws", world.small_camera())
    assert run("repo", "import-raws", str(central_folder / "central"), str(raw_file)) == 0
    with Butler.from_config(str(central_folder / "central")) as butler:
        names = {}
        for ref in butler.query_all_datasets("*", find_first=False, limit=None):
            for dataset in butler._datastore.export([ref]):
                names[ref.datasetType.name] = str(dataset.formatter)
        (defects,) = butler.query_datasets("defects", "LSSTCam/calib/*", find_first=False)
        with fits.open(butler.getURI(defects).ospath) as hdus:
            assert hdus[1].header["OBSTYPE"] == "defects"
            assert hdus[1].columns.names == ["x0", "y0", "width", "height"]
        assert isinstance(butler.get(defects), Defects)
        raw = {"instrument": "LSSTCam", "exposure": world.EXPOSURE, "detector": world.DETECTOR}
        assert isinstance(butler.get("raw", raw, collections="LSSTCam/raw/all"), RawFrame)
    assert names == {
        "camera": "lsst.daf.butler.formatters.json.JsonFormatter",
        "skyMap": "lsst.daf.butler.formatters.json.JsonFormatter",
        "defects": "lsst.obs.base.formatters.fitsGeneric.FitsGenericFormatter",
        "raw": "lsst.obs.lsst.rawFormatter.LsstCamRawFormatter",
        "reference_stars": "lsst.daf.butler.formatters.parquet.ParquetFormatter",
        **dict.fromkeys(
            ("bias", "dark", "flat", "template_coadd"), "lsst.images.formatters.GenericFormatter"
        ),
    }


def test_formatters_that_are_not_installed_are_replaced_by_ours(central_folder: Path, tmp_path: Path) -> None:
    ingest_raws(central_folder, [world.EXPOSURE])
    (folder, _) = export_all(central_folder)
    path = Path(folder) / "export.yaml"
    text = path.read_text()
    ours = next(line for line in text.splitlines() if "formatter" in line and "raw" in line).split()[1]
    path.write_text(text.replace(ours, "lsst.obs.lsst.rawFormatter.LsstCamRawFormatter"))
    new = str(tmp_path / "new")
    create_repository(new)
    assert run("repo", "import", new, folder) == 0
    with Butler.from_config(new) as butler:
        raw = butler.get(
            "raw",
            instrument="LSSTCam",
            exposure=world.EXPOSURE,
            detector=world.DETECTOR,
            collections="LSSTCam/raw/all",
        )
    assert type(raw).__module__.startswith("prompt_processing.")


def test_preloaded_history_of_a_visit_is_exported(
    butler_worker: Worker, central_folder: Path, tmp_path: Path
) -> None:
    butler_worker.process()
    output = tmp_path / "preloaded"
    arguments = ["--instrument=LSSTCam", f"--where=detector={world.DETECTOR}"]
    assert run("repo", "export", "preloaded", str(central_folder / "central"), str(output), *arguments) == 0
    names = json.loads((output / "contents.json").read_text())["datasets"]
    assert names == {"preloaded_dia_object": 1, "regionTimeInfo": 1}


def test_what_cannot_be_done_is_told_and_does_nothing(
    central_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    central = str(central_folder / "central")
    assert run("repo", "export", "visits", central, str(tmp_path / "out"), "--instrument=LSSTCam") == 1
    assert "no raw" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert run("repo", "import", central, str(tmp_path / "nothing")) == 1
    assert "is not an export" in capsys.readouterr().err
    folder = tmp_path / "later"
    folder.mkdir()
    (folder / "export.yaml").write_text("version: 1.0.2\nuniverse_version: 999\ndata: []\n")
    assert run("repo", "import", central, str(folder)) == 1
    assert "butler migrate" in capsys.readouterr().err


@pytest.mark.services
def test_import_into_postgresql_and_s3(
    central_folder: Path,
    tmp_path: Path,
    postgresql: PostgreSql,
    object_store: ObjectStore,
    new_name: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
    open_butler_worker: Callable[..., Worker],
) -> None:
    ingest_raws(central_folder, [world.EXPOSURE])
    folders = export_all(central_folder)
    use_environment(monkeypatch, postgresql, object_store)
    name = new_name("import")
    object_store.client().create_bucket(Bucket=name)
    uri = f"s3://{name}/central_repo/"
    make_central_repository(
        uri, world.small_camera(), RepositoryContent(), database=postgresql.create_database(name)
    )
    assert run("repo", "import", uri, *folders) == 0
    assert run("repo", "import", uri, *folders) == 0
    again = tmp_path / "again"
    arguments = ["--instrument=LSSTCam", f"--detectors={world.DETECTOR}"]
    assert run("repo", "export", "visits", uri, str(again), *arguments) == 0
    worker = open_butler_worker(central_repo=uri)
    result, _ = worker.process(exposure=world.EXPOSURE + 1)
    assert result.pipeline == "ApPipe"
