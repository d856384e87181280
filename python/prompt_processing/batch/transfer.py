"""Enter the outputs of a run in its repository."""

from __future__ import annotations

from lsst.daf.butler import Butler, CollectionType  # type: ignore[attr-defined]
from lsst.pipe.base.quantum_graph import PredictedQuantumGraph

from .datasets import files_of_run, known_datasets, outputs
from .request import RunRequest

__all__ = ["prepend_to_chain", "transfer_outputs"]

_AT_A_TIME = 50_000


def transfer_outputs(repo: str, butler: Butler, graph: PredictedQuantumGraph, run: str) -> int:
    """Enter the files that the quanta of a graph wrote, logs of failures among them, in the registry.

    The files are in place already, so that nothing is copied. What the registry knows is left alone: the call
    can be repeated.

    Returns
    -------
    count
        Number of datasets that were entered.
    """
    refs = [ref for _, ref in outputs(graph, graph, graph.pipeline_graph.dataset_types)]
    known = known_datasets(butler, {ref.datasetType.name for ref in refs}, run)
    new = [ref for ref in refs if ref.id not in known]
    with files_of_run(repo, graph, new) as files:
        # The transfer would warn of every output of quanta that were not executed.
        there = [ref for ref, exists in files.stored_many(new).items() if exists]
        for start in range(0, len(there), _AT_A_TIME):
            chunk = there[start : start + _AT_A_TIME]
            butler.transfer_from(files, chunk, transfer="auto", transfer_dimensions=False)
    return len(there)


def prepend_to_chain(butler: Butler, request: RunRequest, run: str) -> None:
    """Make a run the first member of the output chain, which also gets the inputs when it is new."""
    if not request.output:
        return
    if butler.collections.register(request.output, CollectionType.CHAINED):
        butler.collections.extend_chain(
            request.output, butler.collections.query(request.inputs, flatten_chains=True)
        )
    butler.collections.prepend_chain(request.output, run)
