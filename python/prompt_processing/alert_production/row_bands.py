"""Share the rows of an image among threads."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


def available_cores(limit: int = 8) -> int:
    """Return how many cores this process may run on, at most ``limit``."""
    return max(1, min(len(os.sched_getaffinity(0)), limit))


def in_bands(function: Callable[[int, int], None], length: int, threads: int | None = None) -> None:
    """Call ``function(start, stop)`` on consecutive parts of ``range(length)``, in threads.

    Parameters
    ----------
    function : callable
        Must release the interpreter lock to gain anything (``numba`` with
        ``nogil=True``) and write only what belongs to its own part.
    length : `int`
        Rows, or items, in all.
    threads : `int`, optional
        By default one for each core of this process.

    Notes
    -----
    Threads of our own instead of numba's: its pools do not survive the fork
    of a server's workers, and break when two threads enter at once.
    """
    threads = min(threads or available_cores(), max(length, 1))
    if threads == 1:
        function(0, length)
        return
    edges = [length * i // threads for i in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        # Through list, so that an exception of a part is raised here.
        list(pool.map(function, edges[:-1], edges[1:]))
