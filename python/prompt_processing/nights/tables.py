"""Tables of the database of nights."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from lsst.utils.db_auth import DbAuth, DbAuthNotFoundError
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Engine,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import ConnectionPoolEntry

__all__ = [
    "COUNTERS",
    "DETECTORS",
    "METADATA",
    "MINUTES",
    "NIGHTS",
    "POSITIONS",
    "SCHEMA_VERSION",
    "VISITS",
    "database_url",
    "open_engine",
]

SCHEMA_VERSION = 1

METADATA = MetaData()

_BIG = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows by itself only where the key is an INTEGER."""


def _state_counts() -> list[Column[int]]:
    names = ("n_waiting", "n_processing", "n_done", "n_skipped", "n_failed", "n_alerts", "n_sources")
    return [Column(name, Integer, nullable=False, default=0) for name in names]


COUNTERS = Table(
    "counters",
    METADATA,
    Column("name", String(40), primary_key=True),
    Column("value", Float, nullable=False),
)
"""``schema``, ``serial`` of the last change, ``projected`` (Unix seconds), ``malformed`` messages."""

POSITIONS = Table(
    "positions",
    METADATA,
    Column("source", String(400), primary_key=True),
    Column("position", BigInteger, nullable=False),
)
"""Where each partition or file is read on."""

NIGHTS = Table(
    "nights",
    METADATA,
    Column("night", Integer, primary_key=True, autoincrement=False),
    Column("instrument", String(100), primary_key=True),
    Column("n_visits", Integer, nullable=False, default=0),
    Column("first", Float, nullable=False),
    Column("last", Float, nullable=False),
    *_state_counts(),
    Index("nights_of_instrument", "instrument", "night"),
)

VISITS = Table(
    "visits",
    METADATA,
    Column("id", _BIG, primary_key=True, autoincrement=True),
    Column("night", Integer, nullable=False),
    Column("instrument", String(100), nullable=False),
    Column("group_name", String(100), nullable=False),
    Column("visit", BigInteger),
    Column("announced", Float, nullable=False),
    Column("survey", String(100), nullable=False),
    Column("filter", String(100), nullable=False),
    Column("ra", Float),
    Column("dec", Float),
    Column("rotation", Float),
    Column("snaps", Integer, nullable=False),
    Column("last_change", Float, nullable=False),
    *_state_counts(),
    Column("metrics", Text, nullable=False, default="{}"),
    Column("latency", Text, nullable=False, default="{}"),
    UniqueConstraint("instrument", "group_name"),
    Index("visits_of_night", "night", "announced", "id"),
    Index("visits_of_instrument", "instrument", "night", "announced", "id"),
    Index("visits_by_exposure", "visit"),
    Index("visits_by_group", "group_name"),
)

DETECTORS = Table(
    "detectors",
    METADATA,
    Column("visit_id", BigInteger, primary_key=True, autoincrement=False),
    Column("detector", Integer, primary_key=True, autoincrement=False),
    Column("serial", BigInteger, nullable=False),
    Column("night", Integer, nullable=False),
    Column("instrument", String(100), nullable=False),
    Column("announced", Float, nullable=False),
    Column("state", String(20), nullable=False),
    Column("problem", Boolean, nullable=False),
    Column("changed", Float, nullable=False),
    Column("announced_minute", Integer, nullable=False),
    Column("settled_minute", Integer),
    Column("n_alerts", Integer, nullable=False),
    Column("n_sources", Integer, nullable=False),
    Column("content", Text, nullable=False),
    Index("detectors_by_change", "serial"),
    Index("detectors_with_problems", "night", "problem", "changed", "serial"),
    Index("detectors_announced", "night", "announced_minute"),
    Index("detectors_settled", "night", "settled_minute"),
    Index("detectors_by_time", "instrument", "detector", "announced"),
)
"""``content`` is the JSON of the attempts, see `.states`."""

MINUTES = Table(
    "minutes",
    METADATA,
    Column("night", Integer, primary_key=True, autoincrement=False),
    Column("minute", Integer, primary_key=True, autoincrement=False),
    Column("instrument", String(100), primary_key=True),
    Column("announced", Integer, nullable=False, default=0),
    Column("done", Integer, nullable=False, default=0),
    Column("skipped", Integer, nullable=False, default=0),
    Column("failed", Integer, nullable=False, default=0),
    Column("alerts", Integer, nullable=False, default=0),
)


def database_url(place: str | Path) -> URL:
    """Return the URL of a database.

    Parameters
    ----------
    place
        URL of a database, or the path of a SQLite file.

    Raises
    ------
    ValueError
        Raised if the URL is unusable; the message contains no credentials.
    """
    text = str(place)
    if not re.match(r"[\w+]+://", text):
        return URL.create("sqlite", database=str(Path(text).absolute()))
    try:
        url = make_url(text)
    except Exception as error:
        # SQLAlchemy's message repeats the URL with its password.
        raise ValueError("The address of the database is neither a path nor a URL.") from error
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise ValueError(
            f"The address of the database begins with {url.drivername}://: only SQLite and PostgreSQL serve."
        )
    return url


def open_engine(place: str | Path, *, writing: bool = False) -> Engine:
    """Return an engine; nothing is connected yet.

    Parameters
    ----------
    place
        As for `database_url`.
    writing
        Whether this process is the projector. Other connections refuse to write.
    """
    url = database_url(place)
    if url.get_backend_name() == "sqlite":
        return _sqlite(url, writing)
    # As the middleware, from LSST_DB_AUTH or ~/.lsst/db-auth.yaml. Without an entry there, the driver reads
    # ~/.pgpass or PGPASSWORD.
    if url.host and url.password is None:
        with contextlib.suppress(DbAuthNotFoundError):
            username, password = DbAuth().getAuth(
                url.get_backend_name(), url.username, url.host, url.port, url.database
            )
            url = url.set(username=username, password=password)
    options = [] if writing else ["-c default_transaction_read_only=on", "-c statement_timeout=10000"]
    return create_engine(
        url,
        pool_size=5,
        max_overflow=5,
        pool_pre_ping=True,
        pool_timeout=5,
        connect_args={"connect_timeout": 5, "options": " ".join(options)},
    )


def _sqlite(url: URL, writing: bool) -> Engine:
    mode = "rwc" if writing else "ro"
    # In the form of a URI a reader cannot make an empty database where there is none.
    path = Path(url.database or "").absolute()
    uri = URL.create("sqlite", database=path.as_uri(), query={"mode": mode, "uri": "true"})
    engine = create_engine(uri, connect_args={"timeout": 30.0 if writing else 5.0})

    @event.listens_for(engine, "connect")
    def prepare(connection: object, record: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()  # type: ignore[attr-defined]
        if writing:
            # Pages read while the projector writes.
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute("PRAGMA synchronous = NORMAL")
        else:
            cursor.execute("PRAGMA query_only = ON")
        cursor.close()

    return engine
