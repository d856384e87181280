"""Send the alerts that a broker did not take, or that a worker had no time to send."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from lsst.dax.apdb import Apdb
from lsst.resources import ResourcePath
from sqlalchemy.exc import SQLAlchemyError

from prompt_processing.apdb.claim import was_committed
from prompt_processing.domain.errors import PromptError

from .connection import AlertConnection
from .files import (
    KEPT,
    UNDERWAY,
    AlertFile,
    AlertFileError,
    kept_files,
    remove_unfinished,
    underway_files,
)
from .sender import SendReport, send_alerts
from .stream_settings import AlertStreamSettings

__all__ = ["OpenApdb", "move_to_store", "resend_kept_alerts", "resend_stored_alerts", "settle_underway"]

_LOG = logging.getLogger("lsst.prompt_processing.alerts")

OpenApdb = Callable[[], Apdb]
"""Opens the APDB that the alerts' sources were written to; raises a `PromptError` if that is not possible."""


def settle_underway(folder: Path, open_apdb: OpenApdb) -> None:
    """Judge the alerts of workers that have died: kept if their commit has happened, removed if not.

    Parameters
    ----------
    folder : `~pathlib.Path`
        Of alerts. Those of workers that live stay, and so do those of which the APDB does not tell.
    open_apdb : callable
        Opens the APDB; called only if there is something to judge.
    """
    remove_unfinished(folder)
    for file in _claimed(underway_files(folder)):
        committed = _was_committed(file, open_apdb)
        if committed is None:
            file.release()
        elif committed:
            _LOG.warning("%d alerts of visit %d, detector %d have been left unsent.", *_words(file))
            file.keep()
        else:
            _LOG.info("%d alerts of visit %d, detector %d tell of nothing that was written.", *_words(file))
            file.remove()


def resend_kept_alerts(settings: AlertStreamSettings, open_apdb: OpenApdb | None = None) -> SendReport:
    """Send what is in the directory of kept alerts, and remove what the broker acknowledges.

    Once the broker has taken nothing of a file, the rest is not tried.

    Parameters
    ----------
    settings : `AlertStreamSettings`
        Where they are, and where to.
    open_apdb : callable, optional
        Tells which of a dead worker's alerts are to be sent; without, these stay.

    Returns
    -------
    report : `SendReport`
        ``kept`` counts what stays.

    Raises
    ------
    ValueError
        If there is no broker.
    """
    if settings.broker is None:
        raise ValueError("There is no broker to send to: AP_KAFKA_SERVER or AP_KAFKA_TOPIC is not set.")
    if open_apdb is not None:
        settle_underway(settings.keep_directory, open_apdb)
    total, connection = SendReport(), AlertConnection()
    refused = False
    for file in _claimed(kept_files(settings.keep_directory)):
        if refused:
            total.kept += len(file)
            file.release()
            continue
        report = send_alerts(settings, file.visit, file.detector, file, connection, file)
        _add(total, report)
        refused = not report.sent
    return total


def resend_stored_alerts(settings: AlertStreamSettings, open_apdb: OpenApdb) -> SendReport:
    """Send what workers have moved to the store, and remove there what the broker acknowledges.

    Parameters
    ----------
    settings : `AlertStreamSettings`
        Where they are, and where to.
    open_apdb : callable
        Tells which of a dead worker's alerts are to be sent.

    Returns
    -------
    report : `SendReport`
        ``kept`` counts what stays.

    Raises
    ------
    OSError
        If a file cannot be fetched or put.
    """
    total, connection = SendReport(), AlertConnection()
    if settings.keep_store is None:
        return total
    store = ResourcePath(settings.keep_store, forceDirectory=True)
    for uri in _stored(store):
        with TemporaryDirectory() as name:
            folder = Path(name)
            copy = folder / uri.basename()
            ResourcePath(str(copy)).transfer_from(uri, "copy")
            for file in _claimed([copy]):
                committed = True if copy.name.endswith(KEPT) else _was_committed(file, open_apdb)
                if not committed:
                    file.release()
                    if committed is False:
                        uri.remove()
                    continue
                here = dataclasses.replace(settings, keep_directory=folder)
                report = send_alerts(here, file.visit, file.detector, file, connection, file)
                _add(total, report)
                if report.sent:
                    for rest in kept_files(folder):
                        store.join(rest.name).transfer_from(ResourcePath(str(rest)), "copy", overwrite=True)
                    uri.remove()
    return total


def move_to_store(settings: AlertStreamSettings) -> None:
    """Move the alerts that nobody sends from the directory to the store, if there is one.

    What cannot be moved stays.

    Parameters
    ----------
    settings : `AlertStreamSettings`
        Where they are, and where to.
    """
    if settings.keep_store is None:
        return
    store = ResourcePath(settings.keep_store, forceDirectory=True)
    folder = settings.keep_directory
    for file in _claimed([*kept_files(folder), *underway_files(folder)]):
        uri = store.join(file.path.name)
        try:
            uri.transfer_from(ResourcePath(str(file.path)), "copy", overwrite=True)
        except Exception as exc:  # noqa: BLE001
            # Each store fails in its own way, and all mean the same here: the file stays where it is.
            _LOG.error("%d alerts of visit %d, detector %d stay in %s: %s", *_words(file), file.path, exc)
            file.release()
        else:
            _LOG.info("%d alerts of visit %d, detector %d are kept in %s.", *_words(file), uri)
            file.remove()


def _stored(store: ResourcePath) -> list[ResourcePath]:
    ours = re.compile(f".*({re.escape(KEPT)}|{re.escape(UNDERWAY)})$")
    found = ResourcePath.findFileResources([store], file_filter=ours)
    return sorted(found, key=ResourcePath.geturl)


def _claimed(paths: list[Path]) -> Iterator[AlertFile]:
    for path in paths:
        try:
            file = AlertFile.claim(path)
        except AlertFileError as exc:
            _LOG.error("%s", exc)
            continue
        if file is not None:
            yield file


def _was_committed(file: AlertFile, open_apdb: OpenApdb) -> bool | None:
    try:
        return was_committed(open_apdb(), file.visit, file.detector, file.processed_mjd)
    except (PromptError, SQLAlchemyError) as exc:
        _LOG.error(
            "%d alerts of visit %d, detector %d stay until the APDB tells whether it has their sources: %s",
            *_words(file),
            type(exc).__name__ if isinstance(exc, SQLAlchemyError) else exc,
        )
        return None


def _words(file: AlertFile) -> tuple[int, int, int]:
    return len(file), file.visit, file.detector


def _add(total: SendReport, report: SendReport) -> None:
    total.sent += report.sent
    total.kept += report.kept
    total.lost += report.lost
    total.last_acknowledged = report.last_acknowledged or total.last_acknowledged
