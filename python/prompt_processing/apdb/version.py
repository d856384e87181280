"""Check that this software can write the schema of the APDB."""

from __future__ import annotations

import logging

import sqlalchemy.exc
from lsst.dax.apdb import Apdb, IncompatibleVersionError

__all__ = ["ApdbVersionError", "check_apdb_version"]

from prompt_processing.transport.refusals import explain_refusal

_LOG = logging.getLogger("lsst.activator.storage.apdb_version")


class ApdbVersionError(Exception):
    """The APDB's schema and the installed one do not match; the message says what to do."""


def check_apdb_version(config_uri: str) -> None:
    """Open the APDB and compare its schema version with the installed one.

    Parameters
    ----------
    config_uri : `str`
        Configuration of the APDB.

    Raises
    ------
    ApdbVersionError
        Raised if the versions do not match. If the APDB cannot be reached, its
        version is unknown: that is logged, and visits try again.
    """
    try:
        Apdb.from_uri(config_uri)
    except IncompatibleVersionError as error:
        raise ApdbVersionError(
            f"The APDB of {config_uri} does not match this software: {error}. What to do: run a release "
            "that was made for its schema, or migrate it. prompt apdb reset creates a development one again."
        ) from error
    except (OSError, sqlalchemy.exc.SQLAlchemyError, ValueError) as error:
        # The first line only: the rest may quote the statement.
        why = explain_refusal(error) or str(error).partition("\n")[0]
        _LOG.error("The APDB of %s cannot be opened: %s", config_uri, why)
