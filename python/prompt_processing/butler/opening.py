"""Open a repository, also one whose last writer was killed."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from prompt_processing.domain.errors import RepositoryProblemError

from .recorded_storage_classes import know_storage_classes_of

# The middleware is loaded by the first repository: a command that only shows its help does not wait for it.
if TYPE_CHECKING:
    from lsst.daf.butler import Butler, ButlerConfig
    from lsst.resources import ResourcePathExpression

__all__ = ["open_repository", "roll_back_killed_writer"]

_LOG = logging.getLogger("lsst.activator.storage.opening")


def open_repository(repo: ResourcePathExpression | ButlerConfig, *, writeable: bool = False) -> Butler:
    """Open a repository.

    SQLite leaves a journal beside the database if a writer is killed in a transaction. A connection that may
    only read cannot roll it back, and every read fails until somebody writes. Hence the rollback here.

    Parameters
    ----------
    repo
        Root, configuration file, or label of the repository.
    writeable
        Whether the caller writes.

    Raises
    ------
    FileNotFoundError
        Raised if there is no repository.
    RepositoryProblemError
        Raised if a killed writer left a transaction that this user may not roll back.
    """
    from lsst.daf.butler import Butler, ButlerConfig

    config = repo if isinstance(repo, ButlerConfig) else ButlerConfig(repo)
    database = _sqlite_file(config)
    if database is not None:
        roll_back_killed_writer(database)
    butler = Butler.from_config(config, writeable=writeable)
    know_storage_classes_of(butler)
    return butler


def roll_back_killed_writer(database: Path) -> None:
    """Roll back the transaction of a writer that was killed, if there is one.

    SQLite itself decides whether the writer of the journal is alive; its transaction is left alone then.

    Parameters
    ----------
    database
        File of the SQLite database.

    Raises
    ------
    RepositoryProblemError
        Raised if the transaction is there and the database cannot be written.
    """
    journal = database.with_name(f"{database.name}-journal")
    if not journal.exists():
        return
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True, timeout=60)) as connection:
            connection.execute("PRAGMA schema_version").fetchone()
    except sqlite3.OperationalError as error:
        if not journal.exists():
            return
        raise RepositoryProblemError(
            f"A process that wrote to {database} was killed, and its transaction cannot be rolled back "
            f"from here ({error}): open the repository once as a user who may write to {database} "
            "and to its folder."
        ) from error
    if not journal.exists():
        _LOG.info("Rolled back the transaction of a process that was killed in %s.", database)


def _sqlite_file(config: ButlerConfig) -> Path | None:
    if "registry" not in config:
        # A client of a Butler server.
        return None
    import sqlalchemy.engine
    from lsst.daf.butler.registry import RegistryConfig

    registry = RegistryConfig(config)
    registry.replaceRoot(config.get("root", config.configDir))
    url = sqlalchemy.engine.make_url(registry["db"])
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        return None
    return Path(url.database).absolute()
