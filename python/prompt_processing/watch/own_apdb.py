"""The APDB of a watcher that has no other."""

from __future__ import annotations

import logging
from pathlib import Path

from lsst.dax.apdb.sql import ApdbSqlConfig

from prompt_processing.apdb.administration import create

__all__ = ["own_apdb"]

_log = logging.getLogger("lsst.watch.own_apdb")


def own_apdb(work: Path) -> Path:
    """Return the configuration of the watcher's own APDB, which is created once.

    Both files get their names when they are complete, because a process may be killed in between.

    Parameters
    ----------
    work
        Folder of the watcher.

    Raises
    ------
    RepositoryProblemError
        Raised if the database cannot be created.
    """
    work = work.absolute()
    config, database = work / "apdb.yaml", work / "apdb.db"
    if config.exists():
        return config
    made = work / "apdb-unfinished.yaml"
    if not database.exists():
        _log.info("Creating an APDB in %s.", work)
        for left in work.glob("apdb-unfinished.*"):
            left.unlink()
        new = work / "apdb-unfinished.db"
        create(f"sqlite:///{new}", str(made), development=True)
        new.rename(database)
    ApdbSqlConfig(db_url=f"sqlite:///{database}?timeout=60").save(str(made))
    made.rename(config)
    return config
