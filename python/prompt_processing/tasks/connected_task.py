"""Tasks that talk to something outside, and how they get their connections."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lsst.daf.butler import DatasetRef, LimitedButler
from lsst.pipe.base import PipelineTask, TaskFactory
from lsst.pipe.base.pipeline_graph import TaskNode

from prompt_processing.tasks.connections import Connections

__all__ = ["ConnectedTask", "ConnectedTaskFactory"]


class ConnectedTask(PipelineTask):
    """A task that talks to something outside.

    Attributes
    ----------
    connections : `~prompt_processing.tasks.connections.Connections`
        Its own, which name nothing, unless whoever runs the pipeline shares theirs.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.connections = Connections()


class ConnectedTaskFactory(TaskFactory):
    """Share the connections of a process with the tasks that have any.

    Parameters
    ----------
    connections : `~prompt_processing.tasks.connections.Connections`
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
