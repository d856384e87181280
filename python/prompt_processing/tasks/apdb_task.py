"""Base of tasks that use the APDB."""

from __future__ import annotations

from lsst.dax.apdb import Apdb

from prompt_processing.domain.errors import NonRetriableError
from prompt_processing.tasks.connected_task import ConnectedTask

__all__ = ["ApdbTask"]


class ApdbTask(ConnectedTask):
    """Task that uses the APDB."""

    def open_apdb(self, configured: str) -> Apdb:
        """Open the configured APDB, or by default the process's (``CONFIG_APDB``).

        Raises
        ------
        NonRetriableError
            Raised if neither is set.
        RetriableError
            Raised if the APDB cannot be reached.
        """
        uri = configured or self.connections.apdb_uri
        if not uri:
            raise NonRetriableError("No APDB is configured: CONFIG_APDB is not set.")
        return self.connections.apdb.get(uri)
