"""Where the work of a flow is done."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["Place", "process_of"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Place:
    """Processes that do the work.

    Attributes
    ----------
    scheduler
        Address of a Dask scheduler; empty for this machine.
    processes
        Without a scheduler: number of processes; 1 is this process.
    """

    scheduler: str = ""
    processes: int = 1

    def __str__(self) -> str:
        if self.scheduler:
            return f"on the Dask cluster {self.scheduler}"
        return "in this process" if self.processes == 1 else f"in {self.processes} processes of this machine"

    @contextlib.contextmanager
    def started(self) -> Iterator[Place]:
        """Start the processes of this machine, if there are to be several, and yield where they listen."""
        if self.scheduler or self.processes == 1:
            yield self
            return
        from prompt_processing.batch.execution import local_cluster

        with local_cluster(self.processes) as cluster:
            yield Place(cluster.scheduler_address)

    def map(
        self, function: Callable[[_Item], _Result], items: Iterable[_Item]
    ) -> Iterator[tuple[_Item, _Result]]:
        """Apply a function to each item, and yield item and result as they come.

        On a cluster, an item whose worker dies is given to another worker; after three deaths that is an
        error. An error of the function is raised here; items that are not done then are left.

        Parameters
        ----------
        function
            A function of a module, which the workers import. It may be called twice for an item.

        Raises
        ------
        BatchError
            Raised if the scheduler is lost, or an item's worker died each time.
        """
        if not self.scheduler and self.processes == 1:
            for item in items:
                yield item, function(item)
            return
        from prompt_processing.batch.errors import BatchError
        from prompt_processing.batch.execution import as_they_end, connect, error_of

        with connect(self.scheduler, self.processes) as client, contextlib.ExitStack() as stack:
            futures = {client.submit(function, item, pure=False, retries=0): item for item in items}
            stack.callback(client.cancel, list(futures))
            for future, result in as_they_end(client, futures):
                if future.status == "error":
                    error = error_of(future)
                    if isinstance(error, BatchError):
                        error = BatchError(f"{futures[future]} was not done: {error}")
                    raise error
                yield futures[future], result


def process_of(_: object) -> str:
    """Return the name of the process that works on an item, to see where a flow works."""
    return f"{socket.gethostname()}/{os.getpid()}"
