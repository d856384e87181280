"""How a process keeps memory that it has freed."""

from __future__ import annotations

import ctypes

__all__ = ["reuse_freed_memory"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""Options of glibc's ``mallopt``."""

_LARGEST_BLOCK, _ANY_SIZE = 2**27, 2**31 - 1
"""Bytes: larger blocks than the first are returned when freed, which costs a search for sources 0.1 s if the
map of their pixels is among them; the second is the largest that it accepts."""


def reuse_freed_memory() -> None:
    """Keep freed memory for the next allocation of any thread, if the C library supports it.

    glibc would return each large block to the operating system at once, which then clears the memory of the
    next one page by page: a fifth of the processor time from image to alert. The planes of images have memory
    of their own (`~prompt_processing.domain.planes`), and blocks of other kinds share the heap.

    It would also give each new thread a heap of its own, with holes that other threads cannot fill: a worker
    grew by 30 to 50 MB with each visit. The threads here spend their time in compiled loops, and do not
    compete for the one heap that they share. Heaps that exist already stay in use: call this before the first
    thread starts.
    """
    choose = getattr(ctypes.CDLL(None), "mallopt", None)
    if choose is not None:
        for option, size in (
            (_MMAP_THRESHOLD, _LARGEST_BLOCK),
            (_TRIM_THRESHOLD, _ANY_SIZE),
            (_ARENA_MAX, 1),
        ):
            choose(ctypes.c_int(option), ctypes.c_int(size))
    # Imported late: NumPy starts the threads of BLAS, whose number the caller may still set.
    from prompt_processing.domain.planes import keep_planes

    keep_planes()
