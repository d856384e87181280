"""Check whether the installed software matches an APDB."""

from __future__ import annotations

from prompt_processing.apdb.administration import status
from prompt_processing.domain.errors import RepositoryProblemError

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
