"""Run the best pipeline that can be built, and classify its failure."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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

from prompt_processing.butler.pipelines.library import ReadyPipeline
from prompt_processing.domain.errors import NonRetriableError, PromptError, RetriableError
from prompt_processing.tasks.connected_task import ConnectedTaskFactory
from prompt_processing.tasks.connections import Connections

from .raws_read_ahead import RawsReadAhead
from .visit_outputs import VisitOutputs

_LOG = logging.getLogger("lsst.activator.services.pipelines")

Release = Callable[[Iterable[DatasetRef]], None]

_THIRTY_DAYS = 30 * 86400.0

NOT_BUILDABLE: tuple[type[Exception], ...] = (
    QuantumGraphBuilderError,
    # Fewer prerequisites than the task needs.
    FileNotFoundError,
    MissingDatasetTypeError,
    MissingCollectionError,
)
"""Exceptions by which the middleware reports that a pipeline's inputs are missing."""


@dataclass(frozen=True, slots=True)
class PipelineResult:
    """Result of a pipeline.

    Attributes
    ----------
    pipeline : `str`
        Stem of the pipeline's file name.
    metadata : mapping
        Metadata by task label.
    seconds : mapping
        Wall time by task label.
    outputs : sequence of `~lsst.daf.butler.DatasetRef` or `None`
        Datasets in the repository; `None` if only the repository knows them.
    """

    pipeline: str
    metadata: Mapping[str, TaskMetadata]
    seconds: Mapping[str, float]
    outputs: Sequence[DatasetRef] | None = None


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
        Values of dimensions that only some pipelines have.
    """

    where: str
    bind: Mapping[str, Any]
    if_used: Mapping[str, Any]

    def for_pipeline(self, pipeline: ReadyPipeline) -> tuple[str, dict[str, Any]]:
        """Return the expression and its values for one pipeline."""
        where, bind = self.where, dict(self.bind)
        for dimension, value in self.if_used.items():
            if dimension in pipeline.graph.get_all_dimensions():
                where += f" AND {dimension} = the_{dimension}"
                bind[f"the_{dimension}"] = value
        return where, bind


class TaskFailedError(RuntimeError):
    """A task failed; ``__cause__`` is the exception that it raised.

    Parameters
    ----------
    label : `str`
        Label of the task.
    """

    # Some exceptions of tasks make the graph executor end the whole process, so it sees this one instead.
    def __init__(self, label: str) -> None:
        super().__init__(label)
        self.label = label


class _WatchedExecutor(SingleQuantumExecutor):
    """Record each task's time and metadata, which would otherwise have to be read back.

    Parameters
    ----------
    release : callable
        Called after the last quantum of each task with the inputs that no later task reads.
    last_readers : mapping
        Label of the last task that reads each dataset type, by its name.
    n_quanta : mapping
        Number of quanta by label: a visit of two snaps has two of some tasks.
    **kwargs
        For the base class.
    """

    def __init__(
        self, release: Release, last_readers: Mapping[str, str], n_quanta: Mapping[str, int], **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._release = release
        self._last_readers = last_readers
        self._left = dict(n_quanta)
        self._unneeded: dict[str, set[DatasetRef]] = defaultdict(set)
        self.seconds: dict[str, float] = {}
        self.metadata: dict[str, TaskMetadata] = {}
        self.n_done = 0
        self.failure: TaskFailedError | None = None

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
        # A task may raise anything; only its label matters here.
        except Exception as error:
            self.failure = TaskFailedError(task_node.label)
            raise self.failure from error
        finally:
            elapsed = time.monotonic() - start
            self.seconds[task_node.label] = self.seconds.get(task_node.label, 0.0) + elapsed
            self._release_inputs(task_node.label, quantum)
        if result.task_metadata is not None:
            self.metadata[task_node.label] = result.task_metadata
        self.n_done += 1
        return result

    def _release_inputs(self, label: str, quantum: Quantum) -> None:
        for dataset_type, refs in quantum.inputs.items():
            if self._last_readers.get(dataset_type.name) == label:
                self._unneeded[label].update(refs)
        self._left[label] -= 1
        if self._left[label] == 0:
            self._release(self._unneeded.pop(label, set()))


class PipelineRun:
    """One pipeline, built for one visit.

    Parameters
    ----------
    butler : `~lsst.daf.butler.Butler`
        The local repository; its collections are the pipeline's inputs, its run takes the outputs.
    pipeline : `ReadyPipeline`
        The pipeline.
    connections : `~prompt_processing.tasks.connections.Connections`
        Connections of the worker.
    release : callable
        Releases datasets that no task will read again.
    raws : `~prompt_processing.activator.services.raws_read_ahead.RawsReadAhead`
        Raws that are being read.
    """

    def __init__(
        self,
        butler: Butler,
        pipeline: ReadyPipeline,
        connections: Connections,
        release: Release,
        raws: RawsReadAhead,
    ) -> None:
        self._butler = butler
        self._raws = raws
        self._connections = connections
        self._release = release
        self._pipeline = pipeline
        self._executor = SeparablePipelineExecutor(butler)
        self._graph: PredictedQuantumGraph | None = None

    @property
    def stem(self) -> str:
        """Stem of the pipeline's file name."""
        return self._pipeline.stem

    def build(self, data: DataSelection) -> bool:
        """Build the quantum graph.

        Parameters
        ----------
        data : `DataSelection`
            The data to process.

        Returns
        -------
        can_run : `bool`
            `False` if inputs are missing for any of the tasks.
        """
        where, bind = data.for_pipeline(self._pipeline)
        try:
            graph = self._graph_of(where, bind)
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

    def _graph_of(self, where: str, bind: Mapping[str, Any]) -> PredictedQuantumGraph:
        """Return the quantum graph as `SeparablePipelineExecutor` builds it.

        The executor's clone of the butler infers the default data ID, by a query for each collection.
        """
        builder = AllDimensionsQuantumGraphBuilder(
            self._pipeline.to_graph(), self._butler, where=where, bind=bind
        )
        # The builder has found the night's init-outputs by now. Queries for the other outputs would find
        # nothing and take a third of the time.
        builder.output_run_exists = False
        metadata = {
            "skip_existing_in": [],
            "skip_existing": False,
            "retained_dataset_types": None,
            "data_query": where,
        }
        return builder.finish(metadata=metadata, attach_datastore_records=False).assemble()

    def execute(self, provenance: DatasetRef | None = None) -> PipelineResult:
        """Run the quantum graph in this process.

        Parameters
        ----------
        provenance : `~lsst.daf.butler.DatasetRef`, optional
            Dataset for the provenance of all outputs; its type must be registered. If it
            cannot be written once all tasks have run, an error is logged.

        Raises
        ------
        TaskFailedError
            Raised if a task fails, or reports partial outputs.
        """
        if self._graph is None:
            raise RuntimeError(f"Pipeline {self._pipeline.path} is not built.")
        outputs = VisitOutputs(self._butler, self._raws)
        watched = _WatchedExecutor(
            self._release,
            self._pipeline.last_readers(),
            {label: len(quanta) for label, quanta in self._graph.quanta_by_task.items()},
            limited_butler_factory=lambda quantum: outputs,
            task_factory=ConnectedTaskFactory(self._connections),
            resources=ExecutionResources(),
            # The run was empty before the visit: existence checks would waste time.
            assume_no_existing_outputs=True,
            raise_on_partial_outputs=True,
        )
        further = [] if provenance is None else [provenance]
        is_known = True
        runner = MPGraphExecutor(num_proc=1, timeout=_THIRTY_DAYS, quantum_executor=watched, fail_fast=True)
        try:
            if provenance is None:
                runner.execute(self._graph)
            else:
                self._executor.run_pipeline(
                    self._graph, graph_executor=runner, provenance_dataset_ref=provenance
                )
        # The executor wraps whatever a task raised; the first failure is the one to report.
        except Exception as error:
            if watched.failure is not None:
                _hand_over_rest(outputs)
                raise watched.failure from watched.failure.__cause__
            if isinstance(error, MPGraphExecutorError) or watched.n_done < len(self._graph):
                _hand_over_rest(outputs)
                raise
            # The tasks have run, and the alerts are sent: the outputs are worth more than their provenance.
            _LOG.exception("The provenance of pipeline %s is lost.", self._pipeline.path)
            is_known = False
        entered = [*outputs.hand_over(), *further]
        return PipelineResult(
            self._pipeline.stem, watched.metadata, watched.seconds, entered if is_known else None
        )


def _hand_over_rest(outputs: VisitOutputs) -> None:
    """Keep what a pipeline wrote before it failed: metadata and logs show the cause."""
    try:
        outputs.hand_over()
    except Exception:  # noqa: BLE001
        # The task's failure came first and decides the outcome.
        _LOG.exception("The outputs of the failed pipeline are lost.")


def first_buildable(runs: Iterable[PipelineRun], data: DataSelection) -> PipelineRun | None:
    """Build and return the first pipeline whose inputs are all present, or `None`.

    Those after it are not looked at: a view of the repository for each of them would delay the alerts.
    """
    for run in runs:
        if run.build(data):
            return run
    return None


def meaning_of_failure(failure: TaskFailedError, changed: bool | None) -> PromptError:
    """Classify a pipeline's failure: may the visit be retried?

    Parameters
    ----------
    failure : `TaskFailedError`
        The failure.
    changed : `bool` or `None`
        Whether the APDB was written to; `None` if that is unknown.

    Returns
    -------
    error : `RetriableError` or `NonRetriableError`
        Error to raise from ``failure``.
    """
    cause = failure.__cause__
    reason = f"Task {failure.label} failed: {type(cause).__name__}: {cause}"
    if changed is None:
        return NonRetriableError(f"{reason}; it is unknown whether the APDB was written to", "unsafe")
    if changed:
        return NonRetriableError(f"{reason}; the APDB was written to", "unsafe")
    if isinstance(cause, NonRetriableError | RetriableError):
        return cause
    if isinstance(cause, RepeatableQuantumError | InvalidQuantumError):
        return NonRetriableError(reason, "useless")
    return RetriableError(reason)
