"""The only module that uses private parts of the APDB's client."""

from __future__ import annotations

from lsst.dax.apdb.sql import ApdbSql
from sqlalchemy.engine import Engine

from prompt_processing.domain.internals import internal

__all__ = ["TESTED_VERSION", "sql_engine"]

TESTED_VERSION = "30.2026.41"
"""Version of lsst-dax-apdb, without the day, against which these parts are tested."""


def sql_engine(apdb: ApdbSql) -> Engine:
    """Return the engine of an APDB in a SQL database."""
    engine: Engine = internal(apdb, "_engine", "lsst-dax-apdb")
    return engine
