"""Lines put together to visits."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .log_lines import LEVELS, LogLine

_GOOD_ENDS = {"processed", "skipped"}

_EPILOGUE_SECONDS = 10.0
"""For which a process may have something to say about a visit after its outcome."""


@dataclass(frozen=True)
class Filter:
    """Which lines are wanted.

    Attributes
    ----------
    detectors, groups : collection
        Empty for all.
    level : `str`
        The least level.
    """

    detectors: Collection[int] = ()
    groups: Collection[str] = ()
    level: str = "TRACE"

    def accepts(self, line: LogLine) -> bool:
        """Tell whether a line is wanted; the end of a wanted visit always is."""
        if self.detectors and line.detector not in self.detectors:
            return False
        if self.groups and line.group not in self.groups:
            return False
        return line.outcome is not None or line.severity >= LEVELS[self.level]


@dataclass
class VisitLog:
    """What the log has about one attempt at a visit.

    Attributes
    ----------
    instrument, group : `str`
        The visit.
    detector : `int`
        The visit.
    lines : `list` [`LogLine`]
        In the order of the log.
    outcome : mapping or `None`
        How it ended; `None` if the log does not tell.
    """

    instrument: str
    group: str
    detector: int
    lines: list[LogLine] = field(default_factory=list)
    outcome: Mapping[str, Any] | None = None

    @property
    def status(self) -> str:
        """In one word how it ended, ``unfinished`` if the log does not tell."""
        return "unfinished" if self.outcome is None else str(self.outcome.get("status", "unknown"))

    @property
    def failed(self) -> bool:
        """Whether it ended otherwise than it should, or not at all."""
        return self.status not in _GOOD_ENDS

    @property
    def begin(self) -> datetime | None:
        """Time of the first line."""
        return next((line.time for line in self.lines if line.time is not None), None)


def numbers_of(outcome: Mapping[str, Any] | None, name: str) -> dict[str, float]:
    """Return one of an outcome's tables of numbers, such as ``stages``, without what is no number."""
    table = None if outcome is None else outcome.get(name)
    if not isinstance(table, Mapping):
        return {}
    return {
        str(key): float(value)
        for key, value in table.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15
    }


class VisitCollector:
    """Puts lines together as they come.

    A worker does one visit after the other; the lines of several workers may be mixed.
    """

    def __init__(self) -> None:
        self._open: dict[tuple[str, str, int, int | None], VisitLog] = {}
        self._ended: dict[tuple[str, str, int, int | None], datetime | None] = {}
        self.others: list[LogLine] = []

    def add(self, line: LogLine) -> VisitLog | None:
        """Take a line.

        Parameters
        ----------
        line : `LogLine`
            The line.

        Returns
        -------
        visit : `VisitLog` or `None`
            The visit that has ended with it.
        """
        if line.visit is None:
            self.others.append(line)
            return None
        # With the process: the same visit may have been tried by two.
        key = (*line.visit, line.process)
        visit = self._open.setdefault(key, VisitLog(*line.visit))
        visit.lines.append(line)
        if line.outcome is None:
            return None
        visit.outcome = line.outcome
        self._ended[key] = line.time
        return self._open.pop(key)

    def unfinished(self) -> list[VisitLog]:
        """Return the visits whose end has not come, the oldest first."""
        return [visit for key, visit in self._open.items() if not self._is_epilogue(key, visit)]

    def _is_epilogue(self, key: tuple[str, str, int, int | None], visit: VisitLog) -> bool:
        """Tell whether these are only the last words about a visit that has ended, such as its times."""
        if key not in self._ended:
            return False
        end, last = self._ended[key], visit.lines[-1].time
        return end is None or last is None or (last - end).total_seconds() < _EPILOGUE_SECONDS


def collect(lines: Iterable[LogLine], wanted: Filter) -> Iterator[VisitLog]:
    """Put the wanted lines of a log together.

    Parameters
    ----------
    lines : iterable of `LogLine`
        The log.
    wanted : `Filter`
        Which lines count.

    Yields
    ------
    visit : `VisitLog`
        In the order of their ends, then those without one.
    """
    collector = VisitCollector()
    for line in lines:
        if wanted.accepts(line) and (ended := collector.add(line)) is not None:
            yield ended
    yield from collector.unfinished()
