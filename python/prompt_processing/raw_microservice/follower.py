"""A thread that reads arrival notices."""

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
"""Time for a burst of notices, each of which may need a request to the store."""


class Notices(Protocol):
    """A source of notices, see `~prompt_processing.transport.arrival_notices.ArrivalNotices`."""

    def start(self) -> None:
        """Fix the position from which notices are read."""

    def poll(self, seconds: float) -> list[ArrivalNotice]:
        """Return the notices that have arrived."""

    @property
    def connected(self) -> bool:
        """Whether no connection is known to be lost."""

    def reconnect(self) -> None:
        """Check whether a lost cluster answers again."""

    def close(self) -> None:
        """Disconnect."""


class NoticeFollower:
    """Pass notices to a service until it is stopped.

    Parameters
    ----------
    notices : `Notices`
        Source of notices.
    service : `~prompt_processing.raw_microservice.service.PresenceService`
        Service that receives them.
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
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread."""
        self._stop.set()
        self._thread.join(10.0)

    def alive(self) -> bool:
        """Return whether the thread is alive and makes progress."""
        return self._thread.is_alive() and self._heartbeat.beats()

    def following(self) -> bool:
        """Return whether notices are received; otherwise only the bucket shows arrivals."""
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
                # A failure with one notice or one answer of Kafka must not end the thread.
                _log.exception("Reading the notices failed; trying again in %g s", self._retry_delay)
                self._stop.wait(self._retry_delay)
        self._notices.close()

    def _follow(self) -> None:
        if not self._started:
            self._notices.start()
            self._started = True
            _log.info("Receiving notices.")
        for notice in self._notices.poll(_LISTEN_SECONDS):
            try:
                self._service.note(notice)
            except Exception:  # noqa: BLE001
                _log.exception("A notice is skipped; the bucket has its raw")
        if not self._notices.connected:
            self._notices.reconnect()
            _log.info("Receiving notices again.")
