"""Read a visit's raws while the quantum graph is built."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from uuid import UUID

from lsst.daf.butler import DatasetRef

from prompt_processing.instruments.errors import RawError
from prompt_processing.instruments.raw_frame import RawFrame, read_raw
from prompt_processing.telemetry.handover import in_this_context

__all__ = ["RawsReadAhead"]


class RawsReadAhead:
    """Raws that threads read, each for the first task that asks for it.

    The interpreter builds the graph on one core meanwhile; decompression takes the others.
    """

    def __init__(self) -> None:
        self._reading: dict[UUID, Future[RawFrame]] = {}

    def begin(self, ref: DatasetRef, path: str) -> None:
        """Begin to read a raw.

        Parameters
        ----------
        ref : `~lsst.daf.butler.DatasetRef`
            The raw.
        path : `str`
            Its file. The thread does not ask the repository, whose database is in use meanwhile.
        """
        pool = ThreadPoolExecutor(1)
        read = in_this_context(read_raw)
        self._reading[ref.id] = pool.submit(read, path, detector=int(ref.dataId["detector"]))
        pool.shutdown(wait=False)

    def take(self, ref: DatasetRef) -> RawFrame | None:
        """Return a raw, and forget it; `None` if it is not known or could not be read.

        The caller then reads it from the repository, which raises the error again.
        """
        reading = self._reading.pop(ref.id, None)
        if reading is None:
            return None
        try:
            return reading.result()
        except (RawError, OSError):
            return None

    def clear(self) -> None:
        """Forget all raws."""
        self._reading.clear()
