"""Let only one process at a time write a visit-detector to an APDB in a SQL database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lsst.dax.apdb import Apdb
from lsst.dax.apdb.apdbSchema import ApdbTables
from lsst.dax.apdb.sql import ApdbSql
from sqlalchemy import Connection, TableClause, column, event, func, select, table, text

from .internals import sql_engine

__all__ = ["VisitDetectorTakenError", "claimed", "was_committed"]

_LOCK_TIMEOUT_S = 60
"""Longest wait for another writer of the same visit-detector, seconds; a longer one is stuck."""


class VisitDetectorTakenError(Exception):
    """Another process wrote the visit-detector between the last check and the write."""


@contextmanager
def claimed(apdb: Apdb, visit: int, detector: int) -> Iterator[None]:
    """Lock a visit-detector in each transaction of a block, and check again that it was not written.

    The APDB's interface checks (`~lsst.dax.apdb.Apdb.containsVisitDetector`) and writes in separate
    transactions: two workers with the same visit may both check before either writes. Here each transaction
    begins with a lock that lasts until its end, and checks after it has the lock. PostgreSQL locks the
    visit-detector, SQLite the whole file. Other kinds of APDB are not locked.

    Parameters
    ----------
    apdb : `~lsst.dax.apdb.Apdb`
        The APDB; the block must only write to it.
    visit, detector : `int`
        Ids of the rows to write.

    Raises
    ------
    VisitDetectorTakenError
        If another process was faster; nothing is written.
    """
    if not isinstance(apdb, ApdbSql):
        yield
        return
    engine = sql_engine(apdb)

    def claim(connection: Connection) -> None:
        _lock(connection, apdb, visit, detector)
        if _holds(connection, apdb, visit, detector):
            raise VisitDetectorTakenError(f"Visit {visit}, detector {detector} was written meanwhile.")

    event.listen(engine, "begin", claim)
    try:
        yield
    finally:
        event.remove(engine, "begin", claim)


def was_committed(apdb: Apdb, visit: int, detector: int, processed_mjd: float) -> bool:
    """Return whether a given write of a visit-detector's DiaSources was committed.

    Wait for a write that has not ended, for example by a worker that has just died.

    Parameters
    ----------
    apdb : `~lsst.dax.apdb.Apdb`
        The APDB. If it is not in a SQL database, any write of the visit-detector counts.
    visit, detector : `int`
        Ids of the rows.
    processed_mjd : `float`
        ``timeProcessedMjdTai`` of the DiaSources, days.

    Raises
    ------
    sqlalchemy.exc.SQLAlchemyError
        If the database does not answer.
    """
    if not isinstance(apdb, ApdbSql):
        return bool(apdb.containsVisitDetector(visit, detector))
    engine = sql_engine(apdb)
    with engine.begin() as connection:
        _lock(connection, apdb, visit, detector)
        rows = _rows(apdb, ApdbTables.DiaSource)
        ours = (rows.c.visit == visit) & (rows.c.detector == detector)
        ours &= rows.c.timeProcessedMjdTai == processed_mjd
        return connection.execute(select(rows.c.visit).where(ours).limit(1)).first() is not None


def _lock(connection: Connection, apdb: ApdbSql, visit: int, detector: int) -> None:
    """Wait for other writers of the visit-detector, and lock them out until the transaction ends."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT_S}s'"))
        key = f"{apdb.config.namespace}/{apdb.config.prefix}/{visit}/{detector}"
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(key, 0))))
    elif connection.dialect.name == "sqlite":
        connection.execute(text("BEGIN IMMEDIATE"))


def _rows(apdb: ApdbSql, name: ApdbTables) -> TableClause:
    return table(
        name.table_name(apdb.config.prefix),
        column("visit"),
        column("detector"),
        column("timeProcessedMjdTai"),
        schema=apdb.config.namespace,
    )


def _holds(connection: Connection, apdb: ApdbSql, visit: int, detector: int) -> bool:
    for name in (ApdbTables.DiaSource, ApdbTables.DiaForcedSource):
        rows = _rows(apdb, name)
        of_visit = (rows.c.visit == visit) & (rows.c.detector == detector)
        if connection.execute(select(rows.c.visit).where(of_visit).limit(1)).first() is not None:
            return True
    return False
