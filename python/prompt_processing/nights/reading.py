"""Queries of pages: each reads a number of rows that a limit bounds, whatever the database holds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, Select, func, select, tuple_

from prompt_processing.domain.outcome_message import storable_text

from .database import MOST_ROWS, NightsDatabase, NightsUnavailableError, states_of
from .latency import add_up, percentiles
from .queries import detectors_by_night, detectors_of_visits, number_of, of_visit, split_cursor
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
from .states import outcome_of
from .tables import COUNTERS, DETECTORS, MINUTES, NIGHTS, VISITS

__all__ = ["Nights", "NightsUnavailableError"]

_MINUTES_OF_A_NIGHT = 2 * 24 * 60


class Nights(NightsDatabase):
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
                tuple_(NIGHTS.c.night, NIGHTS.c.instrument) < (number_of(day), storable_text(name))
            )
        rows, more = self._page(query, limit)
        found = [
            Night(
                row.night,
                row.instrument,
                row.n_visits,
                states_of(row, late=row.last < self.late_before),
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
        ).where(VISITS.c.night == night, VISITS.c.announced >= self.late_before)
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
            day, announced, id_ = split_cursor(after)
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
        rows = self._rows(of_visit(select(VISITS), visit, instrument).limit(1))
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
        query = of_visit(detectors_of_visits(), visit, instrument).order_by(DETECTORS.c.detector)
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
        query = of_visit(detectors_of_visits(), visit, instrument).where(DETECTORS.c.detector == detector)
        rows = self._rows(query.limit(1))
        return outcome_of(rows[0]._asdict(), self.late_before) if rows else None

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
            detectors_of_visits()
            .add_columns(DETECTORS.c.serial, DETECTORS.c.changed)
            .where(DETECTORS.c.night == night, DETECTORS.c.problem.is_(True))
            .order_by(DETECTORS.c.changed.desc(), DETECTORS.c.serial.desc())
        )
        if instrument is not None:
            query = query.where(DETECTORS.c.instrument == storable_text(instrument))
        if after is not None:
            _, changed, serial = split_cursor(f"0:{after}")
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
            detectors_of_visits()
            .where(DETECTORS.c.instrument == instrument, DETECTORS.c.detector == detector)
            .order_by(DETECTORS.c.announced.desc())
        )
        return [self._detector(row) for row in self._page(query, limit)[0]]

    def nights_of_detector(
        self, instrument: str, detector: int, until: int, *, n_nights: int = 30, per_night: int = 20
    ) -> Sequence[Detector]:
        """Return a detector's last visits in each of its instrument's last nights.

        Parameters
        ----------
        instrument, detector
            The detector.
        until
            Last night, ``YYYYMMDD``.
        n_nights, per_night
            Most nights, and most visits of each.
        """
        query = select(NIGHTS.c.first, NIGHTS.c.last).where(
            NIGHTS.c.instrument == storable_text(instrument), NIGHTS.c.night <= until
        )
        nights, _ = self._page(query.order_by(NIGHTS.c.night.desc()), n_nights)
        if not nights:
            return []
        rows = self._rows(detectors_by_night(storable_text(instrument), detector, nights, per_night))
        return [self._detector(row) for row in rows]

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
            detectors_of_visits()
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
