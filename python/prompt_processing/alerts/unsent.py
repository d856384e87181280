"""Handle the alerts that earlier processes or earlier visits left unsent."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from lsst.dax.apdb import Apdb

from prompt_processing.alerts.files import kept_files, underway_files
from prompt_processing.alerts.resending import (
    move_to_store,
    resend_kept_alerts,
    settle_underway,
)
from prompt_processing.alerts.stream_settings import AlertStreamSettings
from prompt_processing.apdb.preloaded_catalogs import open_apdb
from prompt_processing.telemetry.handover import in_this_context
from prompt_processing.transport.private_folder import UntrustedFolderError

_LOG = logging.getLogger("lsst.activator.storage.unsent_alerts")


class UnsentAlerts:
    """The directory of unsent alerts, at the start, between visits and at the end of a worker.

    Parameters
    ----------
    settings : `~prompt_processing.alerts.stream_settings.AlertStreamSettings`
        Directory, store and broker.
    config_apdb : `str`
        Configuration of the APDB, which shows what a killed worker has written.
    """

    def __init__(self, settings: AlertStreamSettings, config_apdb: str) -> None:
        self._settings = settings
        self._config_apdb = config_apdb
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Start to send the alerts of earlier processes in the background."""
        if self._finds(kept_files) or self._finds(underway_files):
            self._start(self._resend)

    def store(self) -> None:
        """Start to move unsent alerts to the store, if one is configured."""
        if self._settings.keep_store is not None and not self._busy() and self._finds(kept_files):
            self._start(move_to_store)

    def end(self) -> None:
        """Move the remaining alerts to the store, and wait for that."""
        if self._thread is not None:
            # Alerts that are not handled in this time stay on the disk.
            self._thread.join(5.0)
        try:
            move_to_store(self._settings)
        except UntrustedFolderError as error:
            _LOG.error("Unsent alerts are not moved to the store: %s", error)

    def _finds(self, find: Callable[[Path], list[Path]]) -> bool:
        try:
            return bool(find(self._settings.keep_directory))
        except UntrustedFolderError as error:
            _LOG.error("Alerts of earlier processes are not sent: %s", error)
            return False

    def _busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _start(self, action: Callable[[AlertStreamSettings], None]) -> None:
        self._thread = threading.Thread(
            target=in_this_context(action), args=(self._settings,), name="alerts", daemon=True
        )
        self._thread.start()

    def _resend(self, settings: AlertStreamSettings) -> None:
        try:
            if settings.broker is None and settings.folder is None:
                settle_underway(settings.keep_directory, self._open_apdb)
                return
            report = resend_kept_alerts(settings, self._open_apdb)
            _LOG.info("Alerts of earlier processes: %d are sent, %d stay.", report.sent, report.kept)
        except OSError as error:
            _LOG.error("Alerts of earlier processes stay in %s: %s", settings.keep_directory, error)

    def _open_apdb(self) -> Apdb:
        # A separate connection, because this runs in another thread than the visits.
        return open_apdb(self._config_apdb)
