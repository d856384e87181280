"""Memory for the planes of images."""

from __future__ import annotations

import logging
import math
import mmap
import threading
import weakref
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["PlaneMemory", "keep_planes", "new_plane"]

_LOG = logging.getLogger(__name__)

_RESERVED = 16 * 2**30
"""Bytes of addresses; memory is used only where planes have been."""

_NO_RESERVATION = 0x4000
"""``MAP_NORESERVE`` of Linux, which Python does not name before 3.13: the range may exceed the memory."""

_GRAIN = 2**16
"""Bytes to which sizes are rounded up."""

_LARGE = 2**25
"""Bytes from which a block is a whole plane of a detector."""

_SMALLEST = 2**20
"""Bytes below which an array is not a plane."""


class PlaneMemory:
    """A range of addresses for large arrays, whose memory stays with the process.

    The C library keeps small and large blocks in one heap. A small block that stays between two planes
    divides the memory of both, and after a few visits a third of the heap was in gaps too small for a plane.
    Here are only planes: whole ones take the lowest gap, parts and masks of bytes the highest, and
    neighbouring gaps are joined.

    Parameters
    ----------
    size
        Bytes of addresses.

    Raises
    ------
    OSError
        Raised if the system has no such range.
    """

    def __init__(self, size: int = _RESERVED) -> None:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVATION
        self._map = mmap.mmap(-1, size, flags=flags)
        self._map.madvise(mmap.MADV_HUGEPAGE)
        self._gaps = [(0, size)]
        self._returned: deque[tuple[int, int]] = deque()
        self._lock = threading.Lock()

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any] | None:
        """Return an array without defined values, or `None` if there is no place for it."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        taken = -(-size // _GRAIN) * _GRAIN
        with self._lock:
            start = self._take(taken)
        if start is None:
            return None
        block = np.frombuffer(self._map, np.uint8, size, start)
        # Its views refer to the block. It may end in any thread, also in one that holds the lock.
        ended = weakref.finalize(block, self._returned.append, (start, taken))
        ended.atexit = False
        return block.view(dtype).reshape(shape)

    def _take(self, size: int) -> int | None:
        """Return where a block begins now, or `None`."""
        while self._returned:
            self._gaps.append(self._returned.popleft())
        self._gaps.sort()
        joined: list[tuple[int, int]] = []
        for start, length in self._gaps:
            if joined and sum(joined[-1]) == start:
                joined[-1] = (joined[-1][0], joined[-1][1] + length)
            else:
                joined.append((start, length))
        self._gaps = joined
        fitting = [gap for gap in joined if gap[1] >= size]
        if not fitting:
            return None
        # The last gap is the rest of the range, which no plane has used.
        if size >= _LARGE or len(fitting) == 1:
            first, length = fitting[0]
            start, rest = first, first + size
        else:
            # From the other end, so that a part does not divide what a plane has left.
            first, length = fitting[-2]
            start, rest = first + length - size, first
        self._gaps.remove((first, length))
        if length > size:
            self._gaps.append((rest, length - size))
        return start


_memory: PlaneMemory | None = None


def keep_planes() -> None:
    """Keep the memory of planes in this process and those that it forks; without effect the second time.

    Where the system refuses the range of addresses, because of a limit or of strict accounting, planes are
    ordinary arrays.
    """
    global _memory
    if _memory is None and hasattr(mmap, "MADV_HUGEPAGE"):
        try:
            _memory = PlaneMemory()
        except OSError as error:
            _LOG.info("The memory of planes is not kept: %s", error)


def new_plane(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return an array without defined values, as `numpy.empty` does.

    Parameters
    ----------
    shape
        Height and width of an image, pixels.
    dtype
        Type of its pixels.
    """
    if _memory is not None and math.prod(shape) * np.dtype(dtype).itemsize >= _SMALLEST:
        plane = _memory.empty(shape, dtype)
        if plane is not None:
            return plane
    return np.empty(shape, dtype)
