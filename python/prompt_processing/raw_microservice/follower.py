"""A thread that takes in arrival notices."""

from __future__ import annotations

import logging
import threading
from typing import Protocol

from prompt_processing.domain.notices import ArrivalNotice
from prompt_processing.telemetry.health import Heartbeat
from prompt_processing.transport.arrival_notices import NoticesUnavailableError

from .service import PresenceService

__all__ = ["NoticeFollower"]

_log = logging.getLogger("lsst.raw_microservice.follower")

_LISTEN_SECONDS = 1.0

_LONGEST_TURN_SECONDS = 120.0
"""A burst of notices, each of which makes the store be asked once."""


class Notices(Protocol):
    """Where notices come from: `~prompt_processing.transport.arrival_notices.ArrivalNotices`."""

    def start(self) -> None:
        """Fix the position."""

    def poll(self, seconds: float) -> list[ArrivalNotice]:
        """Return what has arrived."""

    @property
    def connected(self) -> bool:
        """Whether no connection is known to be lost."""

    def reconnect(self) -> None:
        """Find out whether a lost cluster answers again."""

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
        self._started = False
        self._complained = False
        self._heartbeat = Heartbeat(_LONGEST_TURN_SECONDS + retry_delay)
        self._thread = threading.Thread(target=self._run, name="notices", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stop.set()
        self._thread.join(10.0)

    def alive(self) -> bool:
        """Return whether the thread lives, and goes on."""
        return self._thread.is_alive() and self._heartbeat.beats()

    def following(self) -> bool:
        """Return whether notices are followed: otherwise only the bucket knows what arrives."""
        return self.alive() and self._started and self._notices.connected

    def _run(self) -> None:
        while not self._stop.is_set():
            self._heartbeat.beat()
            try:
                self._follow()
                self._complained = False
            except NoticesUnavailableError as error:
                if not self._complained:
                    _log.warning("No arrival notices for now, the bucket is polled: %s", error.reason)
                self._complained = True
                self._stop.wait(self._retry_delay)
            except Exception:  # noqa: BLE001
                # Whatever one notice or one answer of Kafka brings, the next are followed all the same.
                _log.exception("Following the notices failed; it is tried again in %g s", self._retry_delay)
                self._stop.wait(self._retry_delay)
        self._notices.close()

    def _follow(self) -> None:
        if not self._started:
            self._notices.start()
            self._started = True
            _log.info("Notices are followed.")
        for notice in self._notices.poll(_LISTEN_SECONDS):
            try:
                self._service.note(notice)
            except Exception:  # noqa: BLE001
                _log.exception("A notice is passed over; the bucket has its raw")
        if not self._notices.connected:
            self._notices.reconnect()
            _log.info("Notices are followed again.")
