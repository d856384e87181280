"""Execute quanta in a process that asks no database."""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from .outcomes import QuantumOutcome, State

if TYPE_CHECKING:
    from lsst.daf.butler import Quantum, QuantumBackedButler

    from .held import HeldOutputs

__all__ = ["Group", "QuantumToRun", "RunContext", "run_group"]


@dataclass(frozen=True, slots=True)
class QuantumToRun:
    """A quantum on its way to the process that executes it.

    Attributes
    ----------
    quantum
        The quantum itself, with the records of its inputs: about 3 kB on the way to another process.
    upstream
        Quanta that must be successful before.
    """

    quantum_id: uuid.UUID
    task: str
    data_id: dict[str, int | str]
    quantum: Quantum
    upstream: frozenset[uuid.UUID]

    def outcome(self, state: State, reason: str = "", **more: Any) -> QuantumOutcome:
        """Return an outcome of this quantum."""
        return QuantumOutcome(
            self.quantum_id, self.task, self.data_id, state, reason, host=socket.gethostname(), **more
        )


Group = tuple[QuantumToRun, ...]
"""Quanta that one process executes one after the other, in their order."""


@dataclass(frozen=True, slots=True, eq=False)
class RunContext:
    """What all quanta of a run share.

    Attributes
    ----------
    repo
        Butler repository.
    tasks
        Nodes of the pipeline's graph, by label.
    types
        Dataset types as in the registry, by name.
    dimensions
        The universe of dimensions.
    new
        Whether the run had no output when its execution began. Only processes that died since then have left
        any.
    held
        Names of the dataset types that a group passes on in memory.
    """

    repo: str
    tasks: Mapping[str, Any]
    types: Mapping[str, Any]
    dimensions: Any
    new: bool = False
    held: tuple[str, ...] = ()


def run_group(context: RunContext, group: Group, *upstream: Sequence[QuantumOutcome]) -> list[QuantumOutcome]:
    """Execute a group of quanta and return their outcomes.

    The error of a task is an outcome. Any other error, such as a repository out of reach, is raised.

    Parameters
    ----------
    *upstream
        Outcomes of the groups that this one depends on.
    """
    from .held import HeldOutputs

    states = {one.quantum_id: one for outcomes in upstream for one in outcomes}
    outcomes = []
    held = HeldOutputs(context.held, (one.quantum for one in group)) if context.held else None
    repeated = _repeated(context, group, held) if held is not None else frozenset()
    for number, quantum in enumerate(group):
        before = [states[one] for one in quantum.upstream if one in states]
        missed = next((one for one in before if one.state is not State.SUCCESSFUL), None)
        if missed is not None:
            outcome = quantum.outcome(State.BLOCKED, f"{missed.label} is {missed.state}")
        else:
            outcome = _run(context, quantum, held, repeated=quantum.quantum_id in repeated)
        if held is not None:
            held.finish(number)
        states[quantum.quantum_id] = outcome
        outcomes.append(outcome)
    return outcomes


def _repeated(context: RunContext, group: Group, held: HeldOutputs) -> frozenset[uuid.UUID]:
    """Return the complete quanta of a group whose products others of the group need in memory.

    Their process died before the group was complete.
    """
    from prompt_processing.butler.internals import butler_of_quantum

    complete = set()
    for one in group:
        [metadata] = one.quantum.outputs[context.tasks[one.task].metadata_output.dataset_type_name]
        with butler_of_quantum(_empty_butler(context), one.quantum, context.types) as butler:
            if butler.stored(metadata):
                complete.add(one.quantum_id)
    found = set()
    needed: set[uuid.UUID] = set()
    for one in reversed(group):
        if one.quantum_id not in complete or needed.intersection(held.products(one.quantum)):
            if one.quantum_id in complete:
                found.add(one.quantum_id)
            needed.update(held.inputs(one.quantum))
    return frozenset(found)


def _run(
    context: RunContext, quantum: QuantumToRun, held: HeldOutputs | None, *, repeated: bool = False
) -> QuantumOutcome:
    from lsst.daf.butler import QuantumBackedButler
    from lsst.pipe.base.single_quantum_executor import SingleQuantumExecutor

    from prompt_processing.butler.internals import butler_of_quantum

    from .held import HoldingButler, RepeatingButler

    began = time.monotonic()
    task = context.tasks[quantum.task]
    make: Callable[..., QuantumBackedButler] = QuantumBackedButler
    if held is not None:
        written_as = {edge.dataset_type_name: edge.storage_class_name for edge in task.outputs.values()}
        kind = RepeatingButler if repeated else HoldingButler
        make = partial(kind, held=held, storage_classes=written_as)
    with butler_of_quantum(_empty_butler(context), quantum.quantum, context.types, make) as butler:
        if context.new and not repeated:
            # A process that died during this execution may have come to the end of the quantum. If not, the
            # same task overwrites its outputs. To look for each of them takes as long as to write one.
            [metadata] = quantum.quantum.outputs[task.metadata_output.dataset_type_name]
            if butler.stored(metadata):
                return quantum.outcome(State.SUCCESSFUL, was_there=True)
        # Outputs of an earlier execution that died are removed and made again.
        executor = SingleQuantumExecutor(
            butler=butler,
            skip_existing=not repeated,
            clobber_outputs=not repeated,
            assume_no_existing_outputs=context.new or repeated,
        )
        try:
            result = executor.execute(task, quantum.quantum, quantum.quantum_id)
        except Exception as error:  # noqa: BLE001 - a task may raise anything; the reason is reported
            reason = f"{type(error).__name__}: {error}"
            return quantum.outcome(State.FAILED, reason, seconds=time.monotonic() - began)
    was_there = repeated or result.skipped_existing
    return quantum.outcome(State.SUCCESSFUL, seconds=time.monotonic() - began, was_there=was_there)


_made: list[tuple[RunContext, Any]] = []
"""The last run, and the Butler whose datastore its quanta share in this process."""


def _empty_butler(context: RunContext) -> QuantumBackedButler:
    from lsst.daf.butler import ButlerConfig

    from .records import butler_without_database

    if not _made or _made[0][0] is not context:
        empty = butler_without_database(ButlerConfig(context.repo), context.dimensions)
        _made[:] = [(context, empty)]
    return _made[0][1]
