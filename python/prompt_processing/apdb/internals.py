"""The only module that uses private parts of the APDB's client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import yaml
from lsst.dax.apdb.sql import ApdbSql
from sqlalchemy.engine import Engine

from prompt_processing.domain.internals import internal

__all__ = ["TESTED_VERSION", "compiled_yaml", "sql_engine"]

TESTED_VERSION = "30.2026.41"
"""Version of lsst-dax-apdb, without the day, against which these parts are tested."""


def sql_engine(apdb: ApdbSql) -> Engine:
    """Return the engine of an APDB in a SQL database."""
    engine: Engine = internal(apdb, "_engine", "lsst-dax-apdb")
    return engine


@contextmanager
def compiled_yaml() -> Iterator[None]:
    """Let `yaml.safe_load` use the compiled parser of the same language.

    Opening an APDB reads its schema with it: a tenth of a second, of which a worker's start has two.
    """
    interpreted = yaml.SafeLoader
    yaml.SafeLoader = yaml.CSafeLoader  # type: ignore[assignment,misc]
    try:
        yield
    finally:
        yaml.SafeLoader = interpreted  # type: ignore[misc]
