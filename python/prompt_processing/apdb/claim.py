"""One writer at a time for each visit-detector of an APDB in a SQL database."""

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
"""Another writer of the same visit-detector has ended by then, or is stuck."""


class VisitDetectorTakenError(Exception):
    """Between the last look and the write, another writer has written the visit-detector."""


@contextmanager
def claimed(apdb: Apdb, visit: int, detector: int) -> Iterator[None]:
    """Keep other writers of a visit-detector out of the transactions of a block, and look again in each.

    The APDB's interface looks (`~lsst.dax.apdb.Apdb.containsVisitDetector`) and writes in transactions of
    their own: two workers with the same visit may both look before either writes. Here each transaction
    begins with a lock that ends with it, however it ends, and looks once the lock is its own. PostgreSQL
    locks the visit-detector, SQLite the file. An APDB of another kind is left as it is.

    Parameters
    ----------
    apdb : `~lsst.dax.apdb.Apdb`
        Which is written to in the block, and not read.
    visit, detector : `int`
        What is written.

    Raises
    ------
    VisitDetectorTakenError
        If another writer was faster; the transaction has not begun.
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
    """Tell whether one certain write of a visit-detector's DiaSources has happened.

    A write that is not at its end, of a worker that has just died for example, is waited for.

    Parameters
    ----------
    apdb : `~lsst.dax.apdb.Apdb`
        Where to. One that is not in a SQL database does not tell writes from each other.
    visit, detector : `int`
        What was written.
    processed_mjd : `float`
        ``timeProcessedMjdTai`` of its DiaSources, days.

    Raises
    ------
    sqlalchemy.exc.SQLAlchemyError
        If the database does not tell.
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
    """Wait for other writers of the visit-detector, and keep them out until the transaction ends."""
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
