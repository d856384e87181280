"""What tasks that talk to the APDB have in common."""

from __future__ import annotations

import os
from typing import Any

from lsst.dax.apdb import Apdb
from lsst.pipe.base import PipelineTask

from prompt_processing.apdb.preloaded_catalogs import apdb_uri
from prompt_processing.tasks.connections import Connections

__all__ = ["ApdbTask"]


class ApdbTask(PipelineTask):
    """A task that talks to the APDB.

    Attributes
    ----------
    connections : `~prompt_processing.tasks.connections.Connections`
        Its own, unless whoever runs the pipeline gives it those that visits share.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.connections = Connections()

    def open_apdb(self, configured: str) -> Apdb:
        """Return the APDB that is configured, or else that of ``CONFIG_APDB``.

        Raises
        ------
        NonRetriableError
            If neither is set.
        RetriableError
            If it cannot be reached.
        """
        return self.connections.apdb.get(apdb_uri(configured, os.environ))
