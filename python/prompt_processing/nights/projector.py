"""The loop that keeps the database of nights: read messages, write them together with their position."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sqlalchemy.exc import DataError, SQLAlchemyError

from prompt_processing.domain.errors import MalformedMessageError
from prompt_processing.domain.outcome_message import OutcomeMessage
from prompt_processing.telemetry.health import Heartbeat

from .sources import Batch, FolderSource, Source
from .store import NightStore

__all__ = ["Projector", "Totals", "patient_positions", "project_folder"]

_log = logging.getLogger("lsst.nights.projector")

BATCH_SIZE = 500
_LISTEN_S = 1.0
_SIGN_OF_LIFE_S = 5.0
_LONGEST_PAUSE_S = 30.0


class Counts(Protocol):
    """Counts what was read, see `Projector`."""

    def __call__(self, messages: int, malformed: int) -> None:
        """Count a batch."""


@dataclass(slots=True)
class Totals:
    """What a run has read.

    Attributes
    ----------
    messages
        Messages that were written.
    malformed
        Messages that could not be read.
    """

    messages: int = 0
    malformed: int = 0


class Projector:
    """Keep the database of nights.

    Messages may come several times, and several projectors may run: what is known changes nothing.

    Parameters
    ----------
    source
        Where messages come from.
    store
        The database.
    heartbeat
        Beats in each turn, and before each attempt to write.
    count
        Called with the numbers of each batch.
    """

    def __init__(
        self,
        source: Source,
        store: NightStore,
        heartbeat: Heartbeat | None = None,
        count: Counts = lambda messages, malformed: None,
    ) -> None:
        self._source = source
        self._store = store
        self._heartbeat = heartbeat or Heartbeat(float("inf"))
        self._count = count
        self._written = float("-inf")
        self.database_answers = True
        """Whether the last attempt to write succeeded."""

    def run(self, stop: threading.Event, *, once: bool = False) -> Totals:
        """Project messages until asked to stop.

        Parameters
        ----------
        stop
            Set to end after the current batch.
        once
            Whether to end when nothing is left to read.
        """
        totals = Totals()
        while not stop.is_set():
            self._heartbeat.beat()
            batch = self._source.read(BATCH_SIZE, 0.0 if once else _LISTEN_S)
            if batch.positions:
                self._project(batch, totals, stop)
            elif once:
                self._write([], Batch(), 0, stop)
                break
            elif time.monotonic() - self._written > _SIGN_OF_LIFE_S and self._source.answers():
                # Pages show since when outcomes are not read: the projector is silent, or Kafka is down.
                self._write([], Batch(), 0, stop)
        return totals

    def _project(self, batch: Batch, totals: Totals, stop: threading.Event) -> None:
        messages, malformed = [], batch.too_long
        for place, data in batch.data:
            try:
                messages.append(OutcomeMessage.parse(data))
            except MalformedMessageError as error:
                malformed += 1
                _log.error("Message %s is left out: %s", place, error.reason)
        try:
            written = self._write(messages, batch, malformed, stop)
        except DataError:
            # One message must not stop all others: each by itself, then the positions.
            messages = [one for one in messages if self._is_storable(one, stop)]
            malformed = batch.too_long + len(batch.data) - len(messages)
            written = self._write([], batch, malformed, stop)
        if written:
            totals.messages += len(messages)
            totals.malformed += malformed
            self._count(len(messages), malformed)

    def _is_storable(self, message: OutcomeMessage, stop: threading.Event) -> bool:
        try:
            return self._write([message], Batch(), 0, stop)
        except DataError as error:
            _log.error("A message about %s is left out: %s", message.group, type(error.orig).__name__)
            return False

    def _write(
        self, messages: list[OutcomeMessage], batch: Batch, malformed: int, stop: threading.Event
    ) -> bool:
        def write() -> bool:
            self._store.write(messages, batch.positions, malformed)
            return True

        done = _again(write, stop, self._heartbeat, self._note)
        self._written = time.monotonic()
        return done is not None

    def _note(self, answers: bool) -> None:
        self.database_answers = answers


def project_folder(folder: Path, place: str | Path) -> Totals:
    """Project what is in a folder now.

    Parameters
    ----------
    folder
        Folder that workers publish to.
    place
        Database, as for `.store.NightStore`.
    """
    store = NightStore(place)
    try:
        return Projector(FolderSource(folder, store.positions), store).run(threading.Event(), once=True)
    finally:
        store.close()


def patient_positions(
    store: NightStore, stop: threading.Event, heartbeat: Heartbeat
) -> Callable[[Iterable[str]], Mapping[str, int]]:
    """Return a function that looks up positions, and waits while the database does not answer."""

    def positions(sources: Iterable[str]) -> Mapping[str, int]:
        names = list(sources)
        return _again(lambda: store.positions(names), stop, heartbeat) or {}

    return positions


def _again[T](
    action: Callable[[], T],
    stop: threading.Event,
    heartbeat: Heartbeat,
    note: Callable[[bool], None] = lambda answers: None,
) -> T | None:
    """Repeat an action until the database answers; `None` if asked to stop."""
    pause = 0.5
    while True:
        heartbeat.beat()
        try:
            result = action()
        except DataError:
            raise
        except SQLAlchemyError as error:
            note(False)
            line = (str(getattr(error, "orig", None) or error).splitlines() or [""])[0]
            _log.error("The database of nights does not answer, again in %.1f s: %s", pause, line)
            if stop.wait(pause):
                return None
            pause = min(2 * pause, _LONGEST_PAUSE_S)
        else:
            note(True)
            return result
