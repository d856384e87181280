"""Sort the quanta of a run by what became of them."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import networkx
from lsst.daf.butler import Butler, DatasetRef, QuantumBackedButler
from lsst.pipe.base.quantum_graph import PredictedQuantumGraph

from .datasets import files_of_run, outputs, stored_quanta
from .outcomes import QuantumOutcome, State
from .plan import outcome_of

__all__ = ["RunReport", "report_run"]


@dataclass(frozen=True, slots=True)
class RunReport:
    """States of all quanta of a run.

    Attributes
    ----------
    outcomes
        One a quantum, in the order of the graph.
    """

    run: str
    outcomes: tuple[QuantumOutcome, ...]

    @property
    def complete(self) -> bool:
        """Whether every quantum was successful."""
        return all(one.state is State.SUCCESSFUL for one in self.outcomes)

    def counts(self) -> dict[str, Counter[State]]:
        """Return the number of quanta in each state, by task in the order of the pipeline."""
        found: dict[str, Counter[State]] = {}
        for one in self.outcomes:
            found.setdefault(one.task, Counter())[one.state] += 1
        return found

    def of(self, *states: State) -> list[QuantumOutcome]:
        """Return the outcomes in some states."""
        return [one for one in self.outcomes if one.state in states]


def report_run(
    repo: str,
    butler: Butler,
    graph: PredictedQuantumGraph,
    run: str,
    recorded: Mapping[uuid.UUID, QuantumOutcome],
) -> RunReport:
    """Return what became of the quanta of a run.

    The repository decides whether a quantum was successful. The recorded outcomes only add reasons and
    seconds; without them, the reason of a failure is the last error of the quantum's stored log.

    Parameters
    ----------
    recorded
        Outcomes that the executions noted.
    """
    done = stored_quanta(repo, butler, graph, run)
    order = list(networkx.lexicographical_topological_sort(graph.quantum_only_xgraph, key=str))
    errors = _logged_errors(repo, graph, [one for one in order if one not in done])
    found: dict[uuid.UUID, QuantumOutcome] = {}
    for one in order:
        noted = recorded.get(one)
        if one in done:
            plain = outcome_of(graph, one, State.SUCCESSFUL)
            found[one] = replace(plain, seconds=noted.seconds if noted else 0.0)
            continue
        before = [found[other] for other in graph.quantum_only_xgraph.predecessors(one)]
        missed = next((other for other in before if other.state is not State.SUCCESSFUL), None)
        if missed is not None:
            found[one] = outcome_of(graph, one, State.BLOCKED, f"{missed.label} is {missed.state}")
        elif noted is not None and noted.state is State.FAILED:
            found[one] = noted
        elif one in errors:
            found[one] = outcome_of(graph, one, State.FAILED, errors[one])
        else:
            reason = noted.reason if noted is not None and noted.state is State.UNKNOWN else ""
            found[one] = outcome_of(
                graph, one, State.UNKNOWN, reason or "it was not tried, or its process died"
            )
    by_task = {label: number for number, label in enumerate(graph.pipeline_graph.tasks)}
    outcomes = sorted(found.values(), key=lambda one: by_task[one.task])
    return RunReport(run, tuple(outcomes))


def _logged_errors(
    repo: str, graph: PredictedQuantumGraph, quanta: Iterable[uuid.UUID]
) -> dict[uuid.UUID, str]:
    """Return the last error in the stored log of each quantum that has one."""
    types = {
        task.log_output.dataset_type_name for task in graph.pipeline_graph.tasks.values() if task.log_output
    }
    logs = dict(outputs(graph, quanta, types))
    with files_of_run(repo, graph, logs.values()) as files:
        there = files.stored_many(logs.values())
        return {
            one: text
            for one, ref in logs.items()
            if there[ref] and (text := _last_error(files, ref)) is not None
        }


def _last_error(files: QuantumBackedButler, ref: DatasetRef) -> str | None:
    records = [record for record in files.get(ref) if record.levelname in ("ERROR", "CRITICAL")]
    return records[-1].message if records else None
