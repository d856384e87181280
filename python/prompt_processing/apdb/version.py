"""Check that this software can write the schema of the APDB."""

from __future__ import annotations

import logging

from lsst.dax.apdb import Apdb, IncompatibleVersionError

from .config_files import read_config
from .failures import ApdbConfigurationError, configuration_problem, short_reason
from .internals import compiled_yaml

__all__ = ["ApdbVersionError", "check_apdb_version"]

_LOG = logging.getLogger("lsst.activator.storage.apdb_version")


class ApdbVersionError(ApdbConfigurationError):
    """The APDB's schema and the installed one do not match; the message says what to do."""


def check_apdb_version(config_uri: str) -> Apdb | None:
    """Open the APDB and compare its schema version with the installed one.

    Parameters
    ----------
    config_uri : `str`
        Configuration of the APDB.

    Returns
    -------
    apdb : `~lsst.dax.apdb.Apdb` or `None`
        The open APDB; `None` if it cannot be reached, so that its version is unknown. That is logged, and
        visits try again.

    Raises
    ------
    ApdbVersionError
        Raised if the versions do not match.
    ApdbConfigurationError
        Raised if the configuration is unusable: a driver is not installed, or a label is unknown.
    """
    try:
        # Cassandra's client connects, and reads the version, at the first query.
        with compiled_yaml():
            apdb = Apdb.from_config(read_config(config_uri))
        apdb.containsVisitDetector(0, 0)
    except IncompatibleVersionError as error:
        raise ApdbVersionError(
            f"The APDB of {config_uri} does not match this software: {error}. What to do: run a release "
            "that was made for its schema, or migrate it. prompt apdb reset creates a development one again."
        ) from error
    # Each kind of database has exceptions of its own, and so have all parts of a configuration.
    except Exception as error:
        if (problem := configuration_problem(config_uri, error)) is not None:
            raise ApdbConfigurationError(problem) from error
        _LOG.error("The APDB of %s cannot be opened: %s", config_uri, short_reason(error))
        return None
    return apdb
