"""Preload from the registry of the reference service's own tests."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import butler_world as world
import pytest
from checkouts import Neighbours

from prompt_processing.activator.services.visit_rules import VisitRules
from prompt_processing.activator.services.workspace import Repositories, Workspace
from prompt_processing.butler.pipelines.files import expand_path
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.settings.worker import Settings

VISIT: dict[str, Any] = {
    "salIndex": 3,
    "groupId": "1",
    "coordinateSystem": 2,
    # LSSTCam visit 2025052100138, as in the reference service's tests.
    "position": [225.85827927603876, -38.6275010948895],
    "cameraAngle": 357.9606420320256,
    "startTime": 1747891209.9,
    "rotationSystem": 2,
    "filters": "g_6",
    "duration": 35.0,
    "nimages": 1,
    "instrument": "LSSTCam",
    "survey": "SURVEY",
    "private_sndStamp": 1747891150.0,
    "detector": 90,
}


@pytest.fixture
def repository(neighbours: Neighbours, tmp_path: Path) -> Path:
    source = neighbours.path("prompt_processing", "tests", "data", "central_repo")
    return Path(shutil.copytree(source, tmp_path / "central"))


def preloaded(repository: Path, tmp_path: Path, pipeline: str, **changed: Any) -> dict[str, int]:
    """Preload the visit, and return the number of datasets by type."""
    world.make_apdb(tmp_path)
    base = "$PROMPT_PROCESSING_DIR/pipelines/LSSTCam"
    settings = Settings.load(
        **{
            "rubin_instrument": "LSSTCam",
            "skymap": "lsst_cells_v1",
            "central_repo": str(repository),
            "image_bucket": "raws",
            "kafka_cluster": "127.0.0.1:9",
            "bucket_topic": "notices",
            "local_repos": str(tmp_path),
            "repo_retry_delay": 0.1,
            "config_apdb": str(tmp_path / "apdb.yaml"),
            "preprocessing_pipelines_config": "- pipelines: []",
            "main_pipelines_config": f"- pipelines: [{expand_path(f'{base}/{pipeline}.yaml')}]",
            **changed,
        }
    )
    repositories = Repositories.open(settings)
    try:
        visit = FannedOutVisit.parse(VISIT)
        rules = VisitRules.from_settings(settings, repositories.camera)
        workspace = Workspace(repositories, settings, visit, rules.pipelines(visit))
        workspace.preload()
        found: dict[str, int] = {}
        for ref in workspace.preloaded.refs:
            found[ref.datasetType.name] = found.get(ref.datasetType.name, 0) + 1
        return found
    finally:
        repositories.close()


@pytest.mark.parametrize("pipeline", ["ApPipe", "ApPipe-noForced", "SingleFrame", "Isr", "Isr-cal"])
def test_inputs_of_a_visit_are_found(repository: Path, tmp_path: Path, pipeline: str) -> None:
    found = preloaded(repository, tmp_path, pipeline)
    assert found["camera"] == 1
    if pipeline != "Isr-cal":
        assert {"bias", "dark", "flat", "defects"} <= set(found)
    if pipeline == "ApPipe":
        assert found["template_coadd"] >= 1
        assert found["skyMap"] == 1
