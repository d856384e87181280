"""Create, inspect and reset an APDB, as developers do with their own."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy
import sqlalchemy.exc
from lsst.dax.apdb import Apdb, IncompatibleVersionError
from lsst.dax.apdb.apdbSchema import ApdbSchema, ApdbTables
from lsst.dax.apdb.sql import ApdbSql, ApdbSqlConfig
from lsst.dax.apdb.sql.apdbMetadataSql import ApdbMetadataSql
from lsst.resources import ResourcePath
from lsst.utils.db_auth import DbAuth, DbAuthNotFoundError

from prompt_processing.domain.errors import RepositoryProblemError

from .config_files import read_config
from .failures import configuration_problem, short_reason

DEVELOPMENT_KEY = "prompt_processing:development"
"""Key in the APDB's own metadata. Only a database that has it may be emptied by `reset`."""

_COUNTED = (ApdbTables.DiaObject, ApdbTables.DiaSource, ApdbTables.DiaForcedSource)


class OtherDatabaseError(RepositoryProblemError):
    """The APDB is not in an SQL database, which these functions need."""


@dataclass(frozen=True, slots=True)
class ApdbStatus:
    """Identity, version and content of an APDB.

    Attributes
    ----------
    database : `str`
        URL of the database, without the password.
    namespace : `str` or `None`
        Database schema that holds the tables.
    schema_version : `str`
        Schema version of the database.
    installed_version : `str`
        Schema version that the installed software writes.
    compatible : `bool`
        Whether the installed software can use the database.
    development : `str` or `None`
        When and by which command the database was marked for development;
        `None` if it is not marked.
    rows : mapping
        Number of rows by table.
    last_visit : `int` or `None`
        Highest visit id among the DiaSources.
    """

    database: str
    namespace: str | None
    schema_version: str
    installed_version: str
    compatible: bool
    development: str | None
    rows: Mapping[str, int]
    last_visit: int | None


def create(
    database: str, config_uri: str, *, namespace: str | None = None, development: bool = False
) -> ApdbSqlConfig:
    """Create an APDB and write its configuration.

    Parameters
    ----------
    database : `str`
        URL in SQLAlchemy's form.
    config_uri : `str`
        Where to write the configuration; the value for ``CONFIG_APDB``.
    namespace : `str`, optional
        Database schema for the tables; PostgreSQL only.
    development : `bool`, optional
        Whether to mark the database as one that `reset` may empty.

    Returns
    -------
    config : `~lsst.dax.apdb.sql.ApdbSqlConfig`
        Configuration of the new APDB.

    Raises
    ------
    RepositoryProblemError
        Raised if an APDB exists already, or the database cannot be reached.
    """
    database = _absolute(database)
    wanted = ApdbSqlConfig(db_url=database, namespace=namespace)
    if present := _tables(wanted):
        raise RepositoryProblemError(
            f"{shown(wanted)} already has tables of an APDB ({', '.join(present[:3])}, ...): name another "
            "namespace or database, or empty it with prompt apdb reset."
        )
    target = ResourcePath(config_uri, forceAbsolute=False)
    if target.exists():
        raise RepositoryProblemError(f"{config_uri} exists already and may configure another APDB.")
    try:
        config = ApdbSql.init_database(db_url=database, namespace=namespace)
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise RepositoryProblemError(f"{shown(wanted)}: {_first_line(error)}") from error
    config.save(config_uri)
    if development:
        _mark(config)
    return config


def status(config_uri: str) -> ApdbStatus:
    """Return the status of an APDB of any version.

    Parameters
    ----------
    config_uri : `str`
        Configuration of the APDB.

    Returns
    -------
    status : `ApdbStatus`
        Identity, version and content.

    Raises
    ------
    RepositoryProblemError
        Raised if the APDB does not exist or cannot be reached, as `OtherDatabaseError` if it is not in an SQL
        database.
    """
    config = _load(config_uri)
    engine = _engine(config)
    try:
        metadata = _metadata(config, engine)
        version = metadata.get(ApdbSql.metadataSchemaVersionKey) or "unknown"
        development = metadata.get(DEVELOPMENT_KEY)
        rows, last = _content(config, engine)
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise RepositoryProblemError(
            f"No APDB in {shown(config)}, named by {config_uri}: {_first_line(error)}"
        ) from error
    finally:
        engine.dispose()
    installed = ApdbSchema(config.schema_file, config.ss_schema_file).schemaVersion()
    return ApdbStatus(
        shown(config),
        config.namespace,
        version,
        str(installed),
        _compatible(config),
        development,
        rows,
        last,
    )


def reset(config_uri: str) -> None:
    """Delete the content of an APDB, and create its tables again.

    The caller is responsible for asking the user first.

    Parameters
    ----------
    config_uri : `str`
        Configuration of an APDB that is marked for development.

    Raises
    ------
    RepositoryProblemError
        Raised if the APDB is not marked, or the database fails.
    """
    config = _load(config_uri)
    require_development(status(config_uri), config_uri)
    stored = _frozen(config)
    try:
        ApdbSql.init_database(
            db_url=config.db_url,
            namespace=config.namespace,
            prefix=config.prefix or None,
            schema_file=config.schema_file,
            ss_schema_file=config.ss_schema_file,
            enable_replica=stored.enable_replica,
            dia_object_index=stored.dia_object_index,
            htm_level=stored.pixelization.htm_level,
            htm_index_column=stored.pixelization.htm_index_column,
            ra_dec_columns=stored.ra_dec_columns,
            drop=True,
        )
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise RepositoryProblemError(f"{shown(config)}: {_first_line(error)}") from error
    _mark(config)


def same_database(config_uri: str, other_uri: str) -> bool:
    """Return whether two configurations name the same tables of the same database.

    Raises
    ------
    RepositoryProblemError
        Raised if one is not the configuration of an APDB in an SQL database.
    """
    one, two = _load(config_uri), _load(other_uri)
    return (shown(one), one.namespace) == (shown(two), two.namespace)


def require_development(found: ApdbStatus, config_uri: str) -> None:
    """Refuse an APDB that is not marked for development.

    Raises
    ------
    RepositoryProblemError
        Raised if it is not marked.
    """
    if found.development is None:
        raise RepositoryProblemError(
            f"{found.database} is not marked as an APDB for development, and was not changed. Only databases "
            "created by prompt apdb create --development are marked. If only you use this one, mark it: "
            f"apdb-cli metadata set {config_uri} {DEVELOPMENT_KEY} yes"
        )


def shown(config: ApdbSqlConfig) -> str:
    """Return the URL of an APDB's database, without password and with the namespace."""
    parsed = sqlalchemy.engine.make_url(config.db_url)
    if parsed.get_backend_name() == "sqlite":
        # The middleware adds flags to the URL that keep SQLite from creating an empty file.
        return f"sqlite:///{(parsed.database or '').removeprefix('file:')}"
    url = parsed.render_as_string(hide_password=True)
    return f"{url} (namespace {config.namespace})" if config.namespace else url


def _absolute(database: str) -> str:
    """Return the URL of a database, made independent of the current directory."""
    url = sqlalchemy.engine.make_url(database)
    if url.get_backend_name() != "sqlite" or not url.database:
        return database
    return url.set(database=str(Path(url.database).absolute())).render_as_string(hide_password=False)


def _load(config_uri: str) -> ApdbSqlConfig:
    try:
        config = read_config(config_uri)
    # Each part of a configuration has exceptions of its own.
    except Exception as error:
        problem = configuration_problem(config_uri, error)
        raise RepositoryProblemError(
            problem or f"{config_uri} is not a configuration of an APDB: {short_reason(error)}"
        ) from error
    if not isinstance(config, ApdbSqlConfig):
        raise OtherDatabaseError(f"The APDB of {config_uri} is not in an SQL database: use apdb-cli.")
    return config


def _engine(config: ApdbSqlConfig) -> sqlalchemy.Engine:
    url = config.db_url
    if sqlalchemy.engine.make_url(url).host:
        # The middleware reads passwords from LSST_DB_AUTH or ~/.lsst/db-auth.yaml. Without an entry there,
        # the driver reads ~/.pgpass or PGPASSWORD.
        with contextlib.suppress(DbAuthNotFoundError):
            url = DbAuth().getUrl(url)
    return sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool)


def _tables(config: ApdbSqlConfig) -> list[str]:
    """Return the tables of an APDB that exist in a database."""
    url = sqlalchemy.engine.make_url(config.db_url)
    if url.get_backend_name() == "sqlite" and url.database and not ResourcePath(url.database).exists():
        # Connecting would create the file.
        return []
    engine = _engine(config)
    try:
        there = set(sqlalchemy.inspect(engine).get_table_names(schema=config.namespace))
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise RepositoryProblemError(f"{shown(config)}: {_first_line(error)}") from error
    finally:
        engine.dispose()
    return sorted(there & {table.table_name(config.prefix) for table in ApdbTables})


def _metadata(config: ApdbSqlConfig, engine: sqlalchemy.Engine) -> ApdbMetadataSql:
    table = sqlalchemy.Table(
        ApdbTables.metadata.table_name(config.prefix),
        sqlalchemy.MetaData(schema=config.namespace),
        autoload_with=engine,
    )
    return ApdbMetadataSql(engine, table)


def _mark(config: ApdbSqlConfig) -> None:
    engine = _engine(config)
    try:
        since = datetime.now(UTC).isoformat(timespec="seconds")
        _metadata(config, engine).set(DEVELOPMENT_KEY, f"made by prompt apdb at {since}", force=True)
    finally:
        engine.dispose()


def _content(config: ApdbSqlConfig, engine: sqlalchemy.Engine) -> tuple[dict[str, int], int | None]:
    rows: dict[str, int] = {}
    with engine.connect() as connection:
        for kind in _COUNTED:
            table = sqlalchemy.table(kind.table_name(config.prefix), schema=config.namespace)
            count: Any = connection.execute(sqlalchemy.select(sqlalchemy.func.count()).select_from(table))
            rows[kind.value] = int(count.scalar_one())
        sources = sqlalchemy.table(
            ApdbTables.DiaSource.table_name(config.prefix),
            sqlalchemy.column("visit", sqlalchemy.BigInteger),
            schema=config.namespace,
        )
        last: Any = connection.execute(sqlalchemy.select(sqlalchemy.func.max(sources.c.visit))).scalar()
    return rows, None if last is None else int(last)


def _compatible(config: ApdbSqlConfig) -> bool:
    try:
        Apdb.from_config(config)
    except IncompatibleVersionError:
        return False
    return True


def _frozen(config: ApdbSqlConfig) -> ApdbSqlConfig:
    """Return the configuration with the values that were fixed when the database was created."""
    try:
        stored = Apdb.from_config(config)
    except IncompatibleVersionError:
        # Another version: the tables are created again from the file's values.
        return config
    found = stored.getConfig()
    assert isinstance(found, ApdbSqlConfig)
    return found


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
