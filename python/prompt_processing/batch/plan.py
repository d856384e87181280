"""Decide which quanta of a graph are left, and which of them one process executes together."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import networkx
from lsst.pipe.base.quantum_graph import PredictedQuantumGraph

from .outcomes import QuantumOutcome, State
from .quanta import Group, QuantumToRun, RunContext

__all__ = ["Plan", "outcome_of", "plan_groups", "run_context"]

_AT_A_TIME = 500


@dataclass(frozen=True, slots=True)
class Plan:
    """Groups of quanta to execute.

    Attributes
    ----------
    order
        Names of the groups, each after those that it depends on.
    upstream
        Groups that a group depends on.
    """

    graph: PredictedQuantumGraph
    order: tuple[int, ...]
    members: Mapping[int, Sequence[uuid.UUID]]
    upstream: Mapping[int, tuple[int, ...]]

    @property
    def n_quanta(self) -> int:
        """Number of quanta to execute."""
        return sum(len(ids) for ids in self.members.values())

    def outcome(self, quantum_id: uuid.UUID, state: State, reason: str = "") -> QuantumOutcome:
        """Return an outcome of a quantum that no process reports on."""
        return outcome_of(self.graph, quantum_id, state, reason)

    def groups(self) -> Iterator[tuple[int, Group]]:
        """Yield the groups in order, made one after the other: all at once would not fit into memory."""
        nodes = self.graph.quantum_only_xgraph
        left = {one for ids in self.members.values() for one in ids}
        for start in range(0, len(self.order), _AT_A_TIME):
            names = self.order[start : start + _AT_A_TIME]
            quanta = self.graph.build_execution_quanta([one for name in names for one in self.members[name]])
            for one in quanta:
                # The graph keeps what it has built.
                for graph in (nodes, self.graph.bipartite_xgraph):
                    del graph.nodes[one]["quantum"]
            for name in names:
                yield (
                    name,
                    tuple(
                        QuantumToRun(
                            one,
                            nodes.nodes[one]["task_label"],
                            dict(nodes.nodes[one]["data_id"].required),
                            quanta[one],
                            frozenset(nodes.predecessors(one)) & left,
                        )
                        for one in self.members[name]
                    ),
                )


def outcome_of(
    graph: PredictedQuantumGraph, quantum_id: uuid.UUID, state: State, reason: str = ""
) -> QuantumOutcome:
    """Return an outcome of a quantum of a graph."""
    node = graph.quantum_only_xgraph.nodes[quantum_id]
    return QuantumOutcome(quantum_id, node["task_label"], dict(node["data_id"].required), state, reason)


def run_context(
    repo: str, graph: PredictedQuantumGraph, new: bool = False, held: Iterable[str] = ()
) -> RunContext:
    """Return what all quanta of a run share; ``new`` and ``held`` are explained in `~.quanta.RunContext`."""
    pipeline = graph.pipeline_graph
    types = {node.name: node.dataset_type for node in pipeline.dataset_types.values()}
    return RunContext(repo, dict(pipeline.tasks), types, pipeline.universe, new, tuple(held))


def plan_groups(
    graph: PredictedQuantumGraph, done: set[uuid.UUID], cluster: bool, held: Iterable[str] = ()
) -> Plan:
    """Sort the quanta that are left into groups.

    Parameters
    ----------
    done
        Quanta that are not executed again.
    cluster
        Whether the quanta of one detector that depend on each other are executed by one process, so that
        their images stay on one machine.
    held
        Names of the dataset types that a group passes on in memory. Quanta that made those that others still
        read are in the plan, too: `~.quanta.run_group` repeats them without writing anything.
    """
    done = done - _sources(graph, done, frozenset(held)) if cluster else done
    left = graph.quantum_only_xgraph.subgraph([one for one in graph if one not in done])
    order = list(networkx.lexicographical_topological_sort(left, key=str))
    group_of = _chains(left) if cluster else {}
    for one in order:
        group_of.setdefault(one, len(group_of) + len(order))
    between = _between(left, group_of)
    if not networkx.is_directed_acyclic_graph(between):
        # A quantum outside, such as one for the whole visit, lies between two quanta of a detector.
        group_of = {one: number for number, one in enumerate(order)}
        between = _between(left, group_of)
    members: dict[int, list[uuid.UUID]] = {}
    for one in order:
        members.setdefault(group_of[one], []).append(one)
    first = {name: number for number, name in enumerate(members)}
    names = networkx.lexicographical_topological_sort(between, key=first.__getitem__)
    return Plan(graph, tuple(names), members, {name: tuple(between.predecessors(name)) for name in members})


def _sources(graph: PredictedQuantumGraph, done: set[uuid.UUID], held: frozenset[str]) -> set[uuid.UUID]:
    """Return the quanta that made what those that are left read from memory."""
    datasets = graph.bipartite_xgraph
    found: set[uuid.UUID] = set()
    readers = [one for one in graph if one not in done] if held else []
    while readers:
        for dataset in datasets.predecessors(readers.pop()):
            if datasets.nodes[dataset]["dataset_type_name"] in held:
                new = done.intersection(datasets.predecessors(dataset)) - found
                found |= new
                readers.extend(new)
    return found


def _chains(left: networkx.DiGraph) -> dict[uuid.UUID, int]:
    """Return the number of the chain of each quantum that has a detector."""
    detectors = networkx.Graph()
    for one, attributes in left.nodes.items():
        if "detector" in attributes["data_id"].dimensions:
            detectors.add_node(one)
    for first, second in left.edges:
        if first in detectors and second in detectors and _detector(left, first) == _detector(left, second):
            detectors.add_edge(first, second)
    return {
        one: number for number, chain in enumerate(networkx.connected_components(detectors)) for one in chain
    }


def _detector(left: networkx.DiGraph, one: uuid.UUID) -> object:
    return left.nodes[one]["data_id"]["detector"]


def _between(left: networkx.DiGraph, group_of: Mapping[uuid.UUID, int]) -> networkx.DiGraph:
    between = networkx.DiGraph()
    between.add_nodes_from(group_of[one] for one in left)
    between.add_edges_from(
        (group_of[first], group_of[second])
        for first, second in left.edges
        if group_of[first] != group_of[second]
    )
    return between
