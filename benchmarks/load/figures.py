"""What was measured, what it should be, and how to show it."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import psutil


@dataclass(frozen=True)
class Figure:
    """A number with its target.

    Attributes
    ----------
    what : `str`
        What was measured, for people.
    value : `float`
        The result.
    unit : `str`
        Its unit.
    target : `float` or `None`
        Target value; `None` for a number that is only reported.
    at_least : `bool`
        Whether the target is the least that will do, and not the most.
    """

    what: str
    value: float
    unit: str
    target: float | None = None
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        """Whether it is as wanted."""
        if self.target is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target


@dataclass(frozen=True)
class Ratio:
    """Ours beside another way to do the same, in the same run."""

    what: str
    ours: float
    peer: str
    theirs: float
    unit: str
    more_is_better: bool = False

    @property
    def gain(self) -> float:
        """How many times better ours is; more than a million stands for any number."""
        worse, better = (self.theirs, self.ours) if self.more_is_better else (self.ours, self.theirs)
        return float(min(better / worse, 1e6)) if worse > 0 else 1e6


@dataclass
class Measured:
    """All results of a run."""

    figures: list[Figure] = field(default_factory=list)
    ratios: list[Ratio] = field(default_factory=list)
    growth: list[dict[str, float]] = field(default_factory=list)
    machine: dict[str, Any] = field(default_factory=lambda: describe_machine())

    def as_dict(self) -> dict[str, Any]:
        """Give plain data."""
        return {
            "machine": self.machine,
            "figures": [{**asdict(figure), "met": figure.met} for figure in self.figures],
            "ratios": [{**asdict(ratio), "gain": ratio.gain} for ratio in self.ratios],
            "growth": self.growth,
        }


@dataclass
class Cost:
    """What an action took."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0


@contextmanager
def cost() -> Iterator[Cost]:
    """Measure a block: wall time, and CPU time of this process."""
    measured = Cost()
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        yield measured
    finally:
        measured.seconds = time.perf_counter() - wall
        measured.cpu_seconds = time.process_time() - cpu


def percentile(values: Sequence[float], percent: float) -> float:
    """Return a percentile; of few values the 99th is the largest."""
    return float(np.percentile(np.asarray(values), percent, method="higher"))


def wait_for(condition: Callable[[], bool], what: str, seconds: float, pause: float = 0.1) -> None:
    """Wait until something is the case.

    Raises
    ------
    TimeoutError
        Raised if it takes longer.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"Not within {seconds:.0f} s: {what}.")
        time.sleep(pause)


def describe_machine() -> dict[str, Any]:
    """Say on what the figures were measured, and how busy it was."""
    name = platform.processor()
    try:
        with open("/proc/cpuinfo") as lines:
            name = next((line.split(":", 1)[1].strip() for line in lines if "model name" in line), name)
    except OSError:
        pass
    return {
        "processor": name or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 1),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
