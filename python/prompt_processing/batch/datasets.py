"""Find the outputs of a graph's quanta in its repository."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator

from lsst.daf.butler import Butler, DatasetRef, QuantumBackedButler
from lsst.pipe.base.quantum_graph import PredictedQuantumGraph

from .records import butler_without_database

__all__ = ["files_of_run", "known_datasets", "outputs", "stored_quanta"]


def outputs(
    graph: PredictedQuantumGraph, quanta: Iterable[uuid.UUID], types: Container[str]
) -> Iterator[tuple[uuid.UUID, DatasetRef]]:
    """Yield the outputs of quanta that are of some types, each after its quantum.

    The dataset types are the registry's, and the data IDs have records. The quanta themselves are not built:
    all at once would not fit into memory.
    """
    datasets = graph.bipartite_xgraph
    found: defaultdict[str, list[tuple[uuid.UUID, uuid.UUID]]] = defaultdict(list)
    for one in quanta:
        for dataset in datasets.successors(one):
            if (name := datasets.nodes[dataset]["dataset_type_name"]) in types:
                found[name].append((one, dataset))
    records = graph.dimension_data
    assert records is not None, "the graph was read completely"
    for name, pairs in found.items():
        dataset_type = graph.pipeline_graph.dataset_types[name].dataset_type
        data_ids = records.attach(
            dataset_type.dimensions, [datasets.nodes[dataset]["data_id"] for _, dataset in pairs]
        )
        for (one, dataset), data_id in zip(pairs, data_ids, strict=True):
            yield one, DatasetRef(dataset_type, data_id, run=datasets.nodes[dataset]["run"], id=dataset)


def stored_quanta(repo: str, butler: Butler, graph: PredictedQuantumGraph, run: str) -> set[uuid.UUID]:
    """Return the quanta whose metadata are stored, which means that they were successful.

    The registry knows those of earlier executions that came to their end; the files of others are looked for.
    """
    types = {task.metadata_output.dataset_type_name for task in graph.pipeline_graph.tasks.values()}
    metadata = dict(outputs(graph, graph, types))
    known = known_datasets(butler, {ref.datasetType.name for ref in metadata.values()}, run)
    done = {one for one, ref in metadata.items() if ref.id in known}
    unknown = {one: ref for one, ref in metadata.items() if one not in done}
    with files_of_run(repo, graph, unknown.values()) as files:
        there = files.stored_many(unknown.values())
    return done | {one for one, ref in unknown.items() if there[ref]}


def known_datasets(butler: Butler, types: Iterable[str], run: str) -> set[uuid.UUID]:
    """Return the ids of the datasets of a run that the registry has."""
    found: set[uuid.UUID] = set()
    for name in types:
        found.update(ref.id for ref in butler.query_datasets(name, run, limit=None, explain=False))
    return found


def files_of_run(repo: str, graph: PredictedQuantumGraph, refs: Iterable[DatasetRef]) -> QuantumBackedButler:
    """Return a Butler for files of a run that the registry does not know yet."""
    pipeline = graph.pipeline_graph
    return butler_without_database(
        repo,
        pipeline.universe,
        inputs=[ref.id for ref in refs],
        types={node.name: node.dataset_type for node in pipeline.dataset_types.values()},
    )
