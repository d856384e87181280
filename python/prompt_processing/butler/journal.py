"""Notes about exports in progress, kept in the datastore beside the exported files."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lsst.resources import ResourcePath

from prompt_processing.butler.messages import VisitOutputs

from .errors import MAY_BE_PASSING, is_passing, passing, try_twice

_LOG = logging.getLogger("lsst.activator.storage.export_journal")

_FOLDER = "exports-underway"


@dataclass(frozen=True, slots=True)
class ExportNote:
    """A note about an unfinished export.

    Attributes
    ----------
    uri : `~lsst.resources.ResourcePath`
        File of the note.
    written : `float`
        Time of writing, Unix seconds.
    """

    uri: ResourcePath
    written: float

    def read(self) -> VisitOutputs:
        """Return the outputs to be exported."""
        return VisitOutputs.model_validate_json(self.uri.read())


class ExportJournal:
    """Record an export before it begins, so that another process can finish it or remove its files.

    A file in the datastore and its record in the database (or the message
    about it) cannot be written in one step. A worker that dies in between
    leaves unrecorded files; its note stays with them.

    Parameters
    ----------
    root : `~lsst.resources.ResourcePath`
        Root of the central datastore.
    retry_delay : `float`
        Seconds before a second attempt, if the store does not answer.
    """

    def __init__(self, root: ResourcePath, retry_delay: float) -> None:
        self._folder = root.join(_FOLDER, forceDirectory=True)
        self._retry_delay = retry_delay

    @contextmanager
    def noted(self, outputs: VisitOutputs) -> Iterator[None]:
        """Keep a note during a block, and afterwards if the block fails.

        Parameters
        ----------
        outputs : `~prompt_processing.butler.messages.VisitOutputs`
            Outputs that the block copies and enters.

        Raises
        ------
        RetriableError
            Raised if the note cannot be written; the block is not entered.
        """
        note = self._folder.join(f"{time.time():.0f}-{uuid.uuid4().hex}.json", forceDirectory=False)
        content = outputs.model_dump_json().encode()
        with passing("Writing the note of the export to the central datastore"):
            try_twice(lambda: note.write(content), self._retry_delay)
        yield
        try:
            note.remove()
        except MAY_BE_PASSING as error:
            if not is_passing(error):
                raise
            # prompt repo finish-exports will find nothing left to do.
            _LOG.warning("Cannot remove the note %s: %s", note, error)

    def notes(self) -> list[ExportNote]:
        """Return the existing notes, oldest first.

        Raises
        ------
        RetriableError
            Raised if the store does not answer.
        """
        with passing("Looking for unfinished exports in the central datastore"):
            if self._folder.scheme == "file" and not self._folder.exists():
                return []
            found = ResourcePath.findFileResources([self._folder], file_filter=r"^\d+-[0-9a-f]{32}\.json$")
            return sorted(
                (ExportNote(uri, float(uri.basename().partition("-")[0])) for uri in found),
                key=lambda note: note.written,
            )
