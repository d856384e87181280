"""A thread that takes in arrival notices."""

from __future__ import annotations

import logging
import threading
from typing import Protocol

from prompt_processing.domain.notices import ArrivalNotice
from prompt_processing.transport.arrival_notices import NoticesUnavailableError

from .service import PresenceService

__all__ = ["NoticeFollower"]

_log = logging.getLogger("lsst.raw_microservice.follower")

_LISTEN_SECONDS = 1.0


class Notices(Protocol):
    """Where notices come from: `~prompt_processing.transport.arrival_notices.ArrivalNotices`."""

    def start(self) -> None:
        """Fix the position."""

    def poll(self, seconds: float) -> list[ArrivalNotice]:
        """Give what has arrived."""

    def close(self) -> None:
        """Disconnect."""


class NoticeFollower:
    """Feed a service with notices until it is stopped.

    Parameters
    ----------
    notices : `Notices`
        Where they come from.
    service : `~prompt_processing.raw_microservice.service.PresenceService`
        Where they go.
    retry_delay : `float`, optional
        Seconds before Kafka is tried again.
    """

    def __init__(self, notices: Notices, service: PresenceService, retry_delay: float = 5.0) -> None:
        self._notices = notices
        self._service = service
        self._retry_delay = retry_delay
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notices", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stop.set()
        self._thread.join(10.0)

    def _run(self) -> None:
        started = False
        while not self._stop.is_set():
            try:
                if not started:
                    self._notices.start()
                    started = True
                    _log.info("Notices are followed.")
                for notice in self._notices.poll(_LISTEN_SECONDS):
                    self._service.note(notice)
            except NoticesUnavailableError as error:
                _log.warning("No arrival notices for now, the bucket tells: %s", error.reason)
                self._stop.wait(self._retry_delay)
        self._notices.close()
