"""Bounded queries of an SQL APDB, which is opened to read only."""

from __future__ import annotations

import json
import math
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from lsst.dax.apdb import ApdbConfig
from lsst.dax.apdb.sql import ApdbSqlConfig
from lsst.sphgeom import Angle, Circle, HtmPixelization, LonLat, UnitVector3d
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Engine, MetaData, Select, Table, and_, inspect, or_, select

from prompt_processing.apdb.failures import short_reason
from prompt_processing.domain.sky_vectors import unit_vectors
from prompt_processing.images.photo_calib import NJY_ZERO_POINT
from prompt_processing.nights.tables import open_engine

__all__ = ["KINDS", "MOST_ROWS", "ApdbReader", "Criteria", "SearchError", "database_of"]

MOST_ROWS = 2000
KINDS = ("positive", "negative", "dipole", "moving")
"""Classes of DiaSources; those of the solar system are ``moving``, whatever else they are."""
_LARGEST_CONE_ARCSEC = 3600.0
_MOST_RANGES = 200
_LARGEST_MAG = 100
_TABLES = ("DiaSource", "DiaObject", "DiaForcedSource", "metadata")
_DATABASES = ("sqlite:", "postgresql:", "postgresql+")
_CONFIG = "config:apdb-sql.json"


class SearchError(ValueError):
    """A search that would read too much, or makes no sense; the message says what to give."""


@dataclass(frozen=True, slots=True)
class Criteria:
    """What to search; at least a cone, an object or a visit.

    Attributes
    ----------
    ra, dec, radius
        Cone; degrees and arcseconds.
    object
        DiaObject or SSObject.
    visit, detector
        Visit, and one of its detectors.
    reliability
        Smallest reliability.
    band
        Band.
    kind
        Class: one of `KINDS`; all if empty.
    brighter
        Faintest AB magnitude of the change.
    since, until
        Range of the time of observation, MJD TAI.
    """

    ra: float | None = None
    dec: float | None = None
    radius: float = 10.0
    object: int | None = None
    visit: int | None = None
    detector: int | None = None
    reliability: float | None = None
    band: str = ""
    kind: str = ""
    brighter: float | None = None
    since: float | None = None
    until: float | None = None


def database_of(place: str) -> tuple[str, str | None]:
    """Return URL and schema of an APDB's database.

    Parameters
    ----------
    place
        URL of the database, which has no schema; or URI or label of the APDB's configuration.

    Raises
    ------
    SearchError
        Raised if it is not in an SQL database, or its configuration cannot be read.
    """
    if place.startswith(_DATABASES):
        return place, None
    try:
        config = ApdbConfig.from_uri(place)
    except (OSError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise SearchError(f"{place} is not the configuration of an APDB: {short_reason(error)}.") from error
    if not isinstance(config, ApdbSqlConfig):
        raise SearchError(
            f"The APDB of {place} is not in an SQL database, which is all that can be searched."
        )
    return config.db_url, config.namespace


class ApdbReader:
    """The tables of an SQL APDB.

    Each query uses an index and returns at most `MOST_ROWS` rows, however large the APDB. Threads may share
    it.

    Parameters
    ----------
    url
        URL of the database.
    schema
        Its schema in PostgreSQL.
    """

    def __init__(self, url: str, schema: str | None = None) -> None:
        self._engine: Engine = open_engine(url)
        self._schema = schema
        self._tables: dict[str, Table] = {}
        self._level = 20
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def sources(self, criteria: Criteria, limit: int = MOST_ROWS) -> pd.DataFrame:
        """Return the DiaSources that meet all criteria, newest first.

        Raises
        ------
        SearchError
            Raised if no index serves the criteria.
        """
        table = self._table("DiaSource")
        c = table.c
        conditions: list[ColumnElement[bool]] = []
        has_cone = criteria.ra is not None and criteria.dec is not None
        if has_cone:
            conditions.append(self._cone(table, criteria))
        if criteria.object is not None:
            conditions.append(or_(c.diaObjectId == criteria.object, c.ssObjectId == criteria.object))
        if criteria.visit is not None:
            conditions.append(c.visit == criteria.visit)
            if criteria.detector is not None:
                conditions.append(c.detector == criteria.detector)
        if not conditions:
            raise SearchError("Give a position, an object or a visit; the other fields narrow the search.")
        if criteria.reliability is not None:
            conditions.append(c.reliability >= criteria.reliability)
        if criteria.band:
            conditions.append(c.band == criteria.band)
        conditions += _of_kind(c, criteria.kind)
        if criteria.brighter is not None:
            if abs(criteria.brighter) > _LARGEST_MAG:
                raise SearchError(f"A magnitude is between {-_LARGEST_MAG} and {_LARGEST_MAG}.")
            flux = 10 ** (0.4 * (NJY_ZERO_POINT - criteria.brighter))
            conditions.append(or_(c.psfFlux >= flux, c.psfFlux <= -flux))
        if criteria.since is not None:
            conditions.append(c.midpointMjdTai >= criteria.since)
        if criteria.until is not None:
            conditions.append(c.midpointMjdTai <= criteria.until)
        query = select(table).where(and_(*conditions)).order_by(c.midpointMjdTai.desc(), c.diaSourceId)
        found = self._frame(query, limit)
        return _inside(found, criteria) if has_cone else found

    def source(self, number: int) -> pd.DataFrame:
        """Return a DiaSource by its id: one row or none."""
        table = self._table("DiaSource")
        return self._frame(select(table).where(table.c.diaSourceId == number), 1)

    def dia_object(self, number: int) -> pd.DataFrame:
        """Return the latest version of a DiaObject: one row or none."""
        table = self._table("DiaObject")
        query = select(table).where(table.c.diaObjectId == number)
        return self._frame(query.order_by(table.c.validityStartMjdTai.desc()), 1)

    def forced_sources(self, number: int, limit: int = MOST_ROWS) -> pd.DataFrame:
        """Return the forced photometry of a DiaObject, newest first."""
        table = self._table("DiaForcedSource")
        query = select(table).where(table.c.diaObjectId == number)
        return self._frame(query.order_by(table.c.midpointMjdTai.desc()), limit)

    def _cone(self, table: Table, criteria: Criteria) -> ColumnElement[bool]:
        assert criteria.ra is not None
        assert criteria.dec is not None
        if not -90 <= criteria.dec <= 90 or not 0 < criteria.radius <= _LARGEST_CONE_ARCSEC:
            raise SearchError(
                "The declination must be between -90 and 90 deg, and the radius at most "
                f"{_LARGEST_CONE_ARCSEC:g} arcsec."
            )
        centre = UnitVector3d(LonLat.fromDegrees(criteria.ra % 360, criteria.dec))
        circle = Circle(centre, Angle(math.radians(criteria.radius / 3600)))
        ranges = HtmPixelization(self._level).envelope(circle, _MOST_RANGES)
        pixel = table.c.pixelId
        return or_(*(pixel.between(first, last - 1) for first, last in ranges))

    def _table(self, name: str) -> Table:
        with self._lock:
            if not self._tables:
                metadata = MetaData(schema=self._schema)
                there = set(inspect(self._engine).get_table_names(schema=self._schema))
                missing = {"DiaSource", "DiaObject", "DiaForcedSource"} - there
                if missing:
                    raise SearchError(f"The APDB has no table {', '.join(sorted(missing))}.")
                metadata.reflect(self._engine, only=[one for one in _TABLES if one in there])
                tables = {table.name: table for table in metadata.tables.values()}
                self._level = self._htm_level(tables.get("metadata"))
                self._tables = tables
            return self._tables[name]

    def _htm_level(self, table: Table | None) -> int:
        if table is None:
            return 20
        with self._engine.connect() as connection:
            text = connection.execute(select(table.c.value).where(table.c.name == _CONFIG)).scalar()
        return int(json.loads(text).get("htm_level", 20)) if text else 20

    def _frame(self, query: Select[tuple[object, ...]], limit: int) -> pd.DataFrame:
        with self._engine.connect() as connection:
            result = connection.execute(query.limit(min(limit, MOST_ROWS)))
            # Columns of NULL stay objects, and ids stay integers: floats would round them.
            return pd.DataFrame(result.all(), columns=list(result.keys()), dtype=object)


def _of_kind(c: Any, kind: str) -> list[ColumnElement[bool]]:
    """Return the conditions of a class.

    Raises
    ------
    SearchError
        Raised if there is no such class, or the APDB does not have its columns.
    """
    if not kind:
        return []
    if kind not in KINDS:
        raise SearchError(f"A class is one of {', '.join(KINDS)}.")
    if kind == "moving":
        return [c.ssObjectId.is_not(None), c.ssObjectId != 0]
    missing = {"isDipole", "isNegative"} - set(c.keys())
    if missing:
        raise SearchError(f"The APDB has no column {', '.join(sorted(missing))}, which classes need.")
    if kind == "dipole":
        return [c.isDipole.is_(True)]
    return [or_(c.isDipole.is_(None), c.isDipole.is_(False)), c.isNegative.is_(kind == "negative")]


def _inside(found: pd.DataFrame, criteria: Criteria) -> pd.DataFrame:
    """Return the rows inside the cone, to which pixels only come near."""
    if found.empty:
        return found
    positions = unit_vectors(_floats(found["ra"]), _floats(found["dec"]))
    centre = unit_vectors(np.array([criteria.ra], float), np.array([criteria.dec], float))[0]
    chord = 2 * math.sin(math.radians(criteria.radius / 3600) / 2)
    near = np.linalg.norm(positions - centre, axis=1) <= chord
    return found[near].reset_index(drop=True)


def _floats(column: pd.Series) -> NDArray[np.float64]:
    return column.to_numpy(dtype=np.float64, na_value=np.nan)
