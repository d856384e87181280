"""A worker on a central repository that the Rubin stack has filled."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import stack_repository as stack
from butler_fixtures import Worker
from lsst.daf.butler import Butler, DatasetRef

from prompt_processing.butler.field_types import FIELD_FORMATTER
from prompt_processing.repository.export_writer import write_export
from prompt_processing.repository.exports import VisitChoice, select_visits
from prompt_processing.repository.imports import import_export

pytestmark = pytest.mark.integration

NAMES = "{reference_stars: the_monster_20250219}"


@pytest.fixture
def stack_folder(central_folder: Path) -> Path:
    stack.as_the_stack_has_it(central_folder)
    return central_folder


def outputs(folder: Path) -> dict[str, DatasetRef]:
    with Butler.from_config(str(folder / "central")) as butler:
        return {
            ref.datasetType.name: ref
            for ref in butler.query_all_datasets("LSSTCam/prompt/*", find_first=False)
        }


def test_visit_runs_on_the_stacks_inputs_and_hands_over_in_its_types(
    stack_folder: Path, open_butler_worker: Callable[..., Worker], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        worker = open_butler_worker(dataset_type_names=NAMES)
    # The worker says so at its start.
    assert "another template_detector" in caplog.text
    assert "SourceCatalog" in caplog.text
    assert "another post_isr_image" not in caplog.text

    result, _ = worker.process()

    assert result.metadata["isr"]["isr"]["level"] == 1.0
    assert result.metadata["calibrateImage"]["calibrateImage"]["stars"] == 1
    assert result.metadata["buildTemplate"]["buildTemplate"]["coadds"] >= 1
    found = outputs(stack_folder)
    assert "prompt_template_detector" in found
    assert "template_detector" not in found
    assert found["post_isr_image"].datasetType.storageClass_name == "Exposure"
    with Butler.from_config(str(stack_folder / "central")) as butler:
        for name in ("post_isr_image", "prompt_template_detector"):
            (dataset,) = butler._datastore.export([found[name]])
            assert dataset.formatter == FIELD_FORMATTER


def test_configured_name_of_an_output_is_used(
    stack_folder: Path, open_butler_worker: Callable[..., Worker]
) -> None:
    names = "{reference_stars: the_monster_20250219, template_detector: our_template}"
    open_butler_worker(dataset_type_names=names).process()
    assert "our_template" in outputs(stack_folder)


def test_worker_names_the_catalogue_that_the_repository_has(
    stack_folder: Path, open_butler_worker: Callable[..., Worker], caplog: pytest.LogCaptureFixture
) -> None:
    stack.execute(
        stack_folder / "central",
        "UPDATE dataset_type SET name = ? WHERE name = ?",
        [("old", "reference_stars")],
    )
    # Pipelines of which the catalogue's sky pixels are known.
    main = "- pipelines: [$PROMPT_PROCESSING_DIR/pipelines/LSSTCam/SingleFrame.yaml]"
    open_butler_worker(main_pipelines_config=main)
    assert "no reference_stars, but old, the_monster_20250219" in caplog.text


def test_only_configured_collections_are_searched(
    stack_folder: Path, open_butler_worker: Callable[..., Worker]
) -> None:
    worker = open_butler_worker(dataset_type_names=NAMES, input_collections="[LSSTCam/defaults, refcats]")
    workspace = worker.begin()
    workspace.preload()
    assert workspace.preloaded.count("template_coadd") == 0
    assert workspace.preloaded.count("the_monster_20250219") == 1


def test_calibrations_that_no_task_reads_are_carried_along_as_configured(
    stack_folder: Path, open_butler_worker: Callable[..., Worker], caplog: pytest.LogCaptureFixture
) -> None:
    for further, number in ((), 0), (("ptc", "dnlLUT"), 1):
        worker = open_butler_worker(dataset_type_names=NAMES, preload_dataset_types=further)
        workspace = worker.begin()
        workspace.preload()
        assert workspace.preloaded.count("ptc") == number
    assert "PRELOAD_DATASET_TYPES names dnlLUT" in caplog.text
    (ref,) = (one for one in workspace.preloaded.refs if one.datasetType.name == "ptc")
    assert worker.repositories.local.butler.get(ref).gain.keys() >= {"C00", "C17"}


def test_unreadable_input_stops_only_the_task_that_needs_it(
    stack_folder: Path, open_butler_worker: Callable[..., Worker], caplog: pytest.LogCaptureFixture
) -> None:
    with Butler.from_config(str(stack_folder / "central")) as butler:
        for ref in butler.query_datasets("template_coadd", "LSSTCam/templates"):
            Path(butler.getURI(ref).ospath).write_bytes(b"")
    worker = open_butler_worker(dataset_type_names=NAMES)
    workspace = worker.begin()
    workspace.preload()
    assert workspace.preloaded.count("template_coadd") >= 1
    assert "template_coadd" in caplog.text


def test_export_and_import_keep_what_the_stack_has_recorded(stack_folder: Path, tmp_path: Path) -> None:
    unknown = "lsst.meas.transiNet.modelPackages.formatters.NNModelPackageFormatter"
    model = tmp_path / "model.zip"
    model.write_bytes(b"model")
    with Butler.from_config(str(stack_folder / "central"), writeable=True) as butler:
        stack.enter(
            butler, "pretrainedModel", "StructuredDataDict", {}, model, unknown, run="pretrained_models"
        )
        butler.collections.extend_chain("LSSTCam/defaults", ["pretrained_models"])
        choice = VisitChoice(
            "LSSTCam",
            collections=["LSSTCam/defaults", "refcats", "skymaps"],
            with_raws=False,
            all_inputs=True,
        )
        write_export(butler, tmp_path / "export", select_visits(butler, choice), "central")
        before = formatters(butler)
    with Butler.from_config(Butler.makeRepo(str(tmp_path / "new")), writeable=True) as butler:
        import_export(butler, tmp_path / "export")
        after = formatters(butler)
        assert "pretrained_models" in butler.collections.get_info("LSSTCam/defaults").children
        (bias, *_) = butler.query_datasets("bias", "LSSTCam/calib/*", find_first=False)
        assert butler.get(bias).shape == (64, 256)
    assert {"bias", "skyMap", "ptc", "the_monster_20250219", "pretrainedModel"} <= set(after)
    assert after == {name: before[name] for name in after}
    assert after["pretrainedModel"] == {unknown}


def formatters(butler: Butler) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for ref in butler.query_all_datasets("*", find_first=False, limit=None):
        for dataset in butler._datastore.export([ref]):
            found.setdefault(ref.datasetType.name, set()).add(str(dataset.formatter))
    return found
