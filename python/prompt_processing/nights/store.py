"""Write messages into the database of nights."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import batched
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import Column, Connection, Table, and_, case, func, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import OperationalError

from prompt_processing.domain.outcome import STAGES
from prompt_processing.domain.outcome_message import OutcomeMessage

from .latency import histogram
from .reading import NightsUnavailableError
from .records import State
from .states import Content, merge
from .tables import (
    COUNTERS,
    DETECTORS,
    METADATA,
    MINUTES,
    NIGHTS,
    POSITIONS,
    SCHEMA_VERSION,
    VISITS,
    open_engine,
)

__all__ = ["NightStore"]

_VARIABLES = 400
"""Values in one statement, below the limits of all databases."""
_DELAY = "arrival_to_alert"
_SUMS = ("n_waiting", "n_processing", "n_done", "n_skipped", "n_failed", "n_alerts", "n_sources")

VisitKey = tuple[str, str]
"""Instrument and group."""
DetectorKey = tuple[int, int]
"""Row of the visit, and detector."""


class NightStore:
    """The projector's database.

    Parameters
    ----------
    place
        URL of the database, or path of a SQLite file; tables are made if they are missing.
    now
        Returns Unix seconds, UTC.

    Raises
    ------
    ~prompt_processing.nights.reading.NightsUnavailableError
        Raised if the database is of another version.
    """

    def __init__(self, place: str | Path, now: Callable[[], float] = time.time) -> None:
        self._engine = open_engine(place, writing=True)
        self._now = now
        METADATA.create_all(self._engine)
        with self._engine.begin() as connection:
            for name, value in (
                ("schema", SCHEMA_VERSION),
                ("serial", 0),
                ("projected", 0),
                ("malformed", 0),
            ):
                _insert(connection, COUNTERS, [{"name": name, "value": value}], update_columns=())
            found = connection.execute(_counter("schema")).scalar()
        if found != SCHEMA_VERSION:
            raise NightsUnavailableError(
                f"The database has version {found:.0f}, this software writes {SCHEMA_VERSION}: name an empty "
                "database; it is filled from the messages."
            )

    def close(self) -> None:
        """Close all connections, and leave a SQLite database as one file, which can be moved and copied."""
        if self._engine.dialect.name == "sqlite":
            # Not while others read or write it; the next projector that ends tries again.
            with suppress(OperationalError), self._engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA busy_timeout = 500")
                connection.exec_driver_sql("PRAGMA journal_mode = DELETE")
        self._engine.dispose()

    def positions(self, sources: Iterable[str]) -> dict[str, int]:
        """Return where sources are read on; those never read are missing."""
        found: dict[str, int] = {}
        with self._engine.connect() as connection:
            for names in batched(sources, _VARIABLES):
                query = select(POSITIONS).where(POSITIONS.c.source.in_(names))
                found |= {row.source: row.position for row in connection.execute(query)}
        return found

    def write(
        self, messages: Sequence[OutcomeMessage], positions: Mapping[str, int], malformed: int = 0
    ) -> None:
        """Write messages, and how far their sources are read, in one transaction.

        Parameters
        ----------
        messages
            Messages; those that are known change nothing.
        positions
            Position after them, by source.
        malformed
            Number of messages that could not be read.
        """
        with self._engine.begin() as connection:
            # The row is locked until the end: several projectors write one after the other, so that the
            # numbers of changes appear in their order.
            connection.execute(
                update(COUNTERS).where(COUNTERS.c.name == "projected").values(value=self._now())
            )
            if malformed:
                connection.execute(
                    update(COUNTERS)
                    .where(COUNTERS.c.name == "malformed")
                    .values(value=COUNTERS.c.value + malformed)
                )
            if messages:
                _Batch(connection).write(messages)
            if positions:
                rows = [{"source": source, "position": place} for source, place in positions.items()]
                _insert(connection, POSITIONS, rows, ("position",))


class _Batch:
    """The messages of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def write(self, messages: Sequence[OutcomeMessage]) -> None:
        visits = self._enter_visits(messages)
        keys = {
            (visits[one.instrument, one.group]["id"], detector)
            for one in messages
            for detector in one.detectors
        }
        before = self._known(keys)
        after: dict[DetectorKey, Content] = {}
        about: dict[DetectorKey, Mapping[str, Any]] = {}
        for message in messages:
            visit = visits[message.instrument, message.group]
            for detector in message.detectors:
                key = (visit["id"], detector)
                known = after.get(key)
                if known is None and key in before:
                    known = Content.load(before[key])
                after[key] = merge(known, message)
                about[key] = visit
        changed = {key: one for key, one in after.items() if one.dump() != before.get(key)}
        if not changed:
            return
        serial = int(self._connection.execute(_counter("serial")).scalar_one())
        rows = [
            _detector_row(key, content, about[key], serial + number)
            for number, (key, content) in enumerate(changed.items(), start=1)
        ]
        _insert(self._connection, DETECTORS, rows, [c.name for c in DETECTORS.c if not c.primary_key])
        self._connection.execute(
            update(COUNTERS).where(COUNTERS.c.name == "serial").values(value=serial + len(rows))
        )
        self._sum_up({key[0] for key in changed}, rows)

    def _enter_visits(self, messages: Sequence[OutcomeMessage]) -> dict[VisitKey, Mapping[str, Any]]:
        rows = {}
        for one in messages:
            rows[one.instrument, one.group] = {
                "night": one.night,
                "instrument": one.instrument,
                "group_name": one.group,
                "announced": one.announced,
                "survey": one.survey,
                "filter": one.filter,
                "ra": one.ra,
                "dec": one.dec,
                "rotation": one.rotation,
                "snaps": one.snaps,
                "last_change": one.at,
            }
        _insert(self._connection, VISITS, list(rows.values()), update_columns=())
        found: dict[VisitKey, Mapping[str, Any]] = {}
        for keys in batched(rows, _VARIABLES // 2):
            query = select(
                VISITS.c.id, VISITS.c.instrument, VISITS.c.group_name, VISITS.c.night, VISITS.c.announced
            ).where(tuple_(VISITS.c.instrument, VISITS.c.group_name).in_(keys))
            for row in self._connection.execute(query):
                found[row.instrument, row.group_name] = row._asdict()
        return found

    def _known(self, keys: Iterable[DetectorKey]) -> dict[DetectorKey, str]:
        found = {}
        for some in batched(keys, _VARIABLES // 2):
            query = select(DETECTORS.c.visit_id, DETECTORS.c.detector, DETECTORS.c.content).where(
                tuple_(DETECTORS.c.visit_id, DETECTORS.c.detector).in_(some)
            )
            for row in self._connection.execute(query):
                found[row.visit_id, row.detector] = row.content
        return found

    def _sum_up(self, visits: Iterable[int], rows: Sequence[Mapping[str, Any]]) -> None:
        """Recompute the sums of what has changed, from rows that are bounded by one visit or one night."""
        for visit in visits:
            self._sum_up_visit(visit)
        nights = {(row["night"], row["instrument"]) for row in rows}
        for night, instrument in nights:
            minutes = {
                minute
                for row in rows
                if (row["night"], row["instrument"]) == (night, instrument)
                for minute in (row["announced_minute"], row["settled_minute"])
                if minute is not None
            }
            self._sum_up_minutes(night, instrument, min(minutes), max(minutes))
            self._sum_up_night(night, instrument)

    def _sum_up_visit(self, visit: int) -> None:
        sums = dict.fromkeys(_SUMS, 0)
        seconds: dict[str, list[float]] = {}
        metrics: dict[str, list[float]] = {}
        exposure = None
        changed = 0.0
        query = select(
            DETECTORS.c.state,
            DETECTORS.c.n_alerts,
            DETECTORS.c.n_sources,
            DETECTORS.c.changed,
            DETECTORS.c.content,
        ).where(DETECTORS.c.visit_id == visit)
        for row in self._connection.execute(query):
            sums[f"n_{row.state}"] += 1
            sums["n_alerts"] += row.n_alerts
            sums["n_sources"] += row.n_sources
            changed = max(changed, row.changed)
            content = Content.load(row.content)
            if content.details is None:
                continue
            if exposure is None:
                exposure = content.visit
            if content.state is not State.DONE:
                # Attempts that failed early would make the visit look fast.
                continue
            for name, value in _seconds(content.details).items():
                seconds.setdefault(name, []).append(value)
            for name, value in content.details["metrics"].items():
                metrics.setdefault(name, []).append(value)
        latency = {name: histogram(seconds[name]) for name in (*STAGES, _DELAY) if name in seconds}
        self._connection.execute(
            update(VISITS)
            .where(VISITS.c.id == visit)
            .values(
                **sums,
                visit=func.coalesce(exposure, VISITS.c.visit),
                last_change=changed,
                latency=json.dumps(latency),
                metrics=json.dumps({name: median(values) for name, values in metrics.items()}),
            )
        )

    def _sum_up_minutes(self, night: int, instrument: str, first: int, last: int) -> None:
        found: dict[int, dict[str, int]] = {}

        def add(column: Column[Any], sums: Mapping[str, Any]) -> None:
            query = (
                select(column.label("minute"), *(what.label(name) for name, what in sums.items()))
                .where(
                    DETECTORS.c.night == night,
                    DETECTORS.c.instrument == instrument,
                    column.between(first, last),
                )
                .group_by(column)
            )
            for row in self._connection.execute(query):
                numbers = {name: int(getattr(row, name) or 0) for name in sums}
                found.setdefault(row.minute, {}).update(numbers)

        add(DETECTORS.c.announced_minute, {"announced": func.count()})
        of_state = {
            name: func.sum(case((DETECTORS.c.state == name, 1), else_=0))
            for name in ("done", "skipped", "failed")
        }
        add(DETECTORS.c.settled_minute, {**of_state, "alerts": func.sum(DETECTORS.c.n_alerts)})
        columns = ("announced", "done", "skipped", "failed", "alerts")
        rows = [
            {
                "night": night,
                "instrument": instrument,
                "minute": minute,
                **dict.fromkeys(columns, 0),
                **numbers,
            }
            for minute, numbers in found.items()
        ]
        _insert(self._connection, MINUTES, rows, columns)

    def _sum_up_night(self, night: int, instrument: str) -> None:
        query = select(
            func.count().label("n_visits"),
            func.min(VISITS.c.announced).label("first"),
            func.max(VISITS.c.announced).label("last"),
            *(func.sum(VISITS.c[name]).label(name) for name in _SUMS),
        ).where(and_(VISITS.c.night == night, VISITS.c.instrument == instrument))
        row = {"night": night, "instrument": instrument, **self._connection.execute(query).one()._asdict()}
        _insert(
            self._connection, NIGHTS, [row], [name for name in row if name not in ("night", "instrument")]
        )


def _seconds(details: Mapping[str, Any]) -> dict[str, float]:
    seconds = dict(details["stages"])
    if details["image_arrival"] is not None and details["last_alert"] is not None:
        seconds[_DELAY] = details["last_alert"] - details["image_arrival"]
    return seconds


def _detector_row(
    key: DetectorKey, content: Content, visit: Mapping[str, Any], serial: int
) -> dict[str, Any]:
    settled = content.settled
    return {
        "visit_id": key[0],
        "detector": key[1],
        "serial": serial,
        "night": visit["night"],
        "instrument": visit["instrument"],
        "announced": visit["announced"],
        "state": content.state.value,
        "problem": content.problem,
        "changed": content.changed or visit["announced"],
        "announced_minute": int(visit["announced"] // 60),
        "settled_minute": None if settled is None else int(settled // 60),
        "n_alerts": content.count("numAlertsSent"),
        "n_sources": content.count("numDiaSources"),
        "content": content.dump(),
    }


def _counter(name: str) -> Any:
    return select(COUNTERS.c.value).where(COUNTERS.c.name == name)


def _insert(
    connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], update_columns: Sequence[str]
) -> None:
    """Insert rows; update these columns of those that exist."""
    if not rows:
        return
    make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = make(table)
    if update_columns:
        statement = statement.on_conflict_do_update(
            index_elements=[column.name for column in table.primary_key],
            set_={name: statement.excluded[name] for name in update_columns},
        )
    else:
        statement = statement.on_conflict_do_nothing()
    connection.execute(statement, [dict(row) for row in rows])
