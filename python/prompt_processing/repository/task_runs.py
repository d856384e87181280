"""Run one task over the data of a repository: here, or where the caller decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from lsst.daf.butler import Butler
from lsst.pipe.base import PipelineTask
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor

__all__ = ["TaskRun", "TaskRunner", "run_here"]


@dataclass(frozen=True, slots=True)
class TaskRun:
    """A task, the data that it reads, and the run that it writes to.

    Attributes
    ----------
    label
        Label of the task.
    where
        Query that selects the data.
    inputs
        Collections, in search order.
    run
        Collection of the outputs; it exists.
    config
        Overrides by field.
    """

    task: type[PipelineTask]
    label: str
    where: str
    inputs: tuple[str, ...]
    run: str
    config: Mapping[str, Any] = field(default_factory=dict)


class TaskRunner(Protocol):
    """Runs a task, in whichever processes."""

    def __call__(self, butler: Butler, wanted: TaskRun) -> int:
        """Run a task and return the number of its quanta; the outputs are in the repository then.

        Errors of the task are raised.
        """


def run_here(butler: Butler, wanted: TaskRun) -> int:
    """Run a task in this process, one quantum after the other."""
    config: Any = wanted.task.ConfigClass()
    for name, value in wanted.config.items():
        setattr(config, name, value)
    own = butler.clone(collections=list(wanted.inputs), run=wanted.run)
    executor = SimplePipelineExecutor.from_task_class(
        wanted.task, config, wanted.label, where=wanted.where, butler=own
    )
    n_quanta = len(executor.predicted)
    if n_quanta:
        executor.run(register_dataset_types=True, save_versions=False)
        butler.registry.refresh()
    return n_quanta
