"""Base of tasks that use outside systems, and the factory that injects their connections."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lsst.daf.butler import DatasetRef, LimitedButler
from lsst.pipe.base import PipelineTask, TaskFactory
from lsst.pipe.base.pipeline_graph import TaskNode

from prompt_processing.tasks.connections import Connections

__all__ = ["ConnectedTask", "ConnectedTaskFactory"]


class ConnectedTask(PipelineTask):
    """Task that uses an outside system.

    Attributes
    ----------
    connections
        Connections of the process; empty unless the pipeline's executor sets them.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.connections = Connections()


class ConnectedTaskFactory(TaskFactory):
    """Factory that shares the connections of a process with its tasks.

    Parameters
    ----------
    connections
        The connections.
    """

    def __init__(self, connections: Connections) -> None:
        super().__init__()
        self._connections = connections

    def makeTask(  # noqa: N802
        self,
        task_node: TaskNode,
        butler: LimitedButler,
        initInputRefs: Iterable[DatasetRef] | None,
    ) -> PipelineTask:
        """Make a task; see `lsst.pipe.base.TaskFactory`."""
        task = super().makeTask(task_node, butler, initInputRefs)
        if isinstance(task, ConnectedTask):
            task.connections = self._connections
        return task
