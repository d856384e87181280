"""The alerts that an earlier process, or an earlier visit of this one, has left unsent."""

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
    """The directory of unsent alerts, as a worker finds and leaves it.

    Parameters
    ----------
    settings : `~prompt_processing.alerts.stream_settings.AlertStreamSettings`
        Where the directory is, and where alerts go.
    config_apdb : `str`
        Configuration of the APDB, which knows what a killed worker has written.
    """

    def __init__(self, settings: AlertStreamSettings, config_apdb: str) -> None:
        self._settings = settings
        self._config_apdb = config_apdb
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Send what a process before this one has left, beside whatever else this one does."""
        if self._finds(kept_files) or self._finds(underway_files):
            self._start(self._resend)

    def store(self) -> None:
        """Begin to move what no broker took to where it outlives the pod, if such a place is configured."""
        if self._settings.keep_store is not None and not self._busy() and self._finds(kept_files):
            self._start(move_to_store)

    def end(self) -> None:
        """Move what is left likewise, and wait for it."""
        if self._thread is not None:
            # Whatever it does not get done in this time stays on the disk.
            self._thread.join(5.0)
        try:
            move_to_store(self._settings)
        except UntrustedFolderError as error:
            _LOG.error("Alerts are not moved: %s", error)

    def _finds(self, find: Callable[[Path], list[Path]]) -> bool:
        try:
            return bool(find(self._settings.keep_directory))
        except UntrustedFolderError as error:
            _LOG.error("Alerts left unsent before are not sent: %s", error)
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
            if settings.broker is None:
                settle_underway(settings.keep_directory, self._open_apdb)
                return
            report = resend_kept_alerts(settings, self._open_apdb)
            _LOG.info("Of alerts left unsent before, %d are sent, and %d stay.", report.sent, report.kept)
        except OSError as error:
            _LOG.error("Alerts left unsent before stay in %s: %s", settings.keep_directory, error)

    def _open_apdb(self) -> Apdb:
        # Not the visits' connection: this is another thread.
        return open_apdb(self._config_apdb)
