"""Exports that a worker has begun and not ended: finish them, or clear away what they have left."""

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
"""Far more than a visit may take: whoever wrote an older note is not at work on it any more."""

_RETRY_SECONDS = 5.0


@dataclass(slots=True)
class FinishReport:
    """What became of unfinished exports.

    Attributes
    ----------
    finished : `int`
        All files were there, and are entered now.
    cleared : `int`
        Files were missing, or other outputs of the visit are there: what was copied is removed.
    young : `int`
        Left alone: somebody may be at work on them.
    left : `int`
        Not understood, or refused for a reason that somebody has to look at.
    """

    finished: int = 0
    cleared: int = 0
    young: int = 0
    left: int = 0


def finish_exports(
    butler: Butler, retry_delay: float, older_than: float = _OLD_SECONDS, now: float | None = None
) -> FinishReport:
    """Finish what dead workers have begun.

    It can be called at any time and any number of times: outputs are entered under the ids that the worker
    gave them, so that it does not matter if its message is still on its way to the writer service.

    Parameters
    ----------
    butler : `~lsst.daf.butler.Butler`
        The central repository, writeable.
    retry_delay : `float`
        Seconds before a second attempt, where the repository does not answer.
    older_than : `float`, optional
        Seconds; younger notes are left to those who wrote them.
    now : `float`, optional
        Unix seconds.

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
        # Its worker, or another one who finishes, was faster.
        return
    except ValidationError as error:
        _log.error("The note %s is not understood: %s", note.uri, error.errors(include_input=False)[:3])
        report.left += 1
        return
    if are_all_there(butler, outputs):
        try:
            central.enter([outputs])
        except RejectedOutputsError as error:
            if not error.is_duplicate:
                _log.error("The export of %s is refused: %s", note.uri, error)
                report.left += 1
                return
            _log.warning("The export of %s is cleared away: %s", note.uri, error)
            report.cleared += 1
        else:
            _log.info("Entered %d datasets of %s.", len(outputs.datasets), note.uri)
            report.finished += 1
    else:
        # Nobody was told of them: the worker tells when it has copied all.
        n_removed = remove_unknown(butler, outputs)
        _log.warning("Removed %d files of %s, of which others are missing.", n_removed, note.uri)
        report.cleared += 1
    note.uri.remove()


def finish_repository(repository: str, older_than: float = _OLD_SECONDS) -> FinishReport:
    """Finish what dead workers have begun in a repository that is to be opened.

    Parameters
    ----------
    repository : `str`
        URI of the central repository.
    older_than : `float`, optional
        As of `finish_exports`.

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
