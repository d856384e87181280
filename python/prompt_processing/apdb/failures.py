"""Failures of an APDB's database, whatever kind it is."""

from __future__ import annotations

import sys
from contextlib import suppress

import yaml
from botocore.exceptions import BotoCoreError, ClientError
from lsst.dax.apdb.apdbIndex import ApdbIndex
from lsst.dax.apdb.cassandra.exceptions import CassandraMissingError
from pydantic import ValidationError
from sqlalchemy.exc import ArgumentError, NoSuchTableError, SQLAlchemyError

from prompt_processing.transport.refusals import explain_refusal

__all__ = [
    "STORE_FAILURES",
    "ApdbConfigurationError",
    "came_from_outside",
    "configuration_problem",
    "database_failures",
    "short_reason",
]


STORE_FAILURES = (OSError, BotoCoreError, ClientError)
"""Failures of the store that has the configuration, or a schema that it names."""


class ApdbConfigurationError(Exception):
    """The APDB's configuration is unusable here, and waiting does not help; the message says what to do."""


def database_failures(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """Return the exceptions by which a database reports that it failed, for an ``except`` clause.

    The driver of Cassandra is optional. Its exceptions cannot occur unless it is loaded.

    Parameters
    ----------
    *others
        Further exceptions to return.
    """
    drivers: list[type[Exception]] = [SQLAlchemyError, *others]
    if (package := sys.modules.get("cassandra")) is not None:
        drivers.append(package.DriverException)
    if (cluster := sys.modules.get("cassandra.cluster")) is not None:
        drivers.append(cluster.NoHostAvailable)
    return tuple(drivers)


def short_reason(error: BaseException) -> str:
    """Return a failure in one line, without any statement or value that it quotes."""
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()).lstrip(
            ": "
        )
    reason = explain_refusal(error) or str(error).partition("\n")[0].strip()
    return reason.rstrip(".") or type(error).__name__


def configuration_problem(uri: str, error: Exception) -> str | None:
    """Return what is wrong with an APDB's configuration and what to do, or `None` for other failures.

    Parameters
    ----------
    uri
        URI of the configuration, or ``label:`` and a name in the index.
    error
        Exception of `.config_files.read_config` or `lsst.dax.apdb.Apdb.from_config`.
    """
    if isinstance(error, CassandraMissingError):
        return (
            f"The APDB of {uri} is in Cassandra, and the driver is not installed. What to do: "
            "pip install 'prompt-processing[cassandra]'."
        )
    named = _named_by_label(uri)
    if uri.startswith("label:") and named is None:
        if isinstance(error, RuntimeError | ValueError | TypeError | FileNotFoundError | yaml.YAMLError):
            return (
                f"The APDB {uri} cannot be looked up: {short_reason(error)}. What to do: name the index of "
                "APDBs in DAX_APDB_INDEX_URI, and one of its labels in CONFIG_APDB."
            )
        return None
    file = uri if named is None else f"{named}, which {uri} stands for,"
    culprit = "CONFIG_APDB" if named is None else "the index of APDBs (DAX_APDB_INDEX_URI)"
    if named is not None and isinstance(error, FileNotFoundError):
        return f"{file} does not exist. What to do: correct {culprit}, or make the APDB."
    if isinstance(error, NoSuchTableError):
        return (
            f"The database of {file} has no APDB: it has no table {error}. What to do: correct `db_url` or "
            "`namespace` in this file, or make the APDB."
        )
    if isinstance(error, LookupError | TypeError | yaml.YAMLError):
        return (
            f"{file} is not the configuration of an APDB: {short_reason(error)}. What to do: check {culprit}."
        )
    if isinstance(error, ValueError | ImportError | ArgumentError) and not came_from_outside(error):
        return (
            f"{file} cannot be used as the configuration of an APDB: {short_reason(error)}. "
            f"What to do: correct this file, or {culprit}."
        )
    return None


def came_from_outside(error: Exception) -> bool:
    """Return whether an error was caused by a store that did not answer, which may hold a schema."""
    cause = error.__cause__
    return isinstance(cause, STORE_FAILURES) and not isinstance(cause, FileNotFoundError)


def _named_by_label(uri: str) -> str | None:
    """Return the file that the index of APDBs has for a label; `None` if it is not a label, or has none."""
    if not uri.startswith("label:"):
        return None
    label = uri.removeprefix("label:")
    # Whatever is wrong with the index is what the caller's error says.
    for form in ("yaml", "pex_config"):
        with suppress(Exception):
            return str(ApdbIndex().get_apdb_uri(label, form))
    return None
