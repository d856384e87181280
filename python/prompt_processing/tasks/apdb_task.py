"""What tasks that talk to the APDB have in common."""

from __future__ import annotations

from lsst.dax.apdb import Apdb

from prompt_processing.domain.errors import NonRetriableError
from prompt_processing.tasks.connected_task import ConnectedTask

__all__ = ["ApdbTask"]


class ApdbTask(ConnectedTask):
    """A task that talks to the APDB."""

    def open_apdb(self, configured: str) -> Apdb:
        """Return the APDB that is configured, or else that of the process (``CONFIG_APDB``).

        Raises
        ------
        NonRetriableError
            If neither is set.
        RetriableError
            If it cannot be reached.
        """
        uri = configured or self.connections.apdb_uri
        if not uri:
            raise NonRetriableError("No APDB is configured: CONFIG_APDB is not set.")
        return self.connections.apdb.get(uri)
