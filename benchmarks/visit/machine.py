"""Measure how busy other programs keep the machine while a benchmark runs."""

from __future__ import annotations

import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path

QUIET = 0.1
"""Cores that other programs may keep busy on a machine that still counts as quiet."""

_IDLE = (3, 4)
"""Columns of ``/proc/stat`` that are no work: idle, and waiting for a disk."""
_GUEST = 8
"""The columns from here on are contained in the first two."""


def busy_ticks(stat: str) -> int:
    """Return the ticks that all cores have worked for anyone, from the text of ``/proc/stat``.

    Time that a hypervisor gave to others counts, since it was not available here.
    """
    columns = [int(one) for one in stat.split("\n", 1)[0].split()[1:]]
    return sum(value for place, value in enumerate(columns[:_GUEST]) if place not in _IDLE)


def own_seconds() -> float:
    """Return the CPU seconds of this process and of its children that have ended."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def cpu_seconds_of(process: int) -> float:
    """Return the CPU seconds that a running process has used, all threads."""
    # The name, in brackets, may hold blanks.
    columns = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(columns[11]) + int(columns[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class _Reading:
    when: float
    busy: float
    own: float


class OtherLoad:
    """Cores that programs other than the benchmark keep busy.

    Parameters
    ----------
    helpers : `tuple` [`int`]
        Ids of running processes that belong to the benchmark.
    """

    def __init__(self, helpers: tuple[int, ...] = ()) -> None:
        self._helpers = helpers
        self._begin = self._read()

    def cores(self) -> float:
        """Return the mean number of cores that others used since this object was made."""
        begin, end = self._begin, self._read()
        elapsed = max(end.when - begin.when, 1e-3)
        return max(((end.busy - begin.busy) - (end.own - begin.own)) / elapsed, 0.0)

    def _read(self) -> _Reading:
        ticks = busy_ticks(Path("/proc/stat").read_text())
        own = own_seconds() + sum(cpu_seconds_of(one) for one in self._helpers)
        return _Reading(time.monotonic(), ticks / os.sysconf("SC_CLK_TCK"), own)
