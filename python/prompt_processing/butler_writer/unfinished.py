"""Finish the exports of dead workers, or remove their files."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from lsst.daf.butler import Butler
from pydantic import ValidationError

from prompt_processing.butler.errors import passing
from prompt_processing.butler.export import datastore_root
from prompt_processing.butler.journal import ExportJournal, ExportNote
from prompt_processing.butler.types import use_butler_types

from .central import CentralButler, RejectedOutputsError
from .datastore_files import are_all_there, remove_unknown

__all__ = ["FinishReport", "finish_exports", "finish_repository"]

_log = logging.getLogger("lsst.butler_writer.unfinished")

_OLD_SECONDS = 3600.0
"""Far more than a visit may take: the worker of an older note has ended."""

_RETRY_SECONDS = 5.0


@dataclass(slots=True)
class FinishReport:
    """Numbers of unfinished exports by result.

    Attributes
    ----------
    finished : `int`
        All files existed, and the datasets have been entered.
    cleared : `int`
        Files were missing, or the repository has other outputs of the visit; the copied files were removed.
    young : `int`
        Left unchanged, because a worker may still be writing.
    left : `int`
        Unreadable, or rejected for a reason that an operator has to check.
    """

    finished: int = 0
    cleared: int = 0
    young: int = 0
    left: int = 0


def finish_exports(
    butler: Butler, retry_delay: float, older_than: float = _OLD_SECONDS, now: float | None = None
) -> FinishReport:
    """Finish the exports of dead workers.

    This may be called at any time and any number of times. Outputs are entered with the ids that the worker
    assigned, so that a message still on its way to the writer service does no harm.

    Parameters
    ----------
    butler : `~lsst.daf.butler.Butler`
        The central repository, writeable.
    retry_delay : `float`
        Seconds before a second attempt, if the repository does not answer.
    older_than : `float`, optional
        Smallest age of a note, seconds; younger notes are left to their workers.
    now : `float`, optional
        Current time, Unix seconds.

    Raises
    ------
    RetriableError
        Raised if database or store do not answer.
    """
    report = FinishReport()
    central = CentralButler(butler, retry_delay)
    limit = (time.time() if now is None else now) - older_than
    for note in ExportJournal(datastore_root(butler), retry_delay).notes():
        if note.written > limit:
            report.young += 1
            continue
        with passing(f"Finishing the export of {note.uri.basename()}"):
            _finish(butler, central, note, report)
    return report


def _finish(butler: Butler, central: CentralButler, note: ExportNote, report: FinishReport) -> None:
    try:
        outputs = note.read()
    except FileNotFoundError:
        # The worker, or another process that finishes exports, was faster.
        return
    except ValidationError as error:
        _log.error("Cannot read the note %s: %s", note.uri, error.errors(include_input=False)[:3])
        report.left += 1
        return
    if are_all_there(butler, outputs):
        try:
            central.enter([outputs])
        except RejectedOutputsError as error:
            if not error.is_duplicate:
                _log.error("The export of %s is rejected: %s", note.uri, error)
                report.left += 1
                return
            _log.warning("Removed the files of the export of %s: %s", note.uri, error)
            report.cleared += 1
        else:
            _log.info("Entered %d datasets of %s.", len(outputs.datasets), note.uri)
            report.finished += 1
    else:
        # Nothing refers to these files: a worker announces them only after it has copied all.
        n_removed = remove_unknown(butler, outputs)
        _log.warning("Removed %d files of %s, of which others are missing.", n_removed, note.uri)
        report.cleared += 1
    note.uri.remove()


def finish_repository(repository: str, older_than: float = _OLD_SECONDS) -> FinishReport:
    """Open a repository and finish the exports of dead workers.

    Parameters
    ----------
    repository : `str`
        URI of the central repository.
    older_than : `float`, optional
        See `finish_exports`.

    Raises
    ------
    RetriableError
        Raised if database or store do not answer.
    """
    use_butler_types()
    with (
        passing(f"Opening the central repository {repository}"),
        Butler.from_config(repository, writeable=True) as butler,
    ):
        return finish_exports(butler, _RETRY_SECONDS, older_than)
