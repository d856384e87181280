"""Check whether the installed software matches an APDB."""

from __future__ import annotations

from lsst.dax.apdb import IncompatibleVersionError

from prompt_processing.apdb.administration import OtherDatabaseError, status
from prompt_processing.apdb.connection import ApdbConnection
from prompt_processing.apdb.failures import short_reason
from prompt_processing.domain.errors import PromptError, RepositoryProblemError

from .check import Finding, Severity

__all__ = ["check_apdb"]


def check_apdb(config: str) -> Finding:
    """Check an APDB without changing it.

    Parameters
    ----------
    config
        URI of the APDB's configuration.
    """
    try:
        found = status(config)
    except OtherDatabaseError:
        return _check_other_database(config)
    except RepositoryProblemError as error:
        return Finding(Severity.PROBLEM, "APDB", str(error), "prompt apdb create")
    message = f"{found.database}, schema {found.schema_version}"
    if not found.compatible:
        return Finding(
            Severity.PROBLEM,
            "APDB",
            f"{message}, incompatible with the installed {found.installed_version}",
            "install a release made for this schema, or migrate the APDB",
        )
    return Finding(Severity.OK, "APDB", message)


def _check_other_database(config: str) -> Finding:
    """Open an APDB in Cassandra and query it; its client compares the versions."""
    try:
        ApdbConnection().get(config)
    except IncompatibleVersionError as error:
        remedy = "install a release made for this schema, or migrate the APDB"
        return Finding(Severity.PROBLEM, "APDB", short_reason(error), remedy)
    except PromptError as error:
        remedy = "start the database, or create the APDB with apdb-cli create-cassandra"
        return Finding(Severity.PROBLEM, "APDB", error.reason, remedy)
    return Finding(Severity.OK, "APDB", f"{config}, in Cassandra")
