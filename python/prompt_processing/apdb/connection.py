"""The connection to an APDB that the visits of a process share."""

from __future__ import annotations

import logging

from lsst.dax.apdb import Apdb
from sqlalchemy.exc import SQLAlchemyError

from .preloaded_catalogs import open_apdb

__all__ = ["ApdbConnection"]

_LOG = logging.getLogger("lsst.prompt_processing.apdbConnection")


class ApdbConnection:
    """An APDB, opened when it is first asked for and kept.

    Opening one reads its whole schema, which takes the better part of a
    second: too long between an image and its alerts.
    """

    def __init__(self) -> None:
        self._open: dict[str, Apdb] = {}

    def get(self, uri: str) -> Apdb:
        """Return the APDB of a configuration.

        Parameters
        ----------
        uri : `str`
            Of the configuration.

        Returns
        -------
        apdb : `lsst.dax.apdb.Apdb`
            One that answered just now.

        Raises
        ------
        RetriableError
            If its configuration cannot be read or the database not be reached.
        """
        apdb = self._open.get(uri)
        if apdb is not None:
            try:
                # Any small question: the database may have been restarted since the visit before.
                apdb.containsVisitDetector(0, 0)
            except SQLAlchemyError as error:
                _LOG.warning("The APDB is connected to anew: %s", type(error).__name__)
                del self._open[uri]
            else:
                return apdb
        self._open[uri] = open_apdb(uri)
        return self._open[uri]
