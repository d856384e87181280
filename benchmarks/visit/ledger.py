"""Time and memory of the steps of a visit."""

from __future__ import annotations

import cProfile
import io
import pstats
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from prompt_processing.activator.services import pipelines as pipeline_runs
from prompt_processing.activator.services.visit_outputs import VisitOutputs
from prompt_processing.association import associate_visit
from prompt_processing.tasks.connected_task import ConnectedTaskFactory

_CALLS_SHOWN, _CALL_SECONDS = 30, 0.02


class Ledger:
    """Wall, CPU and arithmetic seconds, and peak memory, by step of a visit."""

    def __init__(self) -> None:
        self.visits: list[dict[str, dict[str, float]]] = []
        self.calls: dict[str, cProfile.Profile] | None = None
        self._profiling: list[cProfile.Profile] = []

    @property
    def now(self) -> dict[str, dict[str, float]]:
        return self.visits[-1]

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        entry = self.now.setdefault(name, dict.fromkeys(("wall", "cpu", "arithmetic", "mib"), 0.0))
        forget_peak()
        wall, cpu = time.monotonic(), time.process_time()
        try:
            with self._profiled(name):
                yield
        finally:
            entry["wall"] += time.monotonic() - wall
            entry["cpu"] += time.process_time() - cpu
            entry["mib"] = max(entry["mib"], peak_mib())

    @contextmanager
    def _profiled(self, name: str) -> Iterator[None]:
        """Record the calls of a step without those of steps within it: only one profiler can be active."""
        if self.calls is None:
            yield
            return
        outer, profile = self._profiling, self.calls.setdefault(name, cProfile.Profile(time.process_time))
        if outer:
            outer[-1].disable()
        outer.append(profile)
        profile.enable()
        try:
            yield
        finally:
            outer.pop().disable()
            if outer:
                outer[-1].enable()

    def add_arithmetic(self, name: str, seconds: float) -> None:
        self.now[name]["arithmetic"] += seconds


def forget_peak() -> None:
    """Reset the kernel's peak of the resident memory."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_mib() -> float:
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def watch_tasks(ledger: Ledger) -> None:
    """Time each task of the pipelines, and its ``run`` separately from its reading and writing."""
    executor: Any = pipeline_runs._WatchedExecutor
    execute = executor.execute

    def watched_execute(self: Any, task_node: Any, *args: Any, **kwargs: Any) -> Any:
        with ledger.step(task_node.label):
            return execute(self, task_node, *args, **kwargs)

    executor.execute = watched_execute

    def timed(function: Callable[..., Any], label: Callable[[], str]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            start = time.monotonic()
            try:
                return function(*args, **kwargs)
            finally:
                ledger.add_arithmetic(label(), time.monotonic() - start)

        return call

    factory: Any = ConnectedTaskFactory
    make_task = factory.makeTask

    def watched_make_task(self: Any, task_node: Any, *args: Any) -> Any:
        task = make_task(self, task_node, *args)
        task.run = timed(task.run, lambda: task_node.label)
        return task

    factory.makeTask = watched_make_task
    for owner, method, name in (
        (pipeline_runs.PipelineRun, "build", "quantum graph"),
        (VisitOutputs, "hand_over", "hand over"),
    ):
        watch_method(ledger, owner, method, name)
    # This task also waits for the APDB and Kafka: its arithmetic is the association alone.
    associate_visit.associate_visit = timed(associate_visit.associate_visit, lambda: "associateApdb")


def watch_method(ledger: Ledger, owner: Any, method: str, name: str) -> None:
    """Make every call of a method a step."""
    original = getattr(owner, method)

    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        with ledger.step(name):
            return original(self, *args, **kwargs)

    setattr(owner, method, watched)


def show_calls(step: str, profile: cProfile.Profile, console: Console) -> None:
    """Print the slowest calls of the project's own functions and of the middleware's."""
    statistics_of_calls: Any = pstats.Stats(profile, stream=io.StringIO())
    rows = []
    for (file, _, name), (_, count, own, cumulative, _) in statistics_of_calls.stats.items():
        if (
            "prompt_processing" in file or "/lsst/" in file or name.startswith("<")
        ) and cumulative > _CALL_SECONDS:
            rows.append((cumulative, own, count, f"{Path(file).stem}.{name}" if file != "~" else name))
    if not rows:
        return
    table = Table(title=f"Calls of {step}")
    for column in ("call", "cumulative, s", "own, s", "times"):
        table.add_column(column, justify="left" if column == "call" else "right")
    for cumulative, own, count, name in sorted(rows, reverse=True)[:_CALLS_SHOWN]:
        table.add_row(name, f"{cumulative:.3f}", f"{own:.3f}", str(count))
    console.print(table)
