"""A connection to an APDB, shared by all visits of a process."""

from __future__ import annotations

import logging

from lsst.dax.apdb import Apdb

from .failures import database_failures
from .preloaded_catalogs import open_apdb, prepare_for_visits

__all__ = ["ApdbConnection"]

_LOG = logging.getLogger("lsst.prompt_processing.apdbConnection")


class ApdbConnection:
    """An APDB that is opened at the first request and kept open.

    Opening an APDB reads its whole schema, which takes almost a second: too
    long between an image and its alerts.
    """

    def __init__(self) -> None:
        self._open: dict[str, Apdb] = {}

    def keep(self, uri: str, apdb: Apdb) -> None:
        """Keep an APDB that is open already, as after a check of its version.

        Parameters
        ----------
        uri : `str`
            URI of its configuration.
        apdb : `lsst.dax.apdb.Apdb`
            The APDB.
        """
        prepare_for_visits(apdb)
        self._open[uri] = apdb

    def get(self, uri: str) -> Apdb:
        """Return the APDB of a configuration.

        Parameters
        ----------
        uri : `str`
            URI of the configuration.

        Returns
        -------
        apdb : `lsst.dax.apdb.Apdb`
            The APDB, which has answered just now.

        Raises
        ------
        RetriableError
            If the configuration cannot be read or the database cannot be reached.
        """
        apdb = self._open.get(uri)
        if apdb is not None:
            try:
                # Any small query: the database may have been restarted since the last visit.
                apdb.containsVisitDetector(0, 0)
            except database_failures() as error:
                _LOG.warning("Reconnecting to the APDB: %s", type(error).__name__)
                del self._open[uri]
            else:
                return apdb
        self._open[uri] = open_apdb(uri)
        return self._open[uri]
