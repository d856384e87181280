"""Notes about exports that are underway, kept beside the files that they are about."""

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
    """A note that somebody has left.

    Attributes
    ----------
    uri : `~lsst.resources.ResourcePath`
        Its file.
    written : `float`
        When it was written, Unix seconds.
    """

    uri: ResourcePath
    written: float

    def read(self) -> VisitOutputs:
        """Return what was to be exported."""
        return VisitOutputs.model_validate_json(self.uri.read())


class ExportJournal:
    """Say what is going to be copied before it is, so that somebody else can finish it or clear it away.

    A file in the datastore and its record in the database, or the message
    about it, cannot be written in one step: a worker that dies in between
    leaves files that nobody knows of. Its note stays with them.

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
        """Keep a note during a block, and after it if it fails.

        Parameters
        ----------
        outputs : `~prompt_processing.butler.messages.VisitOutputs`
            What is copied and entered within the block.

        Raises
        ------
        RetriableError
            Raised if the note cannot be written; the block is not entered.
        """
        note = self._folder.join(f"{time.time():.0f}-{uuid.uuid4().hex}.json", forceDirectory=False)
        content = outputs.model_dump_json().encode()
        with passing("Noting what is exported in the central datastore"):
            try_twice(lambda: note.write(content), self._retry_delay)
        yield
        try:
            note.remove()
        except MAY_BE_PASSING as error:
            if not is_passing(error):
                raise
            # Who finishes it will find all done.
            _LOG.warning("The note %s stays: %s", note, error)

    def notes(self) -> list[ExportNote]:
        """Return the notes that are there, oldest first.

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
