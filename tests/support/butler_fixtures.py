"""Fixtures for `butler_world`, imported by ``conftest.py``."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import butler_world as world
import pytest
from lsst.resources import ResourcePath
from made_once import made_once

from prompt_processing.activator.services.pipelines import PipelineResult
from prompt_processing.activator.services.visit_rules import VisitPipelines, VisitRules
from prompt_processing.activator.services.workspace import Repositories, Workspace
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.settings.worker import Settings


class Worker:
    """A worker's repositories, and visits in them."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder = folder
        self.settings = settings
        self.camera = world.small_camera()
        self.repositories = Repositories.open(settings, self.camera)

    def begin(self, **changed: Any) -> Workspace:
        return self.begin_visit(world.make_visit(**changed))

    def begin_visit(self, visit: FannedOutVisit, pipelines: VisitPipelines | None = None) -> Workspace:
        pipelines = pipelines or VisitRules.from_settings(self.settings, self.camera).pipelines(visit)
        return Workspace(self.repositories, self.settings, visit, pipelines)

    def raw(self, **changed: Any) -> ResourcePath:
        return ResourcePath(str(world.write_raw(self.folder / "raws", self.camera, **changed)))

    def process(self, exposure: int = world.EXPOSURE, **changed: Any) -> tuple[PipelineResult, int]:
        """Process a visit from announcement to export."""
        workspace = self.begin(groupId=f"group {exposure}", **changed)
        try:
            workspace.preload()
            workspace.run_preprocessing()
            workspace.ingest([self.raw(exposure=exposure)])
            return workspace.run_pipeline(), workspace.export()
        finally:
            workspace.clean()

    def local_datasets(self) -> set[str]:
        butler = self.repositories.local.butler
        runs = butler.collections.query("*", flatten_chains=True)
        return {ref.datasetType.name for ref in butler.query_all_datasets(list(runs), find_first=False)}


@pytest.fixture(scope="session")
def pristine_central(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A central repository to copy from."""

    def make(folder: Path) -> None:
        world.make_central(folder)
        world.make_apdb(folder)

    return made_once(tmp_path_factory, "central", make)


@pytest.fixture
def central_folder(pristine_central: Path, tmp_path: Path) -> Path:
    """Folder with a central repository and an APDB that a test may modify."""
    shutil.copytree(pristine_central / "central", tmp_path / "central")
    shutil.copy(pristine_central / "apdb.db", tmp_path)
    config = (pristine_central / "apdb.yaml").read_text()
    (tmp_path / "apdb.yaml").write_text(config.replace(str(pristine_central), str(tmp_path)))
    return tmp_path


@pytest.fixture
def open_butler_worker(central_folder: Path) -> Iterator[Callable[..., Worker]]:
    """Start workers in the folder; keywords replace settings."""
    workers: list[Worker] = []

    def start(**settings: Any) -> Worker:
        workers.append(Worker(central_folder, world.make_settings(central_folder, **settings)))
        return workers[-1]

    yield start
    for worker in workers:
        worker.repositories.close()


@pytest.fixture
def butler_worker(open_butler_worker: Callable[..., Worker]) -> Worker:
    return open_butler_worker()
