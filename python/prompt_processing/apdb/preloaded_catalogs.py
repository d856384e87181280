"""Read the APDB's catalogs of a region of the sky."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import pandas as pd
from astropy.time import Time
from lsst.dax.apdb import Apdb
from lsst.dax.apdb.sql import ApdbSql
from lsst.sphgeom import Angle, Box, Circle, ConvexPolygon, LonLat, Region, UnitVector3d, Vector3d
from numpy.typing import NDArray
from sqlalchemy import String
from sqlalchemy.util import LRUCache

from prompt_processing.domain.errors import NonRetriableError, RetriableError
from prompt_processing.domain.sky_vectors import ARCSEC, unit_vectors
from prompt_processing.transport.refusals import explain_refusal

from .config_files import read_config
from .failures import (
    STORE_FAILURES,
    came_from_outside,
    configuration_problem,
    database_failures,
    short_reason,
)
from .internals import compiled_yaml, sql_engine
from .tables import ApdbSchemas

_LOG = logging.getLogger("lsst.prompt_processing.loadDiaCatalogs")

_CACHED_STATEMENTS = 24
"""Compiled statements that SQLAlchemy keeps: those of a visit, and of a few writes before it."""


@dataclass(frozen=True, slots=True)
class DiaCatalogs:
    """The APDB's rows of a region.

    Attributes
    ----------
    objects : `~pandas.DataFrame`
        Latest version of each DiaObject in the region.
    sources, forced_sources : `~pandas.DataFrame`
        History of these objects, over the time that the APDB's configuration sets.
    """

    objects: pd.DataFrame
    sources: pd.DataFrame
    forced_sources: pd.DataFrame


def open_apdb(uri: str) -> Apdb:
    """Open an APDB.

    Raises
    ------
    RetriableError
        If the configuration cannot be read or the database cannot be reached.
    NonRetriableError
        If the configuration is unusable.
    """
    try:
        with compiled_yaml():
            apdb = Apdb.from_config(read_config(uri))
        if not isinstance(apdb, ApdbSql):
            # Cassandra's client connects at the first query.
            apdb.containsVisitDetector(0, 0)
    # Each kind of database and each part of a configuration has exceptions of its own; the others go on.
    except Exception as exc:
        if (problem := configuration_problem(uri, exc)) is not None:
            raise NonRetriableError(problem, "useless") from exc
        if not (isinstance(exc, database_failures(*STORE_FAILURES)) or came_from_outside(exc)):
            raise
        why = explain_refusal(exc) or f"{type(exc).__name__}: {short_reason(exc)}"
        raise RetriableError(f"The APDB of {uri} cannot be opened: {why}.") from exc
    prepare_for_visits(apdb)
    return apdb


def prepare_for_visits(apdb: Apdb) -> None:
    """Set up an APDB that a process keeps open."""
    if isinstance(apdb, ApdbSql):
        _leave_types_of_nulls_to_the_database(apdb)
        _keep_few_statements(apdb)


def _keep_few_statements(apdb: ApdbSql) -> None:
    """Limit the compiled statements that are kept.

    The middleware writes with pandas, which describes the table again for each write. SQLAlchemy would keep
    up to 750 of these statements, each with a table of a hundred columns: a process would grow by 0.9 MB for
    each of its first 200 visits.
    """
    sql_engine(apdb).update_execution_options(compiled_cache=LRUCache(_CACHED_STATEMENTS))


def _leave_types_of_nulls_to_the_database(apdb: ApdbSql) -> None:
    """Send text without a cast to PostgreSQL.

    The middleware passes columns of NULL to pandas, which takes them for text.
    The driver casts text, and columns of other types reject such a cast.
    """
    dialect = sql_engine(apdb).dialect
    if dialect.name == "postgresql":
        dialect.colspecs = {kind: own for kind, own in dialect.colspecs.items() if kind is not String}


class PaddedRegion:
    """A region of the sky with a margin around it.

    The edges of a convex polygon are moved outwards, so that its corners stay
    sharp; other regions are dilated.

    Parameters
    ----------
    region : `~lsst.sphgeom.Region`
        A convex polygon, circle or box.
    padding : `float`
        Width of the margin, arcsec.

    Raises
    ------
    TypeError
        If the region has another type.
    """

    def __init__(self, region: Region, padding: float) -> None:
        self._normals: NDArray[np.float64] | None = None
        self._sine = np.sin(padding * ARCSEC)
        self.region: Region
        if isinstance(region, ConvexPolygon):
            corners = np.array([[v.x(), v.y(), v.z()] for v in region.getVertices()])
            normals = np.cross(corners, np.roll(corners, -1, axis=0))
            self._normals = normals / np.linalg.norm(normals, axis=1, keepdims=True)
            self.region = self._moved_edges(self._normals)
        elif isinstance(region, Circle | Box):
            self.region = region.dilatedBy(Angle(padding * ARCSEC))
        else:
            raise TypeError(f"A {type(region).__name__} cannot be padded.")

    def _moved_edges(self, normals: NDArray[np.float64]) -> ConvexPolygon:
        """Return the polygon whose corners are the intersections of neighbouring moved edges."""
        vertices = []
        for before, after in zip(np.roll(normals, 1, axis=0), normals, strict=True):
            # The point of the unit sphere at the same small distance outside both great circles.
            along = np.cross(before, after)
            outside = -self._sine / (1 + before @ after) * (before + after)
            height = np.sqrt(max(1 - outside @ outside, 0.0))
            vertices.append(UnitVector3d(Vector3d(*(outside + height * along / np.linalg.norm(along)))))
        return ConvexPolygon(vertices)

    def contains(self, ra: NDArray[np.float64], dec: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which positions (ICRS, degrees; shape (n,)) are inside the region or its margin."""
        if self._normals is not None:
            return np.all(unit_vectors(ra, dec) @ self._normals.T >= -self._sine, axis=1)
        return np.array(
            [
                self.region.contains(UnitVector3d(LonLat.fromDegrees(a, d)))
                for a, d in zip(ra.tolist(), dec.tolist(), strict=True)
            ],
            bool,
        )


def load_dia_catalogs(
    apdb: Apdb, region: Region, visit_time: Time, padding: float, *, forced_sources: bool = True
) -> DiaCatalogs:
    """Read the DiaObjects of a region and their history.

    Parameters
    ----------
    apdb : `~lsst.dax.apdb.Apdb`
        The APDB.
    region : `~lsst.sphgeom.Region`
        Region of the detector.
    visit_time : `~astropy.time.Time`
        Begin of the visit; the history ends before it.
    padding : `float`
        Margin around the region, arcsec.
    forced_sources : `bool`, optional
        Whether to read the DiaForcedSources; without, there are none.

    Returns
    -------
    catalogs : `DiaCatalogs`
        All columns of the APDB, with their types even without rows.

    Raises
    ------
    RetriableError
        If the APDB cannot be read.
    """
    padded = PaddedRegion(region, padding)
    schemas = ApdbSchemas.of(apdb)
    try:
        objects = apdb.getDiaObjects(padded.region)
        n_returned = len(objects)
        # The APDB returns whole pixels of its index.
        inside = padded.contains(objects["ra"].to_numpy(np.float64), objects["dec"].to_numpy(np.float64))
        objects = objects[inside].drop_duplicates("diaObjectId")
        ids = objects["diaObjectId"].to_numpy(np.int64).tolist()
        sources = apdb.getDiaSources(padded.region, ids, visit_time)
        forced = apdb.getDiaForcedSources(padded.region, ids, visit_time) if forced_sources else None
    except database_failures() as exc:
        raise RetriableError(f"The APDB cannot be read: {type(exc).__name__}.") from exc
    catalogs = DiaCatalogs(
        schemas.dia_object.conform(objects),
        schemas.dia_source.empty() if sources is None else schemas.dia_source.conform(sources),
        schemas.dia_forced_source.empty() if forced is None else schemas.dia_forced_source.conform(forced),
    )
    _LOG.info(
        "Loaded %d DiaObjects (of %d in the APDB's pixels), %d DiaSources, %d DiaForcedSources.",
        len(catalogs.objects),
        n_returned,
        len(catalogs.sources),
        len(catalogs.forced_sources),
    )
    return catalogs
