"""Pipeline files are found wherever the package is installed."""

import os
from pathlib import Path

import pytest
from lsst.daf.butler import DimensionUniverse

import prompt_processing
from prompt_processing.butler.deployment import deployment_id
from prompt_processing.butler.pipelines.files import (
    PipelineError,
    expand_path,
    pipelines_folder,
    read_pipeline,
)
from prompt_processing.butler.pipelines.library import PipelineLibrary
from prompt_processing.butler.types import use_butler_types
from prompt_processing.settings.pipelines import parse_selection

PACKAGE = Path(prompt_processing.__file__).parent
AP_PIPE = "$PROMPT_PROCESSING_DIR/pipelines/LSSTCam/ApPipe.yaml"


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    # Set before it is deleted, so that what a test sets is undone.
    monkeypatch.setenv("PROMPT_PROCESSING_DIR", "")
    monkeypatch.delenv("PROMPT_PROCESSING_DIR")


def test_paths_of_the_playbook_lead_into_the_package() -> None:
    (path,) = parse_selection(f"[pipelines: ['{AP_PIPE}']]").paths
    assert Path(path) == PACKAGE / "pipelines/LSSTCam/ApPipe.yaml"
    assert Path(path).is_file()


def test_a_sites_own_folder_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPT_PROCESSING_DIR", "/site")
    assert expand_path(AP_PIPE) == "/site/pipelines/LSSTCam/ApPipe.yaml"


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPT_PROCESSING_DIR", "")
    assert Path(expand_path(AP_PIPE)).is_file()


def test_imports_of_a_pipeline_are_expanded(tmp_path: Path) -> None:
    own = tmp_path / "Own.yaml"
    own.write_text(f"description: A site's own\nimports:\n  - location: {AP_PIPE}\n")
    assert "isr" in set(read_pipeline(str(own)).task_labels)


def test_every_pipeline_of_every_camera_is_readable() -> None:
    files = sorted(PACKAGE.glob("instruments/cameras/*/pipelines/*.yaml"))
    assert files
    for file in files:
        # Analysis.yaml needs packages of its own.
        if file.stem != "Analysis":
            assert read_pipeline(str(file)).task_labels, file


def test_child_processes_inherit_the_folder() -> None:
    expand_path(AP_PIPE)
    assert Path(os.environ["PROMPT_PROCESSING_DIR"]) == PACKAGE


def test_another_unset_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ELSEWHERE", raising=False)
    with pytest.raises(ValueError, match="ELSEWHERE"):
        expand_path("$ELSEWHERE/ApPipe.yaml")


@pytest.mark.parametrize("instrument", ["HSC", "LATISS", "LSSTCam"])
def test_the_package_has_each_instruments_pipelines(instrument: str) -> None:
    stems = {path.stem for path in pipelines_folder(instrument).glob("*.yaml")}
    assert stems >= {"Preprocessing", "ApPipe", "SingleFrame", "Isr"}


def library(*paths: Path) -> PipelineLibrary:
    use_butler_types()
    return PipelineLibrary([str(path) for path in paths], {}, DimensionUniverse())


def test_pipeline_whose_file_is_missing_is_named_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    isr, missing = pipelines_folder("LSSTCam") / "Isr.yaml", tmp_path / "Isr-cal.yaml"
    importing = tmp_path / "Importing.yaml"
    importing.write_text(f"description: of nothing\nimports:\n  - location: {tmp_path}/absent.yaml\n")
    found = library(missing, importing, isr)
    assert [pipeline.path for pipeline in found.usable([str(missing), str(importing), str(isr)])] == [
        str(isr)
    ]
    assert set(found.missing) == {str(missing), str(importing)}
    assert f"{tmp_path}/absent.yaml" in found.missing[str(importing)]
    assert [str(path) in message for path, message in zip((missing, importing), caplog.messages, strict=True)]
    # The outputs of a deployment that lacks a file are told apart from those of one that has it.
    assert deployment_id([str(missing)], "") != deployment_id([str(isr)], "")


@pytest.mark.parametrize(
    "content",
    [
        "description: [",
        "tasks: {isr: no.such.package.Task}",
        "description: typo\ntasks: {isr: prompt_processing.tasks.isr.NoSuchTask}",
        "description: setting\ntasks:\n  isr:\n    class: prompt_processing.tasks.isr.IsrTask\n"
        "    config: {doNothing: true}",
    ],
)
def test_pipeline_that_is_wrong_is_an_error_that_names_its_file(tmp_path: Path, content: str) -> None:
    wrong = tmp_path / "Wrong.yaml"
    wrong.write_text(content)
    with pytest.raises(PipelineError, match=str(wrong)):
        library(wrong)


@pytest.mark.parametrize("camera", ["LSSTCam", "LATISS", "HSC"])
@pytest.mark.parametrize(
    ("name", "label", "option", "value"),
    [
        ("ApPipe-noAlerts", "associateApdb", "produce_alerts", False),
        ("ApPipe-noForced", "associateApdb", "measure_forced_sources", False),
        ("Preprocessing-noForced", "loadDiaCatalogs", "load_forced_sources", False),
        ("Isr-cal", "isr", "doBias", False),
        ("Isr-cal", "isr", "doFlat", False),
        ("dev/ApPipe", "associateApdb", "produce_alerts", True),
        ("dev/Isr-cal", "isr", "doDark", False),
        ("dev/Isr", "isr", "doDark", True),
        ("dev/Preprocessing", "loadDiaCatalogs", "load_forced_sources", True),
        ("dev/SingleFrame", "isr", "doBias", True),
    ],
)
def test_pipelines_that_sites_select_by_name_are_there(
    camera: str, name: str, label: str, option: str, value: bool
) -> None:
    pipeline = read_pipeline(expand_path(f"$PROMPT_PROCESSING_DIR/pipelines/{camera}/{name}.yaml"))
    assert getattr(pipeline.to_graph().tasks[label].config, option) is value
    assert pipeline.subsets["preload" if "Preprocessing" in name else "prompt"]


@pytest.mark.parametrize("camera", ["LSSTCam", "LATISS", "HSC", "DECam", "small"])
def test_a_worker_leaves_out_what_no_alert_waits_for(camera: str) -> None:
    path = str(pipelines_folder(camera) / "ApPipe.yaml")
    everything = read_pipeline(path)
    later = everything.subsets["afterburner"]
    assert later
    (run,) = library(Path(path))
    assert run.labels == set(everything.task_labels) - later == everything.subsets["prompt"]
    # Who selects these tasks gets them.
    (by_day,) = PipelineLibrary([f"{path}#afterburner"], {}, DimensionUniverse())
    assert by_day.labels == later


def test_inputs_that_may_be_absent_are_not_needed() -> None:
    use_butler_types()
    library = PipelineLibrary([expand_path(AP_PIPE)], {}, DimensionUniverse())
    (pipeline,) = library
    wanted = {dataset_type.name for dataset_type, _ in pipeline.inputs()}
    assert {"bias", "reliability_model"} <= wanted
    assert "bias" in pipeline.needed_inputs()
    assert "reliability_model" not in pipeline.needed_inputs()
