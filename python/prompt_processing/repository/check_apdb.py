"""Whether the installed software fits an APDB."""

from __future__ import annotations

from prompt_processing.apdb.administration import status
from prompt_processing.domain.errors import RepositoryProblemError

from .check import Finding, Severity

__all__ = ["check_apdb"]


def check_apdb(config: str) -> Finding:
    """Look at an APDB; nothing is changed.

    Parameters
    ----------
    config
        URI of its configuration.
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
            f"{message}, which the installed {found.installed_version} does not fit",
            "a release that was made for it, or a migration",
        )
    return Finding(Severity.OK, "APDB", message)
