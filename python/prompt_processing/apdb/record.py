"""Check whether the APDB already holds a visit."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from prompt_processing.apdb.connection import ApdbConnection

_LOG = logging.getLogger("lsst.activator.storage.apdb_record")


class ApdbRecord:
    """The APDB's own record of what was written to it.

    Parameters
    ----------
    config_uri : `str`
        Configuration of the APDB.
    connection : `~prompt_processing.apdb.connection.ApdbConnection`
        Connection of this process, shared with the tasks.
    """

    def __init__(self, config_uri: str, connection: ApdbConnection) -> None:
        self._config_uri = config_uri
        self._connection = connection

    def contains(self, visits: Iterable[int], detector: int) -> bool | None:
        """Return whether any of these visits was written.

        Parameters
        ----------
        visits : iterable of `int`
            Visit ids.
        detector : `int`
            Detector id.

        Returns
        -------
        contains : `bool` or `None`
            `None` if the APDB does not answer.
        """
        wanted = list(visits)
        if not wanted:
            return False
        try:
            apdb = self._connection.get(self._config_uri)
            return any(apdb.containsVisitDetector(visit, detector) for visit in wanted)
        except Exception as error:  # noqa: BLE001
            # Each implementation has its own exceptions; all mean that the answer is unknown.
            _LOG.warning("Cannot determine whether the APDB holds visits %s: %s", wanted, error)
            return None
