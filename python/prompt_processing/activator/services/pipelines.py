"""Run the best pipeline that can be built, and say what its failure means."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from lsst.daf.butler import (
    Butler,
    DatasetRef,
    MissingCollectionError,
    MissingDatasetTypeError,
    Quantum,
)
from lsst.daf.butler.logging import ButlerLogRecords
from lsst.pipe.base import (
    ExecutionResources,
    InvalidQuantumError,
    Pipeline,
    RepeatableQuantumError,
    TaskMetadata,
)
from lsst.pipe.base.all_dimensions_quantum_graph_builder import AllDimensionsQuantumGraphBuilder
from lsst.pipe.base.mp_graph_executor import MPGraphExecutor, MPGraphExecutorError
from lsst.pipe.base.pipeline_graph import TaskNode
from lsst.pipe.base.quantum_graph import PredictedQuantumGraph
from lsst.pipe.base.quantum_graph_builder import QuantumGraphBuilderError
from lsst.pipe.base.quantum_graph_executor import QuantumExecutionResult
from lsst.pipe.base.separable_pipeline_executor import SeparablePipelineExecutor
from lsst.pipe.base.single_quantum_executor import SingleQuantumExecutor

from prompt_processing.butler.pipeline_library import ReadyPipeline
from prompt_processing.domain.errors import NonRetriableError, PromptError, RetriableError
from prompt_processing.tasks.connected_task import ConnectedTaskFactory
from prompt_processing.tasks.connections import Connections

from .visit_outputs import VisitOutputs

_LOG = logging.getLogger("lsst.activator.services.pipelines")

Release = Callable[[Iterable[DatasetRef]], None]

_THIRTY_DAYS = 30 * 86400.0

NOT_BUILDABLE: tuple[type[Exception], ...] = (
    QuantumGraphBuilderError,
    # A prerequisite of which there are fewer than the task asks for.
    FileNotFoundError,
    MissingDatasetTypeError,
    MissingCollectionError,
)
"""How the middleware says that a pipeline's inputs are not there."""


@dataclass(frozen=True, slots=True)
class PipelineResult:
    """What a pipeline did.

    Attributes
    ----------
    pipeline : `str`
        Stem of its file.
    metadata : mapping
        Metadata by task label.
    seconds : mapping
        Wall time by task label.
    """

    pipeline: str
    metadata: Mapping[str, TaskMetadata]
    seconds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class DataSelection:
    """The data that a pipeline is to run on.

    Attributes
    ----------
    where : `str`
        Expression with placeholders.
    bind : mapping
        Values of the placeholders.
    if_used : mapping
        Values of dimensions that not all pipelines have.
    """

    where: str
    bind: Mapping[str, Any]
    if_used: Mapping[str, Any]

    def for_pipeline(self, pipeline: ReadyPipeline) -> tuple[str, dict[str, Any]]:
        """Return expression and values for one pipeline."""
        where, bind = self.where, dict(self.bind)
        for dimension, value in self.if_used.items():
            if dimension in pipeline.graph.get_all_dimensions():
                where += f" AND {dimension} = the_{dimension}"
                bind[f"the_{dimension}"] = value
        return where, bind


class TaskFailedError(RuntimeError):
    """A task failed; the cause is what it raised.

    Parameters
    ----------
    label : `str`
        Label of the task.
    """

    # Upon some exceptions of tasks the graph executor ends the whole process: it gets this one instead.
    def __init__(self, label: str) -> None:
        super().__init__(label)
        self.label = label


class _WatchedExecutor(SingleQuantumExecutor):
    """Keep each task's time and metadata, which would otherwise have to be read back.

    Parameters
    ----------
    release : callable
        Called after each task with the inputs that no later one reads.
    last_readers : mapping
        Label of the last task that reads a dataset type, by its name.
    **kwargs
        For the base class.
    """

    def __init__(self, release: Release, last_readers: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._release = release
        self._last_readers = last_readers
        self.seconds: dict[str, float] = {}
        self.metadata: dict[str, TaskMetadata] = {}

    def execute(
        self,
        task_node: TaskNode,
        /,
        quantum: Quantum,
        quantum_id: Any = None,
        *,
        log_records: ButlerLogRecords | None = None,
    ) -> QuantumExecutionResult:
        start = time.monotonic()
        try:
            result = super().execute(task_node, quantum, quantum_id, log_records=log_records)
        # A task may raise anything; what counts here is which task it was.
        except Exception as error:
            raise TaskFailedError(task_node.label) from error
        finally:
            elapsed = time.monotonic() - start
            self.seconds[task_node.label] = self.seconds.get(task_node.label, 0.0) + elapsed
            for dataset_type, refs in quantum.inputs.items():
                if self._last_readers.get(dataset_type.name) == task_node.label:
                    self._release(refs)
        if result.task_metadata is not None:
            self.metadata[task_node.label] = result.task_metadata
        return result


def _builder_for_empty_run(*args: Any, **kwargs: Any) -> AllDimensionsQuantumGraphBuilder:
    """Make a builder of quantum graphs for a run in which there is nothing of the visit yet."""
    builder = AllDimensionsQuantumGraphBuilder(*args, **kwargs)
    # It has found the night's init-outputs by now. A query for each other output would come back empty, and
    # they are a third of the graph's time.
    builder.output_run_exists = False
    return builder


class PipelineRun:
    """One pipeline, built for one visit.

    Parameters
    ----------
    butler : `~lsst.daf.butler.Butler`
        Local; its collections and run are the pipeline's inputs and output.
    pipeline : `ReadyPipeline`
        The pipeline.
    connections : `~prompt_processing.tasks.connections.Connections`
        The worker's.
    release : callable
        Takes datasets that no task will read again.
    """

    def __init__(
        self, butler: Butler, pipeline: ReadyPipeline, connections: Connections, release: Release
    ) -> None:
        self._butler = butler
        self._connections = connections
        self._release = release
        self._pipeline = pipeline
        self._executor = SeparablePipelineExecutor(
            butler, clobber_output=False, skip_existing_in=None, raise_on_partial_outputs=True
        )
        self._graph: PredictedQuantumGraph | None = None

    def build(self, data: DataSelection) -> bool:
        """Make the quantum graph.

        Parameters
        ----------
        data : `DataSelection`
            What to process.

        Returns
        -------
        can_run : `bool`
            `False` if inputs are missing for any of the tasks.
        """
        where, bind = data.for_pipeline(self._pipeline)
        try:
            graph = self._executor.build_quantum_graph(
                cast(Pipeline, self._pipeline),
                where=where,
                bind=bind,
                # Whatever makes one will do.
                builder_class=cast(Any, _builder_for_empty_run),
            )
        except NOT_BUILDABLE as error:
            _LOG.info("Pipeline %s cannot be built: %s", self._pipeline.path, error)
            return False
        idle = self._pipeline.labels - {label for label, quanta in graph.quanta_by_task.items() if quanta}
        if idle:
            _LOG.info(
                "Pipeline %s cannot be built: no inputs for %s.", self._pipeline.path, ", ".join(sorted(idle))
            )
            return False
        self._graph = graph
        return True

    def execute(self) -> PipelineResult:
        """Run the quantum graph in this process.

        Raises
        ------
        TaskFailedError
            Raised if a task fails, or gives outputs that it calls partial.
        """
        if self._graph is None:
            raise RuntimeError(f"Pipeline {self._pipeline.path} is not built.")
        outputs = VisitOutputs(self._butler)
        watched = _WatchedExecutor(
            self._release,
            self._pipeline.last_readers(),
            limited_butler_factory=lambda quantum: outputs,
            task_factory=ConnectedTaskFactory(self._connections),
            resources=ExecutionResources(),
            # The run was empty before the visit: existence checks would cost time for nothing.
            assume_no_existing_outputs=True,
            raise_on_partial_outputs=True,
        )
        runner = MPGraphExecutor(num_proc=1, timeout=_THIRTY_DAYS, quantum_executor=watched, fail_fast=True)
        try:
            self._executor.run_pipeline(self._graph, graph_executor=runner)
        except MPGraphExecutorError as error:
            _hand_over_rest(outputs)
            if isinstance(error.__cause__, TaskFailedError):
                raise error.__cause__ from error.__cause__.__cause__
            raise
        outputs.hand_over()
        return PipelineResult(self._pipeline.stem, watched.metadata, watched.seconds)


def _hand_over_rest(outputs: VisitOutputs) -> None:
    """Keep what a pipeline made before it failed: metadata and logs tell why."""
    try:
        outputs.hand_over()
    except Exception:  # noqa: BLE001
        # Whatever it is, the task's failure came first and decides.
        _LOG.exception("The outputs of the failed pipeline are lost.")


def first_buildable(runs: Sequence[PipelineRun], data: DataSelection) -> PipelineRun | None:
    """Return the first of some pipelines whose inputs are all there, built; `None` if there is none."""
    for run in runs:
        if run.build(data):
            return run
    return None


def meaning_of_failure(failure: TaskFailedError, changed: bool | None) -> PromptError:
    """Say whether a visit whose pipeline failed may be tried again.

    Parameters
    ----------
    failure : `TaskFailedError`
        What happened.
    changed : `bool` or `None`
        Whether anything permanent was written outside; `None` if it cannot be told.

    Returns
    -------
    error : `RetriableError` or `NonRetriableError`
        To be raised from ``failure``.
    """
    cause = failure.__cause__
    reason = f"Task {failure.label} failed: {type(cause).__name__}: {cause}"
    if changed is None:
        return NonRetriableError(f"{reason}; whether the APDB was written to cannot be told", "unsafe")
    if changed:
        return NonRetriableError(f"{reason}; the APDB was written to", "unsafe")
    if isinstance(cause, NonRetriableError | RetriableError):
        return cause
    if isinstance(cause, RepeatableQuantumError | InvalidQuantumError):
        return NonRetriableError(reason, "useless")
    return RetriableError(reason)
