"""One run of a flow: where it works, what it remembers, and how it reports."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from .memory import Memory
from .place import Place

__all__ = ["FlowRun", "Reporter", "Silent", "Table"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_Value = TypeVar("_Value", str, int, float, bool)


@dataclass(frozen=True, slots=True)
class Table:
    """A table that a flow leaves for people.

    Attributes
    ----------
    title
        What it shows.
    rows
        Values by column; all rows have the same columns.
    """

    title: str
    rows: tuple[Mapping[str, object], ...]


class Reporter(Protocol):
    """Where a run reports: a terminal, or Prefect."""

    def say(self, text: str) -> None:
        """Report a sentence."""

    def table(self, table: Table) -> None:
        """Show a table."""

    def progress(self, what: str, done: int, total: int) -> None:
        """Show how far the work is."""


class Silent:
    """A reporter that shows nothing."""

    def say(self, text: str) -> None:
        """Do nothing."""

    def table(self, table: Table) -> None:
        """Do nothing."""

    def progress(self, what: str, done: int, total: int) -> None:
        """Do nothing."""


@dataclass(slots=True)
class FlowRun:
    """What a flow gets to do its work.

    Attributes
    ----------
    dry_run
        Whether only to list what would be done and what it would cost. A flow writes nothing then.
    work
        Folder of the flow, for what it keeps between its runs.
    wanted_place
        Where the work is to be done.
    tables
        Those that were shown so far.
    stack
        Closed at the end of the run.
    """

    work: Path
    dry_run: bool = False
    wanted_place: Place = field(default_factory=Place)
    reporter: Reporter = field(default_factory=Silent)
    memory: Memory = field(default_factory=Memory)
    tables: list[Table] = field(default_factory=list)
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _place: Place | None = None

    @property
    def place(self) -> Place:
        """Where the work is done; processes of this machine are started at the first use."""
        if self._place is None:
            self._place = self.stack.enter_context(self.wanted_place.started())
        return self._place

    def say(self, text: str) -> None:
        """Report a sentence."""
        self.reporter.say(text)

    def table(self, title: str, rows: Iterable[Mapping[str, object]]) -> None:
        """Show a table, and keep it in the record of the run; an empty one is left out."""
        if made := tuple(rows):
            table = Table(title, made)
            self.tables.append(table)
            self.reporter.table(table)

    def progress(self, what: str, total: int) -> Callable[[], None]:
        """Return a function to call for each of a number of things that is done."""
        done = 0
        self.reporter.progress(what, 0, total)

        def count() -> None:
            nonlocal done
            done += 1
            self.reporter.progress(what, done, total)

        return count

    def map(
        self, function: Callable[[_Item], _Result], items: Sequence[_Item], what: str
    ) -> Iterator[tuple[_Item, _Result]]:
        """Apply a function to each item where the work is done, with progress; see `Place.map`."""
        count = self.progress(what, len(items))
        for item, result in self.place.map(function, items):
            count()
            yield item, result

    def remember(self, name: str, make: Callable[[], _Value]) -> _Value:
        """Return a value that stays the same until a run with these parameters ends well.

        A run that is repeated after a failure finds the names that it chose before.
        """
        return self.memory.value(name, make)

    def recalls(self, name: str) -> bool:
        """Return whether an unfinished run with these parameters chose a value of this name."""
        return name in self.memory
