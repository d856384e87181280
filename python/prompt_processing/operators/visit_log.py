"""Group the lines of a log by visit."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .log_lines import LEVELS, LogLine

_GOOD_ENDS = {"processed", "skipped"}

_EPILOGUE_SECONDS = 10.0
"""Time after its outcome in which lines still belong to a visit."""


@dataclass(frozen=True)
class Filter:
    """Selection of lines.

    Attributes
    ----------
    detectors, groups
        Detectors and groups to include; empty for all.
    level
        Lowest level to include.
    """

    detectors: Collection[int] = ()
    groups: Collection[str] = ()
    level: str = "TRACE"

    def accepts(self, line: LogLine) -> bool:
        """Return whether a line is selected; the outcome of a selected visit always is."""
        if self.detectors and line.detector not in self.detectors:
            return False
        if self.groups and line.group not in self.groups:
            return False
        return line.outcome is not None or line.severity >= LEVELS[self.level]


@dataclass
class VisitLog:
    """Lines of the log about one attempt at a visit.

    Attributes
    ----------
    instrument, group
        The visit.
    detector
        The visit.
    lines
        Lines, in the order of the log.
    outcome
        How the attempt ended; `None` if the log does not say.
    """

    instrument: str
    group: str
    detector: int
    lines: list[LogLine] = field(default_factory=list)
    outcome: Mapping[str, Any] | None = None

    @property
    def status(self) -> str:
        """How the attempt ended, in one word; ``unfinished`` if the log does not say."""
        return "unfinished" if self.outcome is None else str(self.outcome.get("status", "unknown"))

    @property
    def failed(self) -> bool:
        """Whether the attempt failed or has no end."""
        return self.status not in _GOOD_ENDS

    @property
    def begin(self) -> datetime | None:
        """Time of the first line."""
        return next((line.time for line in self.lines if line.time is not None), None)


def numbers_of(outcome: Mapping[str, Any] | None, name: str) -> dict[str, float]:
    """Return one of an outcome's tables of numbers, such as ``stages``, without other values."""
    table = None if outcome is None else outcome.get(name)
    if not isinstance(table, Mapping):
        return {}
    return {
        str(key): float(value)
        for key, value in table.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15
    }


class VisitCollector:
    """Collector of lines by visit, as they are read.

    A worker processes one visit after the other; lines of several workers may be mixed.
    """

    def __init__(self) -> None:
        self._open: dict[tuple[str, str, int, int | None], VisitLog] = {}
        self._ended: dict[tuple[str, str, int, int | None], datetime | None] = {}
        self.others: list[LogLine] = []

    def add(self, line: LogLine) -> VisitLog | None:
        """Add a line.

        Parameters
        ----------
        line
            The line.

        Returns
        -------
        visit
            The visit that ends with this line, if any.
        """
        if line.visit is None:
            self.others.append(line)
            return None
        # Two processes may have attempted the same visit.
        key = (*line.visit, line.process)
        visit = self._open.setdefault(key, VisitLog(*line.visit))
        visit.lines.append(line)
        if line.outcome is None:
            return None
        visit.outcome = line.outcome
        self._ended[key] = line.time
        return self._open.pop(key)

    def unfinished(self) -> list[VisitLog]:
        """Return the visits without an end, oldest first."""
        return [visit for key, visit in self._open.items() if not self._is_epilogue(key, visit)]

    def _is_epilogue(self, key: tuple[str, str, int, int | None], visit: VisitLog) -> bool:
        """Return whether the lines only follow up on a visit that has ended, such as with its times."""
        if key not in self._ended:
            return False
        end, last = self._ended[key], visit.lines[-1].time
        return end is None or last is None or (last - end).total_seconds() < _EPILOGUE_SECONDS


def collect(lines: Iterable[LogLine], wanted: Filter) -> Iterator[VisitLog]:
    """Group the selected lines of a log by visit.

    Parameters
    ----------
    lines
        The log.
    wanted
        Lines to include.

    Yields
    ------
    visit
        Visits in the order of their ends, then those without an end.
    """
    collector = VisitCollector()
    for line in lines:
        if wanted.accepts(line) and (ended := collector.add(line)) is not None:
            yield ended
    yield from collector.unfinished()
