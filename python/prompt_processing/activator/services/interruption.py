"""Turn signals and the time limit into an exception, at a point that the visit chooses."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_log = logging.getLogger("lsst.activator.services.interruption")

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)

_GRACE_MARGIN = 2.0
"""Seconds of the grace period that are reserved for cleaning up and answering."""


class Interrupted(BaseException):
    """The visit has to end now.

    Not an `Exception`, so that code that handles exceptions, such as the
    pipeline executor, does not mistake it for a failure of its own.

    Parameters
    ----------
    reason : `str`
        Cause of the interruption.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Interruption:
    """Turn SIGTERM, SIGHUP and the end of a visit's time into one `Interrupted`.

    It is raised in the main thread, at most once per visit, so that nothing
    disturbs the unwinding. Handlers that were installed before are called as
    well, so that the server also learns that it has to end.

    Parameters
    ----------
    timeout : `float`
        Seconds that a visit may take.
    grace_period : `float`
        Seconds between a signal and the forced end of the process.
    """

    def __init__(self, timeout: float, grace_period: float) -> None:
        self._timeout = timeout
        self._grace = max(0.1, grace_period - _GRACE_MARGIN)
        self._reason: str | None = None
        self._raised = False
        self._held = False
        self._finishing = False
        self._deadline = 0.0
        self._previous: dict[int, Any] = {}

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Allow a block to be interrupted.

        Outside the main thread, where Python runs no signal handlers, the
        block runs to completion.
        """
        if threading.current_thread() is not threading.main_thread():
            _log.warning("Not in the main thread: signals and WORKER_TIMEOUT do not end this visit.")
            yield
            return
        self._reason, self._raised, self._held, self._finishing = None, False, False, False
        self._deadline = time.monotonic() + self._timeout
        began = time.monotonic()
        self._previous = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        self._previous[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._on_alarm)
        delay, interval = signal.setitimer(signal.ITIMER_REAL, self._timeout)
        try:
            yield
        finally:
            self._held = True
            # An alarm that was set before continues with its remaining time.
            signal.setitimer(
                signal.ITIMER_REAL, max(0.01, delay - (time.monotonic() - began)) if delay else 0.0, interval
            )
            for number, handler in self._previous.items():
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let a block run to completion: the choice of the outcome, and the cleanup."""
        before, self._held = self._held, True
        try:
            yield
        finally:
            self._held = before

    @contextmanager
    def finishing(self) -> Iterator[None]:
        """Let a block use the grace period after a signal: short work that saves the visit's results."""
        self._finishing = True
        try:
            yield
        finally:
            self._finishing = False

    def check(self) -> None:
        """Raise an interruption that could not be raised when it came, or that was swallowed.

        Raises
        ------
        Interrupted
            Raised if the visit has to end.
        """
        if self._reason is not None and not self._held and not self._finishing:
            raise Interrupted(self._reason)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        first = self._reason is None
        self._reason = self._reason or f"The worker was asked to end by {signal.Signals(number).name}"
        previous = self._previous.get(number)
        if callable(previous):
            previous(number, frame)
        if self._finishing and first:
            left = self._deadline - time.monotonic()
            signal.setitimer(signal.ITIMER_REAL, max(0.01, min(self._grace, left)))
        elif not self._held and not self._finishing:
            self._raise_once(self._reason)

    def _on_alarm(self, number: int, frame: FrameType | None) -> None:
        self._reason = self._reason or f"The visit took longer than WORKER_TIMEOUT, {self._timeout:g} s"
        if not self._held:
            self._raise_once(self._reason)

    def _raise_once(self, reason: str) -> None:
        if not self._raised:
            self._raised = True
            raise Interrupted(reason)
