"""The metrics of a visit that was processed in real repositories are what the REST proxy takes."""

from __future__ import annotations

from typing import Any

import butler_world as world
import pytest
from butler_fixtures import Worker
from pydantic import SecretStr
from rest_proxy import RestProxy, rest_proxy

from prompt_processing.activator.services.metric_bundles import bundles_of_visit
from prompt_processing.domain.outcome import Outcome, Status
from prompt_processing.telemetry.sasquatch import Sasquatch

__all__ = ["rest_proxy"]

pytestmark = pytest.mark.integration


def test_preload_and_every_task_reach_their_topics(butler_worker: Worker, rest_proxy: RestProxy) -> None:
    visit = world.make_visit()
    workspace = butler_worker.begin_visit(visit)
    try:
        preload = workspace.preload()
        workspace.run_preprocessing()
        exposures = workspace.ingest([butler_worker.raw()])
        result = workspace.run_pipeline()
        runs = workspace.runs
        (stored,) = workspace_metrics(butler_worker, runs["NoPipeline"])
    finally:
        workspace.clean()
    outcome = Outcome(
        Status.PROCESSED, "", stages={"preload": 1.0}, exposures=tuple(exposures), pipeline="ApPipe"
    )
    sasquatch = Sasquatch(rest_proxy.url, "lsst.prompt", SecretStr("hush-token"))
    sasquatch.submit([*bundles_of_visit(visit, outcome, preload, result.metadata, runs)])
    sasquatch.close(20.0)

    assert rest_proxy.refusals == []
    by_topic = {posted.topic: posted.value for posted in rest_proxy.posted}
    assert by_topic.keys() == {
        "lsst.prompt.promptPreload_metrics",
        "lsst.prompt.prepButlerTimeMetric",
        "lsst.prompt.isr_metrics",
        "lsst.prompt.calibrateImage_metrics",
        "lsst.prompt.buildTemplate_metrics",
    }
    assert by_topic["lsst.prompt.promptPreload_metrics"]["numDatasets"] > 0
    assert by_topic["lsst.prompt.buildTemplate_metrics"]["coadds"] > 0
    assert by_topic["lsst.prompt.isr_metrics"]["visit"] == str(world.EXPOSURE)
    assert by_topic["lsst.prompt.isr_metrics"]["run"] == runs["ApPipe"]
    times = by_topic["lsst.prompt.prepButlerTimeMetric"]
    steps = [times[f"prep_butler{step}Time"] for step in ("Search", "Transfer", "Preprocess")]
    assert min(steps) > 0
    assert times["prep_butlerTotalTime"] >= sum(steps)
    assert times["run"] == runs["NoPipeline"]
    assert {entry["metric"]: entry["value"] for entry in stored["prepButlerTimeMetric"]} == {
        name: value for name, value in times.items() if name.startswith("prep_butler")
    }


def workspace_metrics(worker: Worker, run: str) -> list[Any]:
    butler = worker.repositories.local.butler
    refs = butler.query_datasets("promptPreload_metrics", collections=run, find_first=False)
    return [butler.get(ref) for ref in refs]
