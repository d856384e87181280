"""Queries of pages: each reads a number of rows that a limit bounds, whatever the database holds."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, Row, Select, false, func, select, tuple_
from sqlalchemy.exc import SQLAlchemyError

from prompt_processing.domain.outcome_message import storable_text

from .latency import add_up, percentiles
from .records import (
    Changes,
    Detector,
    Freshness,
    Minute,
    Night,
    Outcome,
    Page,
    Percentiles,
    State,
    Visit,
    VisitLatency,
)
from .states import detector_of, outcome_of
from .tables import COUNTERS, DETECTORS, MINUTES, NIGHTS, SCHEMA_VERSION, VISITS, open_engine

__all__ = ["Nights", "NightsUnavailableError"]

MOST_ROWS = 2000
"""Largest limit of any query."""
_MINUTES_OF_A_NIGHT = 2 * 24 * 60
_LATE_AFTER = 300.0

_OF_VISIT = (VISITS.c.group_name, VISITS.c.visit)


class NightsUnavailableError(Exception):
    """The database of nights does not answer, is missing, or is of another version."""


class Nights:
    """The nights of a database, read only.

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

    def freshness(self) -> Freshness:
        """Return how recent the database is."""
        rows = self._rows(select(COUNTERS.c.name, COUNTERS.c.value))
        found = {row.name: row.value for row in rows}
        return Freshness(
            int(found.get("serial", 0)), found.get("projected", 0.0), int(found.get("malformed", 0))
        )

    def nights(
        self, limit: int = 50, *, instrument: str | None = None, after: str | None = None
    ) -> Page[Night]:
        """Return nights, newest first.

        Parameters
        ----------
        limit
            Most rows.
        instrument
            Short name; all by default.
        after
            `Page.next` of the preceding page.
        """
        query = select(NIGHTS).order_by(NIGHTS.c.night.desc(), NIGHTS.c.instrument.desc())
        if instrument is not None:
            query = query.where(NIGHTS.c.instrument == storable_text(instrument))
        if after is not None:
            day, _, name = after.partition(":")
            query = query.where(
                tuple_(NIGHTS.c.night, NIGHTS.c.instrument) < (_number(day), storable_text(name))
            )
        rows, more = self._page(query, limit)
        found = [
            Night(
                row.night,
                row.instrument,
                row.n_visits,
                _states(row, late=row.last < self._late_before),
                row.n_alerts,
                row.n_sources,
                row.first,
                row.last,
            )
            for row in rows
        ]
        return Page(found, f"{rows[-1].night}:{rows[-1].instrument}" if more else None)

    def in_time(self, night: int, *, instrument: str | None = None) -> dict[State, int]:
        """Return the numbers of waiting and processing detectors of those visits that are not late yet.

        Parameters
        ----------
        night
            Observing day.
        instrument
            Short name; all by default.
        """
        query = select(
            func.coalesce(func.sum(VISITS.c.n_waiting), 0).label("waiting"),
            func.coalesce(func.sum(VISITS.c.n_processing), 0).label("processing"),
        ).where(VISITS.c.night == night, VISITS.c.announced >= self._late_before)
        if instrument is not None:
            query = query.where(VISITS.c.instrument == storable_text(instrument))
        row = self._rows(query)[0]._mapping
        return {State.WAITING: int(row["waiting"]), State.PROCESSING: int(row["processing"])}

    def latest(
        self, limit: int = 20, *, instrument: str | None = None, after: str | None = None
    ) -> Page[Visit]:
        """Return the newest visits of all nights; parameters as for `visits`."""
        query = select(VISITS)
        if instrument is not None:
            query = query.where(VISITS.c.instrument == storable_text(instrument))
        return self._visits(query, limit, after)

    def visits(
        self,
        night: int,
        limit: int = 100,
        *,
        instrument: str | None = None,
        filter: str | None = None,
        survey: str | None = None,
        problems: bool = False,
        after: str | None = None,
    ) -> Page[Visit]:
        """Return visits, newest first.

        Parameters
        ----------
        night
            Observing day, ``YYYYMMDD``.
        limit
            Most rows.
        instrument, filter, survey
            Exactly; all by default.
        problems
            Whether to return only visits with a failed detector.
        after
            `Page.next` of the preceding page.
        """
        query = select(VISITS).where(VISITS.c.night == night)
        for column, value in (
            (VISITS.c.instrument, instrument),
            (VISITS.c.filter, filter),
            (VISITS.c.survey, survey),
        ):
            if value is not None:
                query = query.where(column == storable_text(value))
        if problems:
            query = query.where(VISITS.c.n_failed > 0)
        return self._visits(query, limit, after)

    def _visits(self, query: Select[Any], limit: int, after: str | None) -> Page[Visit]:
        query = query.order_by(VISITS.c.night.desc(), VISITS.c.announced.desc(), VISITS.c.id.desc())
        if after is not None:
            day, announced, id_ = _split(after)
            query = query.where(
                tuple_(VISITS.c.night, VISITS.c.announced, VISITS.c.id) < (day, announced, id_)
            )
        rows, more = self._page(query, limit)
        last = rows[-1] if more else None
        token = None if last is None else f"{last.night}:{last.announced!r}:{last.id}"
        return Page([self._visit(row) for row in rows], token)

    def visit(self, visit: int | str, *, instrument: str | None = None) -> Visit | None:
        """Return a visit; `None` if it is unknown.

        Parameters
        ----------
        visit
            Id of its exposure, or group.
        instrument
            Short name, if two instruments share the id.
        """
        rows = self._rows(_of_visit(select(VISITS), visit, instrument).limit(1))
        return self._visit(rows[0]) if rows else None

    def neighbours(self, visit: Visit) -> tuple[Visit | None, Visit | None]:
        """Return the visits of the same instrument before and after a visit."""
        place = (visit.night, visit.announced)
        key = tuple_(VISITS.c.night, VISITS.c.announced)
        same = select(VISITS).where(VISITS.c.instrument == visit.instrument)
        before = same.where(key < place).order_by(VISITS.c.night.desc(), VISITS.c.announced.desc())
        after = same.where(key > place).order_by(VISITS.c.night, VISITS.c.announced)
        found = [self._rows(query.limit(1)) for query in (before, after)]
        return (
            self._visit(found[0][0]) if found[0] else None,
            self._visit(found[1][0]) if found[1] else None,
        )

    def detectors(
        self, visit: int | str, *, instrument: str | None = None, limit: int = 500
    ) -> Sequence[Detector]:
        """Return the detectors of a visit, by id; empty if the visit is unknown.

        Parameters
        ----------
        visit, instrument
            As for `visit`.
        limit
            Most rows.
        """
        query = _of_visit(_detectors(), visit, instrument).order_by(DETECTORS.c.detector)
        return [self._detector(row) for row in self._page(query, limit)[0]]

    def outcome(self, visit: int | str, detector: int, *, instrument: str | None = None) -> Outcome | None:
        """Return all that is known of a visit's detector; `None` if nothing is.

        Parameters
        ----------
        visit, instrument
            As for `visit`.
        detector
            Detector id.
        """
        query = _of_visit(_detectors(), visit, instrument).where(DETECTORS.c.detector == detector)
        rows = self._rows(query.limit(1))
        return outcome_of(rows[0]._asdict(), self._late_before) if rows else None

    def errors(
        self, night: int, limit: int = 50, *, instrument: str | None = None, after: str | None = None
    ) -> Page[Detector]:
        """Return the detectors whose last attempt failed, newest first.

        Parameters
        ----------
        night
            Observing day.
        limit, instrument, after
            As for `visits`.
        """
        query = (
            _detectors()
            .add_columns(DETECTORS.c.serial, DETECTORS.c.changed)
            .where(DETECTORS.c.night == night, DETECTORS.c.problem.is_(True))
            .order_by(DETECTORS.c.changed.desc(), DETECTORS.c.serial.desc())
        )
        if instrument is not None:
            query = query.where(DETECTORS.c.instrument == storable_text(instrument))
        if after is not None:
            _, changed, serial = _split(f"0:{after}")
            query = query.where(tuple_(DETECTORS.c.changed, DETECTORS.c.serial) < (changed, serial))
        rows, more = self._page(query, limit)
        token = f"{rows[-1].changed!r}:{rows[-1].serial}" if more else None
        return Page([self._detector(row) for row in rows], token)

    def history(self, instrument: str, detector: int, limit: int = 200) -> Sequence[Detector]:
        """Return a detector's last visits, newest first, for example to compare metrics.

        Parameters
        ----------
        instrument, detector
            The detector.
        limit
            Most rows.
        """
        query = (
            _detectors()
            .where(DETECTORS.c.instrument == instrument, DETECTORS.c.detector == detector)
            .order_by(DETECTORS.c.announced.desc())
        )
        return [self._detector(row) for row in self._page(query, limit)[0]]

    def timeline(self, night: int, *, instrument: str | None = None) -> Sequence[Minute]:
        """Return the numbers of each minute of a night in which something happened, in order of time.

        Parameters
        ----------
        night
            Observing day.
        instrument
            Short name; the sum of all by default.
        """
        query = select(MINUTES).where(MINUTES.c.night == night).order_by(MINUTES.c.minute)
        if instrument is not None:
            query = query.where(MINUTES.c.instrument == storable_text(instrument))
        total: dict[int, Minute] = {}
        for row in self._rows(query.limit(_MINUTES_OF_A_NIGHT)):
            before = total.get(row.minute, Minute(60.0 * row.minute))
            total[row.minute] = Minute(
                before.start,
                before.announced + row.announced,
                before.done + row.done,
                before.skipped + row.skipped,
                before.failed + row.failed,
                before.alerts + row.alerts,
            )
        return list(total.values())

    def latencies(
        self, night: int, *, instrument: str | None = None, last: int = MOST_ROWS
    ) -> dict[str, Percentiles]:
        """Return the percentiles of seconds by stage.

        Parameters
        ----------
        night
            Observing day.
        instrument
            Short name; all by default.
        last
            Number of visits, newest first.

        Returns
        -------
        percentiles
            By stage in the order of a visit, ``arrival_to_alert`` last.
        """
        parts: dict[str, list[Mapping[str, int]]] = {}
        for row in self._latency_rows(night, instrument, last):
            for stage, bins in json.loads(row.latency).items():
                parts.setdefault(stage, []).append(bins)
        return {stage: percentiles(add_up(bins)) for stage, bins in parts.items()}

    def latency_by_visit(
        self, night: int, *, instrument: str | None = None, last: int = 200
    ) -> Sequence[VisitLatency]:
        """Return the percentiles of the last visits, in order of time; parameters as for `latencies`."""
        found = []
        for row in reversed(self._latency_rows(night, instrument, last)):
            of_stages = {stage: percentiles(bins) for stage, bins in json.loads(row.latency).items()}
            found.append(
                VisitLatency(
                    row.group_name,
                    row.visit,
                    row.announced,
                    {stage: one.p50 for stage, one in of_stages.items()},
                    {stage: one.p95 for stage, one in of_stages.items()},
                )
            )
        return found

    def changed_since(self, cursor: int, limit: int = 500) -> Changes:
        """Return what has changed.

        Parameters
        ----------
        cursor
            `Changes.cursor` of the last call, or `Freshness.cursor` to begin now.
        limit
            Most rows.
        """
        query = (
            _detectors()
            .add_columns(DETECTORS.c.serial)
            .where(DETECTORS.c.serial > cursor)
            .order_by(DETECTORS.c.serial)
        )
        rows, more = self._page(query, limit)
        new_cursor = rows[-1].serial if rows else cursor
        return Changes([self._detector(row) for row in rows], new_cursor, more)

    def _latency_rows(self, night: int, instrument: str | None, last: int) -> Sequence[Row[Any]]:
        query = (
            select(VISITS.c.group_name, VISITS.c.visit, VISITS.c.announced, VISITS.c.latency)
            .where(VISITS.c.night == night)
            .order_by(VISITS.c.announced.desc(), VISITS.c.id.desc())
        )
        if instrument is not None:
            query = query.where(VISITS.c.instrument == storable_text(instrument))
        return self._page(query, last)[0]

    @property
    def _late_before(self) -> float:
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
            states=_states(row, late=row.announced < self._late_before),
            n_alerts=row.n_alerts,
            n_sources=row.n_sources,
            metrics=json.loads(row.metrics),
            seconds=latency,
            last_change=row.last_change,
        )

    def _detector(self, row: Row[Any]) -> Detector:
        return detector_of(row._asdict(), self._late_before)

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


def _detectors() -> Select[Any]:
    return select(
        *_OF_VISIT,
        DETECTORS.c.night,
        DETECTORS.c.instrument,
        DETECTORS.c.announced,
        DETECTORS.c.detector,
        DETECTORS.c.n_alerts,
        DETECTORS.c.n_sources,
        DETECTORS.c.content,
    ).join(VISITS, VISITS.c.id == DETECTORS.c.visit_id)


def _of_visit(query: Select[Any], visit: int | str, instrument: str | None) -> Select[Any]:
    if isinstance(visit, int):
        # Beyond the range of the column a database would raise an error.
        query = query.where(VISITS.c.visit == visit) if 0 <= visit < 2**63 else query.where(false())
    else:
        query = query.where(VISITS.c.group_name == storable_text(visit))
    return query if instrument is None else query.where(VISITS.c.instrument == storable_text(instrument))


def _states(row: Row[Any], *, late: bool) -> dict[State, int]:
    waiting, processing = row.n_waiting, row.n_processing
    return {
        State.WAITING: 0 if late else waiting,
        State.PROCESSING: 0 if late else processing,
        State.LATE: waiting + processing if late else 0,
        State.DONE: row.n_done,
        State.SKIPPED: row.n_skipped,
        State.FAILED: row.n_failed,
    }


def _number(text: str) -> int:
    try:
        return min(max(int(text[:20]), 0), 2**31 - 1)
    except ValueError:
        # A cursor comes from a URL, which anyone can write.
        return 0


def _split(text: str) -> tuple[int, float, int]:
    parts = [*text.split(":"), "", ""]
    try:
        return _number(parts[0]), float(parts[1][:40]), int(parts[2][:19])
    except ValueError:
        return 0, 0.0, 0
