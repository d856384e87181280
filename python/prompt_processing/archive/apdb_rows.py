"""Read the rows of a night from an APDB in an SQL database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pandas as pd
import sqlalchemy
from lsst.dax.apdb import Apdb
from lsst.dax.apdb.apdbSchema import ApdbTables
from lsst.dax.apdb.sql import ApdbSql

from prompt_processing.apdb.administration import OtherDatabaseError, shown
from prompt_processing.apdb.internals import sql_engine
from prompt_processing.apdb.tables import ApdbSchemas, ApdbTable

from .nights import NightInterval

__all__ = ["ApdbRows", "VisitDetector"]

VisitDetector = tuple[int, int]

_IDS_AT_A_TIME = 5_000
_INDEX_COLUMN = "pixelId"


class ApdbRows:
    """Rows of an APDB, selected by visit and by object.

    Parameters
    ----------
    apdb
        The APDB.

    Raises
    ------
    OtherDatabaseError
        Raised if the APDB is not in an SQL database.
    """

    def __init__(self, apdb: Apdb) -> None:
        if not isinstance(apdb, ApdbSql):
            raise OtherDatabaseError(
                "The APDB is not in an SQL database. Nights of an APDB in Cassandra are replicated with "
                "lsst-dax-ppdb; this export reads PostgreSQL and SQLite."
            )
        self._engine = sql_engine(apdb)
        self._config = apdb.config
        self.schemas = ApdbSchemas.of(apdb)
        self._present = set(sqlalchemy.inspect(self._engine).get_table_names(schema=self._config.namespace))

    @property
    def name(self) -> str:
        """The database, without password."""
        return shown(self._config)

    def visits(self, night: NightInterval) -> dict[VisitDetector, tuple[int, int]]:
        """Return the number of DiaSources and DiaForcedSources of each visit-detector of a night.

        Raises
        ------
        sqlalchemy.exc.SQLAlchemyError
            Raised if the database fails.
        """
        found: dict[VisitDetector, list[int]] = {}
        for place, kind in enumerate((ApdbTables.DiaSource, ApdbTables.DiaForcedSource)):
            rows = self._columns(kind, "visit", "detector", "midpointMjdTai")
            query = (
                sqlalchemy.select(rows.c.visit, rows.c.detector, sqlalchemy.func.count())
                .where(rows.c.midpointMjdTai >= night.begin, rows.c.midpointMjdTai < night.end)
                .group_by(rows.c.visit, rows.c.detector)
            )
            with self._engine.connect() as connection:
                for visit, detector, count in connection.execute(query):
                    found.setdefault((int(visit), int(detector)), [0, 0])[place] = int(count)
        return {key: (sources, forced) for key, (sources, forced) in sorted(found.items())}

    def of_visits(
        self, kind: ApdbTables, chosen: Sequence[VisitDetector], rows_at_a_time: int = 200_000
    ) -> Iterator[pd.DataFrame]:
        """Yield the rows of some visit-detectors, in the order of visit, detector and id.

        Parameters
        ----------
        kind
            DiaSource or DiaForcedSource.
        chosen
            Visit-detectors.
        rows_at_a_time
            Largest number of rows in one frame, unless one visit has more.
        """
        wanted = set(chosen)
        table = self._reflected(kind)
        conform = self._schema(kind)
        of_visit = self._counts(table, sorted({visit for visit, _ in chosen}))
        for visits in _groups(of_visit, rows_at_a_time):
            query = (
                sqlalchemy.select(table)
                .where(table.c.visit.in_(visits))
                .order_by(table.c.visit, table.c.detector, *table.primary_key.columns)
            )
            frame = self._read(query)
            keys = zip(frame["visit"].tolist(), frame["detector"].tolist(), strict=True)
            frame = frame[[key in wanted for key in keys]]
            if len(frame):
                yield conform.conform(frame)

    def current_objects(self, ids: Iterable[int]) -> Iterator[pd.DataFrame]:
        """Yield the current version of each of some DiaObjects."""
        table = self._reflected(ApdbTables.DiaObject)
        for some in _pieces(sorted(set(ids))):
            query = sqlalchemy.select(table).where(table.c.diaObjectId.in_(some))
            frame = self._read(query.order_by(table.c.diaObjectId, table.c.validityStartMjdTai))
            if len(frame):
                yield self.schemas.dia_object.conform(frame.drop_duplicates("diaObjectId", keep="last"))

    def solar_system(self, kind: ApdbTables, ids: Iterable[int]) -> Iterator[pd.DataFrame]:
        """Yield rows of a table of the solar system; none if the APDB lacks the table.

        Parameters
        ----------
        kind
            SSSource, selected by ``diaSourceId``, or SSObject, selected by ``ssObjectId``.
        ids
            Values of that column.
        """
        if kind.table_name(self._config.prefix) not in self._present:
            return
        table = self._reflected(kind)
        column = table.c["diaSourceId" if kind is ApdbTables.SSSource else "ssObjectId"]
        for some in _pieces(sorted(set(ids))):
            frame = self._read(sqlalchemy.select(table).where(column.in_(some)).order_by(column))
            if len(frame):
                yield frame

    def _read(self, query: sqlalchemy.Select[Any]) -> pd.DataFrame:
        with self._engine.connect() as connection:
            frame = pd.read_sql_query(query, connection)
        return frame.drop(columns=_INDEX_COLUMN, errors="ignore")

    def _counts(self, table: sqlalchemy.Table, visits: list[int]) -> dict[int, int]:
        counts: dict[int, int] = {}
        with self._engine.connect() as connection:
            for some in _pieces(visits):
                query = sqlalchemy.select(table.c.visit, sqlalchemy.func.count())
                for visit, count in connection.execute(
                    query.where(table.c.visit.in_(some)).group_by(table.c.visit)
                ):
                    counts[int(visit)] = int(count)
        return dict(sorted(counts.items()))

    def _schema(self, kind: ApdbTables) -> ApdbTable:
        return {
            ApdbTables.DiaSource: self.schemas.dia_source,
            ApdbTables.DiaForcedSource: self.schemas.dia_forced_source,
        }[kind]

    def _reflected(self, kind: ApdbTables) -> sqlalchemy.Table:
        return sqlalchemy.Table(
            kind.table_name(self._config.prefix),
            sqlalchemy.MetaData(schema=self._config.namespace),
            autoload_with=self._engine,
        )

    def _columns(self, kind: ApdbTables, *names: str) -> sqlalchemy.TableClause:
        columns: list[sqlalchemy.ColumnClause[Any]] = [sqlalchemy.column(name) for name in names]
        return sqlalchemy.table(kind.table_name(self._config.prefix), *columns, schema=self._config.namespace)


def _pieces(values: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(values), _IDS_AT_A_TIME):
        yield values[start : start + _IDS_AT_A_TIME]


def _groups(counts: dict[int, int], most: int) -> Iterator[list[int]]:
    group: list[int] = []
    total = 0
    for visit, count in counts.items():
        if group and (total + count > most or len(group) == _IDS_AT_A_TIME):
            yield group
            group, total = [], 0
        group.append(visit)
        total += count
    if group:
        yield group
