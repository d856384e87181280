"""Run the tasks of a build as quanta where the flow works."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import FlowError
from ..run import FlowRun

if TYPE_CHECKING:
    from lsst.daf.butler import Butler

    from prompt_processing.batch.outcomes import QuantumOutcome
    from prompt_processing.batch.plan import Plan
    from prompt_processing.batch.request import RunRequest
    from prompt_processing.repository.task_runs import TaskRun, TaskRunner

__all__ = ["pipeline_of", "request_of", "runner"]

_SHOWN = 5


def runner(run: FlowRun, repo: str, build: str) -> TaskRunner:
    """Return what runs each task of a build with the engine of ``prompt run``.

    What an earlier attempt made is not made again.

    Parameters
    ----------
    repo
        Butler repository.
    build
        Name of the build, for its folder.
    """

    def run_task(butler: Butler, wanted: TaskRun) -> int:
        from prompt_processing.batch import run as batch

        folder = (run.work / build / wanted.label).absolute()
        begin, count = _progress(run, wanted.label)
        result = batch.run(
            request_of(wanted, repo, folder),
            folder,
            wanted.run,
            dask=run.place.scheduler,
            processes=run.place.processes,
            on_plan=begin,
            on_outcome=count,
        )
        # This client does not know yet what the engine's entered.
        butler.registry.refresh()
        if not result.complete:
            missed = [one for one in result.outcomes if one.reason]
            shown = "; ".join(f"{one.label}: {one.reason}" for one in missed[:_SHOWN])
            raise FlowError(
                f"{len(missed)} of {len(result.outcomes)} quanta of {wanted.label} were not successful: "
                f"{shown}. Repeat the flow to try them again; the others are kept."
            )
        # Quanta that are done already may be absent from a new graph.
        return len(result.outcomes) or len(
            butler.query_datasets(f"{wanted.label}_metadata", wanted.run, explain=False, limit=None)
        )

    return run_task


def request_of(wanted: TaskRun, repo: str, folder: Path) -> RunRequest:
    """Return a task as a request to the engine of ``prompt run``, whose pipeline is written into a folder."""
    from prompt_processing.batch.request import RunRequest

    folder.mkdir(parents=True, exist_ok=True)
    pipeline = folder / "pipeline.yaml"
    pipeline.write_text(pipeline_of(wanted), encoding="utf-8")
    return RunRequest(repo, str(pipeline), wanted.inputs, where=wanted.where)


def pipeline_of(wanted: TaskRun) -> str:
    """Return a pipeline of one task."""
    task: dict[str, object] = {"class": f"{wanted.task.__module__}.{wanted.task.__qualname__}"}
    if wanted.config:
        task["config"] = dict(wanted.config)
    # JSON is YAML.
    return json.dumps({"description": wanted.label, "tasks": {wanted.label: task}}, indent=2) + "\n"


def _progress(
    run: FlowRun, label: str
) -> tuple[Callable[[str, Plan], None], Callable[[QuantumOutcome], None]]:
    """Return what shows the plan of a task and counts its quanta."""
    counters: list[Callable[[], None]] = []

    def begin(_: str, plan: Plan) -> None:
        counters.append(run.progress(f"quanta of {label}", plan.n_quanta))

    def count(_: QuantumOutcome) -> None:
        counters[-1]()

    return begin, count
