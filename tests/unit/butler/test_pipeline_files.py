"""Pipeline files are found wherever the package is installed."""

import os
from pathlib import Path

import pytest

import prompt_processing
from prompt_processing.butler.pipeline_files import expand_path, pipelines_folder, read_pipeline
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
