"""Execute quanta in a process that asks no database."""

from __future__ import annotations

import pickle
import socket
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .outcomes import QuantumOutcome, State

__all__ = ["Group", "QuantumToRun", "RunContext", "run_group"]


@dataclass(frozen=True, slots=True)
class QuantumToRun:
    """A quantum on its way to the process that executes it.

    Attributes
    ----------
    payload
        The pickled `~lsst.daf.butler.Quantum`: about 3 kB, with the records of its inputs.
    upstream
        Quanta that must be successful before.
    """

    quantum_id: uuid.UUID
    task: str
    data_id: dict[str, int | str]
    payload: bytes
    upstream: frozenset[uuid.UUID]

    def outcome(self, state: State, reason: str = "", **more: Any) -> QuantumOutcome:
        """Return an outcome of this quantum."""
        return QuantumOutcome(
            self.quantum_id, self.task, self.data_id, state, reason, host=socket.gethostname(), **more
        )


Group = tuple[QuantumToRun, ...]
"""Quanta that one process executes one after the other, in their order."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """What all quanta of a run share.

    Attributes
    ----------
    repo
        Butler repository.
    payload
        Pickled: the nodes of the pipeline's graph by label, the dataset types by name, and the dimensions.
    """

    repo: str
    payload: bytes


def run_group(context: RunContext, group: Group, *upstream: Sequence[QuantumOutcome]) -> list[QuantumOutcome]:
    """Execute a group of quanta and return their outcomes.

    The error of a task is an outcome. Any other error, such as a repository out of reach, is raised.

    Parameters
    ----------
    *upstream
        Outcomes of the groups that this one depends on.
    """
    states = {one.quantum_id: one for outcomes in upstream for one in outcomes}
    outcomes = []
    for quantum in group:
        before = [states[one] for one in quantum.upstream if one in states]
        missed = next((one for one in before if one.state is not State.SUCCESSFUL), None)
        if missed is not None:
            outcome = quantum.outcome(State.BLOCKED, f"{missed.label} is {missed.state}")
        else:
            outcome = _run(context, quantum)
        states[quantum.quantum_id] = outcome
        outcomes.append(outcome)
    return outcomes


def _run(context: RunContext, quantum: QuantumToRun) -> QuantumOutcome:
    from lsst.pipe.base.single_quantum_executor import SingleQuantumExecutor

    tasks, butler_of = _equipment(context)
    unpickled = pickle.loads(quantum.payload)
    began = time.monotonic()
    with butler_of(unpickled) as butler:
        # Outputs of an attempt that died are removed and made again.
        executor = SingleQuantumExecutor(butler=butler, skip_existing=True, clobber_outputs=True)
        try:
            result = executor.execute(tasks[quantum.task], unpickled, quantum.quantum_id)
        except Exception as error:  # noqa: BLE001 - a task may raise anything; the reason is reported
            reason = f"{type(error).__name__}: {error}"
            return quantum.outcome(State.FAILED, reason, seconds=time.monotonic() - began)
    return quantum.outcome(
        State.SUCCESSFUL, seconds=time.monotonic() - began, was_there=result.skipped_existing
    )


_equipped: dict[RunContext, tuple[Any, Any]] = {}


def _equipment(context: RunContext) -> tuple[Any, Any]:
    """Return the tasks of a run and a function that makes the Butler of a quantum; one run is remembered."""
    if context not in _equipped:
        from functools import partial

        from lsst.daf.butler import ButlerConfig, QuantumBackedButler

        from prompt_processing.butler.internals import butler_of_quantum

        tasks, types, dimensions = pickle.loads(context.payload)
        empty = QuantumBackedButler.from_predicted(ButlerConfig(context.repo), [], [], dimensions, {})
        _equipped.clear()
        _equipped[context] = (
            tasks,
            partial(butler_of_quantum, empty, types=types),
        )
    return _equipped[context]
