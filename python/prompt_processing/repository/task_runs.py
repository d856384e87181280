"""Run one task over the data of a repository: here, or where the caller decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Protocol

from lsst.daf.butler import Butler
from lsst.pipe.base import PipelineTask
from lsst.pipe.base.quantum_graph import PredictedQuantumGraph
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor
from lsst.pipe.base.single_quantum_executor import SingleQuantumExecutor

from prompt_processing.butler.internals import butler_of_quantum, butler_without_datasets

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
    """Run a task in this process, one quantum after the other.

    Files are read as at night, and as in the quanta of ``prompt run``: the outputs are the same.
    """
    config: Any = wanted.task.ConfigClass()
    for name, value in wanted.config.items():
        setattr(config, name, value)
    own = butler.clone(collections=list(wanted.inputs), run=wanted.run)
    graph = SimplePipelineExecutor.from_task_class(
        wanted.task, config, wanted.label, where=wanted.where, butler=own, attach_datastore_records=True
    ).predicted
    if len(graph):
        _execute(own, graph)
        butler.registry.refresh()
    return len(graph)


def _execute(butler: Butler, graph: PredictedQuantumGraph) -> None:
    """Execute the quanta of a graph, and enter the outputs of each, of a failed one too."""
    graph.pipeline_graph.register_dataset_types(butler)
    graph.write_configs(butler, compare_existing=False)
    graph.write_init_outputs(butler, skip_existing=False)
    types = {node.name: node.dataset_type for node in graph.pipeline_graph.dataset_types.values()}
    files = butler_without_datasets(butler)
    for quantum_id, quantum in graph.build_execution_quanta().items():
        task = graph.pipeline_graph.tasks[graph.quantum_only_xgraph.nodes[quantum_id]["task_label"]]
        outputs = [
            ref.overrideStorageClass(types[ref.datasetType.name].storageClass_name)
            for ref in chain.from_iterable(quantum.outputs.values())
        ]
        with butler_of_quantum(files, quantum, types) as limited:
            try:
                SingleQuantumExecutor(butler=limited).execute(task, quantum, quantum_id)
            finally:
                written = [ref for ref, there in limited.stored_many(outputs).items() if there]
                butler.transfer_from(limited, written, transfer="auto", transfer_dimensions=False)
