"""Whether the APDB is of a schema that this software can write."""

from __future__ import annotations

import logging

import sqlalchemy.exc
from lsst.dax.apdb import Apdb, IncompatibleVersionError

__all__ = ["ApdbVersionError", "check_apdb_version"]

from prompt_processing.transport.refusals import explain_refusal

_LOG = logging.getLogger("lsst.activator.storage.apdb_version")


class ApdbVersionError(Exception):
    """The APDB's schema and the installed one do not fit; the message says what to do."""


def check_apdb_version(config_uri: str) -> None:
    """Open the APDB and compare its schema's version with the installed one.

    Parameters
    ----------
    config_uri : `str`
        Configuration of the APDB.

    Raises
    ------
    ApdbVersionError
        The versions do not fit. An APDB that cannot be reached says nothing
        about its version: that is logged, and a visit may find it back.
    """
    try:
        Apdb.from_uri(config_uri)
    except IncompatibleVersionError as error:
        raise ApdbVersionError(
            f"The APDB of {config_uri} does not fit this software: {error}. What to do: run a release that "
            "was made for its schema, or migrate it; a development one is made anew with prompt apdb reset."
        ) from error
    except (OSError, sqlalchemy.exc.SQLAlchemyError, ValueError) as error:
        # The first line only: what follows may quote the statement.
        why = explain_refusal(error) or str(error).partition("\n")[0]
        _LOG.error("The APDB of %s cannot be opened: %s", config_uri, why)
