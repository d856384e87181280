"""Show the log from files, from standard input, or as it is written."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from rich.console import Console

from .log_lines import LogLine, read_line
from .show import show_line, show_summary, show_visit
from .visit_log import Filter, VisitCollector, VisitLog

__all__ = ["LogView", "show_logs"]

_POLL_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class LogView:
    """Parts of a log to show.

    Attributes
    ----------
    follow
        Show lines as they are written, and wait for more after the last file's end.
    lines
        Show all lines, not only visits.
    failures
        Show only visits that failed or have no end.
    messages
        Show all messages of a visit, not only warnings and errors.
    """

    follow: bool = False
    lines: bool = False
    failures: bool = False
    messages: bool = False


def show_logs(console: Console, files: Sequence[str], wanted: Filter, view: LogView) -> int:
    """Show each visit as its end is read, then a summary.

    Parameters
    ----------
    console
        Console to print to.
    files
        Names of the logs; standard input if empty.
    wanted
        Lines to include.
    view
        Parts of the log to show.

    Returns
    -------
    n_failed
        Number of failed visits among those shown.

    Raises
    ------
    OSError
        Raised if a file cannot be read.
    """
    collector = VisitCollector()
    ends: Counter[str] = Counter()
    n_failed = 0

    def ended(visit: VisitLog) -> None:
        nonlocal n_failed
        ends[visit.status] += 1
        n_failed += visit.failed
        if visit.failed or not view.failures:
            least = wanted.level if view.messages else "WARNING"
            show_visit(console, visit, least_level=least)

    for line in _lines(files, follow=view.follow):
        if not wanted.accepts(line):
            continue
        if (view.lines or view.follow) and not view.failures and line.outcome is None:
            show_line(console, line)
        if (visit := collector.add(line)) is not None:
            ended(visit)
        if len(collector.others) > 1000:
            collector.others.clear()
    for visit in collector.unfinished():
        ended(visit)
    show_summary(console, dict(ends))
    return n_failed


def _lines(files: Sequence[str], *, follow: bool) -> Iterator[LogLine]:
    if not files or list(files) == ["-"]:
        # Invalid bytes are replaced, not rejected.
        if hasattr(sys.stdin, "reconfigure"):
            sys.stdin.reconfigure(errors="replace")
        for text in sys.stdin:
            yield read_line(text)
        return
    for number, name in enumerate(files, 1):
        with Path(name).open(encoding="utf-8", errors="replace") as file:
            for text in _follow(file) if follow and number == len(files) else file:
                yield read_line(text)


def _follow(file: TextIO) -> Iterator[str]:
    """Read a file that is still being written, until interrupted."""
    begun = ""
    while True:
        part = file.readline()
        if not part:
            time.sleep(_POLL_SECONDS)
            continue
        begun += part
        # The writer may have written only part of a line.
        if begun.endswith("\n"):
            yield begun
            begun = ""
