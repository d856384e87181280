"""A visit through the repositories of one worker, when something fails."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import butler_world as world
import pytest
from butler_fixtures import Worker
from central_exports import exported_refs, provenance
from lsst.pipe.base import QuantumAttemptStatus

from prompt_processing.domain.errors import NonRetriableError, RetriableError

pytestmark = pytest.mark.integration


def test_central_repository_gone_is_retriable(butler_worker: Worker, central_folder: Path) -> None:
    shutil.rmtree(central_folder / "central")
    with pytest.raises(RetriableError, match="central repository"):
        butler_worker.begin().preload()


def test_central_repository_gone_at_export_is_retriable(butler_worker: Worker, central_folder: Path) -> None:
    workspace = butler_worker.begin()
    workspace.preload()
    workspace.run_preprocessing()
    workspace.ingest([butler_worker.raw()])
    workspace.run_pipeline()
    shutil.rmtree(central_folder / "central")
    with pytest.raises(RetriableError, match="central repository"):
        workspace.export()
    workspace.clean()


def test_absent_central_repository_is_retriable(
    open_butler_worker: Callable[..., Worker], central_folder: Path
) -> None:
    with pytest.raises(RetriableError, match="nowhere"):
        open_butler_worker(central_repo=str(central_folder / "nowhere"))


def test_passing_failure_of_a_task_is_retriable(
    butler_worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.TemplateTask, "failure", ConnectionError("broker is away"))
    with pytest.raises(RetriableError, match=r"buildTemplate.*broker is away"):
        butler_worker.process()
    result, _ = butler_worker.process()
    assert result.pipeline == "ApPipe"


def test_provenance_of_a_failed_pipeline_has_the_tasks_that_ran(
    butler_worker: Worker, central_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no more stars")

    monkeypatch.setattr(world.CalibrateTask, "run", fail)
    workspace = butler_worker.begin()
    workspace.preload()
    workspace.run_preprocessing()
    workspace.ingest([butler_worker.raw()])
    with pytest.raises(RetriableError, match="no more stars"):
        workspace.run_pipeline()
    workspace.export()
    graph = provenance(central_folder, "ApPipe").bipartite_xgraph
    (image,) = (ref for ref in exported_refs(central_folder) if ref.datasetType.name == "post_isr_image")
    assert graph.nodes[image.id]["produced"]
    status = {
        node["task_label"]: node.get("status") for _, node in graph.nodes(data=True) if "task_label" in node
    }
    assert status["isr"] is QuantumAttemptStatus.SUCCESSFUL
    assert status["calibrateImage"] is not QuantumAttemptStatus.SUCCESSFUL
    assert status["buildTemplate"] is not QuantumAttemptStatus.SUCCESSFUL


def test_hopeless_data_are_not_retriable(butler_worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.TemplateTask, "failure", world.HopelessError("no stars"))
    with pytest.raises(NonRetriableError, match="no stars") as caught:
        butler_worker.process()
    assert caught.value.retry == "useless"


def test_failure_is_unsafe_to_retry_if_apdb_does_not_tell(
    butler_worker: Worker,
    central_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (central_folder / "apdb.yaml").unlink()
    monkeypatch.setattr(world.TemplateTask, "failure", ConnectionError("broker is away"))
    with pytest.raises(NonRetriableError, match="it is unknown whether") as caught:
        butler_worker.process()
    assert caught.value.retry == "unsafe"


def test_interruption_leaves_a_clean_worker(butler_worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.TemplateTask, "failure", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        butler_worker.process()
    result, _ = butler_worker.process()
    assert result.pipeline == "ApPipe"


def test_local_repository_is_removed_at_the_end(central_folder: Path) -> None:
    butler_worker = Worker(central_folder, world.make_settings(central_folder))
    (local,) = (central_folder / "local").iterdir()
    assert len(local.name) == len("butler-????????")
    butler_worker.repositories.close()
    assert not local.exists()
