"""The connection to the database of nights, and the records of its rows."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, Row, Select, select
from sqlalchemy.exc import SQLAlchemyError

from .latency import percentiles
from .records import Detector, State, Visit
from .states import detector_of
from .tables import COUNTERS, SCHEMA_VERSION, open_engine

__all__ = ["MOST_ROWS", "NightsDatabase", "NightsUnavailableError", "states_of"]

MOST_ROWS = 2000
"""Largest limit of any query."""
_LATE_AFTER = 300.0


class NightsUnavailableError(Exception):
    """The database of nights does not answer, is missing, or is of another version."""


class NightsDatabase:
    """A database of nights, read only.

    Threads may share it. Every method raises `NightsUnavailableError` if the database cannot be read.

    Parameters
    ----------
    place
        URL of the database, or path of a SQLite file.
    late_after
        Seconds after its announcement at which an unsettled visit is late.
    now
        Returns Unix seconds, UTC.

    Raises
    ------
    ValueError
        Raised if `place` is neither.
    """

    def __init__(
        self, place: str | Path, *, late_after: float = _LATE_AFTER, now: Callable[[], float] = time.time
    ) -> None:
        self._engine = open_engine(place)
        self._late_after = late_after
        self._now = now
        self._checked = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @property
    def late_before(self) -> float:
        """Unix seconds; an unsettled visit that was announced earlier is late."""
        return self._now() - self._late_after

    def _visit(self, row: Row[Any]) -> Visit:
        latency = {stage: percentiles(bins).p95 for stage, bins in json.loads(row.latency).items()}
        return Visit(
            night=row.night,
            instrument=row.instrument,
            group=row.group_name,
            visit=row.visit,
            announced=row.announced,
            survey=row.survey,
            filter=row.filter,
            ra=row.ra,
            dec=row.dec,
            rotation=row.rotation,
            snaps=row.snaps,
            states=states_of(row, late=row.announced < self.late_before),
            n_alerts=row.n_alerts,
            n_sources=row.n_sources,
            metrics=json.loads(row.metrics),
            seconds=latency,
            last_change=row.last_change,
        )

    def _detector(self, row: Row[Any]) -> Detector:
        return detector_of(row._asdict(), self.late_before)

    def _page(self, query: Select[Any], limit: int) -> tuple[Sequence[Row[Any]], bool]:
        limit = max(1, min(limit, MOST_ROWS))
        rows = self._rows(query.limit(limit + 1))
        return rows[:limit], len(rows) > limit

    def _rows(self, query: Select[Any]) -> Sequence[Row[Any]]:
        try:
            with self._engine.connect() as connection:
                if not self._checked:
                    _check_version(connection)
                    self._checked = True
                return connection.execute(query).all()
        except SQLAlchemyError as error:
            # The next call looks again: the database may be a new one by then.
            self._checked = False
            # Only the first line: the rest is the statement.
            line = (str(getattr(error, "orig", None) or error).splitlines() or [""])[0]
            raise NightsUnavailableError(f"The database of nights cannot be read: {line}") from error


def _check_version(connection: Connection) -> None:
    version = connection.execute(select(COUNTERS.c.value).where(COUNTERS.c.name == "schema")).scalar()
    if version != SCHEMA_VERSION:
        raise NightsUnavailableError(
            f"The database of nights has version {version or 0:.0f}, this software reads {SCHEMA_VERSION}: "
            "make a new one with prompt nights project."
        )


def states_of(row: Row[Any], *, late: bool) -> dict[State, int]:
    """Return the number of visit-detectors of a row in each state."""
    waiting, processing = row.n_waiting, row.n_processing
    return {
        State.WAITING: 0 if late else waiting,
        State.PROCESSING: 0 if late else processing,
        State.LATE: waiting + processing if late else 0,
        State.DONE: row.n_done,
        State.SKIPPED: row.n_skipped,
        State.FAILED: row.n_failed,
    }
