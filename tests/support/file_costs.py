"""Which test files cost most: processor time of the tests and of the processes that they waited for."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

__all__ = ["FileCosts", "counted", "pytest_addoption", "pytest_configure"]

_COUNTED: set[int] = set()
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@contextmanager
def counted(pid: int) -> Iterator[None]:
    """Count the processes that a process of the session has waited for as they end, not when it ends."""
    _COUNTED.add(pid)
    yield
    _COUNTED.remove(pid)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--file-costs",
        type=int,
        default=0,
        metavar="N",
        help="show the N test files that took most processor time, and their wall time",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.option.file_costs:
        config.pluginmanager.register(FileCosts(config.option.file_costs))


@dataclass(eq=False)
class FileCosts:
    """Adds up what the phases of the tests took, also where pytest-xdist distributes the files.

    A process counts when it ends and somebody waits for it: a server that a fixture stops counts for the
    test that was the last to use it, and servers of the whole session for none.

    Attributes
    ----------
    shown
        Number of files in the table.
    processor
        Processor time by file (s).
    wall
        Wall time by file (s).
    """

    shown: int
    processor: Counter[str] = field(default_factory=Counter)
    wall: Counter[str] = field(default_factory=Counter)
    before: float = field(default_factory=lambda: _processor_time())

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Iterator[None]:
        report = yield
        now = _processor_time()
        # xdist sends the attributes of a report to the process that prints the summary.
        report.processor_time = now - self.before
        self.before = now
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        file = report.location[0]
        self.processor[file] += getattr(report, "processor_time", 0.0)
        self.wall[file] += report.duration

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section(f"processor time: {self.processor.total():.0f} s; by file (wall time)")
        for file, seconds in self.processor.most_common(self.shown):
            terminalreporter.write_line(f"{seconds:8.1f} s ({self.wall[file]:.1f} s)  {file}")


def _processor_time() -> float:
    times = os.times()
    own = times.user + times.system + times.children_user + times.children_system
    return own + sum(map(_time_of, _COUNTED))


def _time_of(pid: int) -> float:
    # After the name, which may have blanks: user and system time, of the process and of those it waited for.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) * _TICK_S
