"""Remove old nights from the database of nights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import delete, func, select
from sqlalchemy.exc import SQLAlchemyError

from .database import NightsUnavailableError
from .tables import COUNTERS, DETECTORS, MINUTES, NIGHTS, SCHEMA_VERSION, VISITS, open_engine

__all__ = ["OldNight", "prune_nights"]

_MOST_NIGHTS = 100_000
_OF_NIGHT = (DETECTORS, MINUTES, VISITS, NIGHTS)
"""Tables with the column ``night``; the night's own row goes last."""


@dataclass(frozen=True, slots=True)
class OldNight:
    """A night that is removed.

    Attributes
    ----------
    night
        Observing day, ``YYYYMMDD``.
    n_visits
        Number of visits of all instruments.
    """

    night: int
    n_visits: int


def prune_nights(place: str | Path, before: int, *, dry_run: bool = False) -> Iterator[OldNight]:
    """Remove the nights before one, oldest first, each in a transaction of its own.

    A projector may run meanwhile. It does not read messages of these nights again, because its positions
    stay. SQLite reuses the space, its file does not shrink.

    Parameters
    ----------
    place
        URL of the database, or path of a SQLite file.
    before
        First night that stays, ``YYYYMMDD``.
    dry_run
        Whether to change nothing.

    Yields
    ------
    night
        Each night, after it was removed.

    Raises
    ------
    ~prompt_processing.nights.database.NightsUnavailableError
        Raised if the database does not answer, is missing, or is of another version.
    ValueError
        Raised if ``place`` is neither a URL nor a path.
    """
    # What does not exist is not made: opened to read, a missing file is an error.
    reader = open_engine(place)
    try:
        with reader.connect() as connection:
            version = connection.execute(select(COUNTERS.c.value).where(COUNTERS.c.name == "schema")).scalar()
            if version != SCHEMA_VERSION:
                raise NightsUnavailableError(
                    f"The database of nights has version {version or 0:.0f}, this software writes "
                    f"{SCHEMA_VERSION}."
                )
            query = (
                select(NIGHTS.c.night, func.sum(NIGHTS.c.n_visits).label("n_visits"))
                .where(NIGHTS.c.night < before)
                .group_by(NIGHTS.c.night)
                .order_by(NIGHTS.c.night)
                .limit(_MOST_NIGHTS)
            )
            old = [OldNight(row.night, int(row.n_visits)) for row in connection.execute(query)]
        engine = open_engine(place, writing=True)
        try:
            for one in old:
                if not dry_run:
                    with engine.begin() as connection:
                        for table in _OF_NIGHT:
                            connection.execute(delete(table).where(table.c.night == one.night))
                yield one
        finally:
            engine.dispose()
    except SQLAlchemyError as error:
        line = (str(getattr(error, "orig", None) or error).splitlines() or [""])[0]
        raise NightsUnavailableError(f"The database of nights cannot be pruned: {line}") from error
    finally:
        reader.dispose()
