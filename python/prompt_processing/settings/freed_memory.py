"""How a process keeps memory that it has freed."""

from __future__ import annotations

import ctypes

from prompt_processing.domain.planes import keep_planes

__all__ = ["reuse_freed_memory"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""Options of glibc's ``mallopt``."""

_LARGEST_BLOCK, _ANY_SIZE = 2**27, 2**31 - 1
"""Bytes: larger blocks than the first are returned when freed; the second is the largest that it accepts."""


def reuse_freed_memory() -> None:
    """Keep freed memory for the next allocation of any thread, if the C library supports it.

    glibc would return each plane of a detector to the operating system at once, which then clears the memory
    of the next plane page by page: a fifth of the processor time from image to alert. Blocks of all sizes
    share the memory that is kept, so that the peak does not grow.

    It would also give each new thread a heap of its own, with holes that other threads cannot fill: a worker
    grew by 30 to 50 MB with each visit. The threads here spend their time in compiled loops, and do not
    compete for the one heap that they share. Heaps that exist already stay in use: call this before the first
    thread starts.
    """
    keep_planes()
    choose = getattr(ctypes.CDLL(None), "mallopt", None)
    if choose is not None:
        for option, size in (
            (_MMAP_THRESHOLD, _LARGEST_BLOCK),
            (_TRIM_THRESHOLD, _ANY_SIZE),
            (_ARENA_MAX, 1),
        ):
            choose(ctypes.c_int(option), ctypes.c_int(size))
