"""Execute the groups of a plan, in this process or on Dask."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Container, Iterable, Iterator
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from .errors import BatchError
from .outcomes import QuantumOutcome, State
from .plan import Plan
from .quanta import RunContext, run_group

if TYPE_CHECKING:
    from distributed import Client, Future, LocalCluster

__all__ = [
    "as_they_end",
    "connect",
    "error_of",
    "local_cluster",
    "prepare_workers",
    "run_here",
    "run_on_dask",
]

_SCHEDULER_LOST = (
    "the Dask scheduler was lost. Outputs that exist are kept: repeat the command to execute the rest"
)

_PREPARATIONS = 4
"""Attempts to reach all workers of a cluster, some of which may die."""

_DISTRIBUTIONS = ("prompt-processing", "lsst-daf-butler", "lsst-pipe-base")


def run_here(context: RunContext, plan: Plan) -> Iterator[list[QuantumOutcome]]:
    """Execute a plan in this process, and yield the outcomes of each group."""
    finished: dict[int, list[QuantumOutcome]] = {}
    for name, group in plan.groups():
        finished[name] = run_group(context, group, *(finished[one] for one in plan.upstream[name]))
        yield finished[name]


def run_on_dask(context: RunContext, plan: Plan, client: Client) -> Iterator[list[QuantumOutcome]]:
    """Execute a plan on a Dask cluster, one future a group, and yield the outcomes of each group.

    A group whose worker dies is executed by another one; after three deaths its quanta are unknown.

    Raises
    ------
    BatchError
        Raised if the scheduler is lost.
    """
    parts = [getattr(context, one.name) for one in fields(context)]
    shared = client.submit(RunContext, *parts, pure=False)
    futures: dict[int, Future] = {}
    names: dict[str, int] = {}
    for name, group in plan.groups():
        # An impure call has a name of its own in the scheduler, so that two runs never share a result.
        before = [futures[one] for one in plan.upstream[name]]
        future = client.submit(run_group, shared, group, *before, pure=False, retries=2)
        futures[name] = future
        names[future.key] = name
    lost: set[int] = set()
    for future, outcomes in as_they_end(client, futures.values()):
        if future.status == "error":
            lost.add(names[future.key])
        else:
            yield outcomes
    for name in plan.order:
        if name in lost:
            yield _outcomes_of_lost(plan, name, lost, futures[name])


def as_they_end(client: Client, futures: Iterable[Future]) -> Iterator[tuple[Future, Any]]:
    """Yield futures as they end, each with its result, which is `None` after an error.

    Raises
    ------
    BatchError
        Raised if the scheduler is lost.
    """
    from distributed import as_completed

    with _scheduler_must_live():
        for future in as_completed(list(futures), loop=client.loop):
            if future.status not in ("finished", "error"):
                # Only the client cancels them, when it can no longer reach the scheduler.
                raise BatchError(_SCHEDULER_LOST)
            yield future, future.result() if future.status == "finished" else None


@contextlib.contextmanager
def connect(address: str, processes: int) -> Iterator[Client]:
    """Connect to a Dask scheduler, or start processes on this machine.

    Parameters
    ----------
    address
        Address of a scheduler, such as ``tcp://dask:8786``; empty for processes of this machine.
    processes
        Number of processes on this machine.

    Raises
    ------
    BatchError
        Raised if no scheduler answers, if it has no worker, or if its workers have other software.
    """
    from distributed import Client

    _silence()
    with contextlib.ExitStack() as stack:
        if address:
            try:
                client = Client(address, timeout="15s", set_as_default=False)
            except (OSError, TimeoutError, ValueError) as error:
                raise BatchError(
                    f"no Dask scheduler answers at {address}: {error}. Start one with  dask scheduler  and "
                    "its workers with  dask worker ADDRESS --nthreads 1"
                ) from error
        else:
            client = Client(stack.enter_context(local_cluster(processes)), set_as_default=False)
        stack.enter_context(client)
        prepare_workers(client)
        yield client


def prepare_workers(client: Client, pause: float = 1.0) -> None:
    """Check the software of all workers, and let them use this package's types.

    A worker that dies meanwhile is left out: its scheduler forgets it within ``pause`` seconds.

    Raises
    ------
    BatchError
        Raised if the cluster has no worker, if its workers have other software, or if the scheduler is lost.
    """
    with _scheduler_must_live():
        for _ in range(_PREPARATIONS - 1):
            with contextlib.suppress(OSError):
                _prepare(client)
                return
            time.sleep(pause)
        _prepare(client)


def _prepare(client: Client) -> None:
    _check_software(client)
    # Workers that join later get it too.
    client.register_plugin(_plugin(), name="prompt-processing-types")


def local_cluster(processes: int) -> LocalCluster:
    """Start processes on this machine, to be closed by the caller."""
    from distributed import LocalCluster

    _silence()
    # One thread a process: the numerics are not all thread-safe, and hold the interpreter's lock.
    return LocalCluster(
        n_workers=processes,
        threads_per_worker=1,
        dashboard_address=":0",
        silence_logs=logging.ERROR,
        # A profile of each worker's stack, every 10 ms, would cost more than the middleware.
        config={"distributed.worker.profile.enabled": False},
    )


def _silence() -> None:
    """Hide the messages about each connection, whose level Dask sets when it is imported."""
    logging.getLogger("distributed").setLevel(logging.ERROR)
    for name in logging.root.manager.loggerDict:
        if name.startswith("distributed."):
            logging.getLogger(name).setLevel(logging.ERROR)
    # It logs the traceback of each error that it raises.
    logging.getLogger("distributed.utils").setLevel(logging.CRITICAL)


def software() -> dict[str, str]:
    """Return the versions that must be the same in all processes of a run."""
    from importlib import metadata

    return {name: metadata.version(name) for name in _DISTRIBUTIONS}


def _plugin() -> Any:
    """Return what prepares each worker, before it reads a dataset."""
    from distributed import WorkerPlugin

    from prompt_processing.butler.types import use_butler_types

    class ButlerTypes(WorkerPlugin):
        """Use this package's types, as the client does."""

        def setup(self, worker: Any) -> None:
            """Prepare one worker."""
            use_butler_types()
            # It names the stack's types, which are not needed.
            logging.getLogger("lsst.daf.butler._storage_class").setLevel(logging.ERROR)

    return ButlerTypes()


def _check_software(client: Client) -> None:
    here = software()
    try:
        found: dict[str, Any] = client.run(software)
    except ModuleNotFoundError as error:
        raise BatchError(f"the workers of {client.scheduler.address} lack {error.name}") from error
    if not found:
        raise BatchError(
            f"the scheduler {client.scheduler.address} has no worker: start one with  dask worker"
        )
    for worker, versions in sorted(found.items()):
        other = [
            f"{name} {versions[name]} (here {here[name]})" for name in here if versions[name] != here[name]
        ]
        if other:
            raise BatchError(f"the worker {worker} has {', '.join(other)}: install the same versions there")


@contextlib.contextmanager
def _scheduler_must_live() -> Iterator[None]:
    from concurrent.futures import CancelledError

    from distributed.client import FutureCancelledError
    from distributed.comm.core import CommClosedError

    try:
        yield
    except (CommClosedError, CancelledError, FutureCancelledError, OSError) as error:
        raise BatchError(_SCHEDULER_LOST) from error


def error_of(future: Future) -> BaseException:
    """Return the error of a future, that of its process in words."""
    from distributed.scheduler import KilledWorker

    error = future.exception()
    if isinstance(error, KilledWorker):
        return BatchError(
            "its process died each time that it was tried; look for exhausted memory on the workers"
        )
    return error


def _outcomes_of_lost(plan: Plan, name: int, lost: Container[int], future: Future) -> list[QuantumOutcome]:
    """Return the outcomes of a group that Dask could not finish."""
    if any(one in lost for one in plan.upstream[name]):
        # Dask reports the error of the group before as that of this one.
        return [
            plan.outcome(one, State.BLOCKED, "the process of a quantum before it died")
            for one in plan.members[name]
        ]
    error = error_of(future)
    reason = str(error) if isinstance(error, BatchError) else f"{type(error).__name__}: {error}"
    return [plan.outcome(one, State.UNKNOWN, reason) for one in plan.members[name]]
