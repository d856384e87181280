"""Send the alerts that a broker did not accept, or that a killed worker left unsent."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from lsst.dax.apdb import Apdb
from lsst.resources import ResourcePath

from prompt_processing.apdb.claim import was_committed
from prompt_processing.apdb.failures import database_failures
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
"""Returns the APDB that the alerts' sources were written to; raises a `PromptError` if it cannot."""


def settle_underway(folder: Path, open_apdb: OpenApdb) -> None:
    """Settle the alerts of dead workers: keep them if their commit has happened, else remove them.

    Parameters
    ----------
    folder : `~pathlib.Path`
        Folder of alerts. Files of live workers stay, and so do all files while the APDB does not answer.
    open_apdb : callable
        Opens the APDB; called only if files have to be settled.
    """
    remove_unfinished(folder)
    for file in _claimed(underway_files(folder)):
        committed = _was_committed(file, open_apdb)
        if committed is None:
            file.release()
        elif committed:
            _LOG.warning("%d alerts of visit %d, detector %d were left unsent.", *_words(file))
            file.keep()
        else:
            _LOG.info(
                "%d alerts of visit %d, detector %d are removed: no sources in the APDB.", *_words(file)
            )
            file.remove()


def resend_kept_alerts(settings: AlertStreamSettings, open_apdb: OpenApdb | None = None) -> SendReport:
    """Send the alerts in the directory of kept alerts, and remove those that the broker acknowledges.

    When the broker accepts no alert of a file, the remaining files are not tried.

    Parameters
    ----------
    settings : `AlertStreamSettings`
        Directory and broker.
    open_apdb : callable, optional
        Opens the APDB, which decides about the alerts of dead workers; without it, these stay.

    Returns
    -------
    report : `SendReport`
        ``kept`` counts the alerts that stay.

    Raises
    ------
    ValueError
        If no broker is configured.
    """
    if settings.broker is None and settings.folder is None:
        raise ValueError("No broker is configured: AP_KAFKA_SERVER or AP_KAFKA_TOPIC is not set.")
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
    """Send the alerts that workers have moved to the store, and remove acknowledged ones there.

    Parameters
    ----------
    settings : `AlertStreamSettings`
        Store and broker.
    open_apdb : callable
        Opens the APDB, which decides about the alerts of dead workers.

    Returns
    -------
    report : `SendReport`
        ``kept`` counts the alerts that stay.

    Raises
    ------
    OSError
        If a file cannot be read from or written to the store.
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
    """Move unsent alerts from the directory to the store, if one is configured.

    Files that cannot be moved stay.

    Parameters
    ----------
    settings : `AlertStreamSettings`
        Directory and store.
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
            # Each store has its own exceptions; with all of them the file stays where it is.
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
    except database_failures(PromptError) as exc:
        _LOG.error(
            "%d alerts of visit %d, detector %d stay until the APDB answers whether it has their sources: %s",
            *_words(file),
            exc if isinstance(exc, PromptError) else type(exc).__name__,
        )
        return None


def _words(file: AlertFile) -> tuple[int, int, int]:
    return len(file), file.visit, file.detector


def _add(total: SendReport, report: SendReport) -> None:
    total.sent += report.sent
    total.kept += report.kept
    total.lost += report.lost
    total.last_acknowledged = report.last_acknowledged or total.last_acknowledged
