"""Serve a stream: take a visit, process it, acknowledge it, take the next."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

from prompt_processing.activator.storage.visit_stream import StreamEntry, StreamUnavailableError
from prompt_processing.domain.errors import MalformedMessageError
from prompt_processing.domain.outcome import Outcome, Status
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.settings.exit_codes import ExitCode
from prompt_processing.telemetry.handover import in_this_context
from prompt_processing.telemetry.health import Heartbeat

_log = logging.getLogger("lsst.activator.services.serve_stream")

MAX_DELIVERIES = 3
"""Number of workers that may try a visit; after that it is not delivered again."""

_LISTEN_SECONDS = 1.0
_CLAIM_SECONDS = 5.0
_RETRY_AFTER = 30.0
"""Seconds until a visit that failed for a transient reason is tried again, as over HTTP."""


class Visits(Protocol):
    """A stream of visits, see `~prompt_processing.activator.storage.visit_stream.VisitStream`."""

    def open(self) -> None:
        """Create the stream unless it exists."""

    def claim(self) -> StreamEntry | None:
        """Take over the visit of a dead worker."""

    def read(self, seconds: float) -> StreamEntry | None:
        """Wait for a new visit."""

    def held(self, entry: StreamEntry) -> AbstractContextManager[None]:
        """Refresh the claim on a visit during a block."""

    def acknowledge(self, entry: StreamEntry) -> bool:
        """Remove a visit from the stream."""

    def give_back(self, entry: StreamEntry, after: float, *, tried: bool) -> bool:
        """Return a visit to the stream."""


class Process(Protocol):
    """A service that processes visits, see `.process_visit.ProcessVisit`."""

    def process(self, visit: FannedOutVisit) -> Outcome:
        """Process a visit; turn every failure into an outcome."""

    def record(self, outcome: Outcome, visit: FannedOutVisit | None = None) -> None:
        """Log and count an outcome that needs no processing."""


class ServeStream:
    """Process the visits of a stream, one after the other.

    A visit leaves the stream only when its outcome is known. If the worker dies, another worker takes the
    visit over and starts from the beginning. If the dead worker had written to the APDB, the new one notices
    before it writes, and reports that as the outcome.

    Parameters
    ----------
    stream : `Visits`
        The stream.
    process : `Process`
        The service that processes visits.
    listen_timeout : `float`
        Seconds without a visit after which the worker ends.
    max_visits : `int`
        Visits after which the worker ends; 0 for no limit.
    retry_delay : `float`
        Seconds before Redis is tried again after a failure.
    stuck_after : `float`, optional
        Seconds after which a visit counts as stuck; by default there is no limit.
    heartbeat : `~prompt_processing.telemetry.health.Heartbeat`, optional
        Beats in each turn of the loop.
    give_up : callable, optional
        Ends the process of a stuck visit, so that another worker takes it; called in another thread.
    naming : callable, optional
        Returns a context that adds a visit to log lines.
    monotonic : callable, optional
        Returns the seconds of a monotonic clock.
    """

    def __init__(
        self,
        stream: Visits,
        process: Process,
        listen_timeout: float,
        max_visits: int,
        retry_delay: float,
        *,
        stuck_after: float | None = None,
        heartbeat: Heartbeat | None = None,
        give_up: Callable[[], None] = lambda: os._exit(ExitCode.STUCK),
        naming: Callable[[FannedOutVisit], AbstractContextManager[None]] = lambda visit: nullcontext(),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._process = process
        self._listen_timeout = listen_timeout
        self._max_visits = max_visits
        self._retry_delay = retry_delay
        self._stuck_after = stuck_after
        self._heartbeat = heartbeat
        self._give_up = give_up
        self._naming = naming
        self._monotonic = monotonic
        self._next_claim = 0.0

    def run(self, stop: threading.Event) -> int:
        """Serve visits until none arrives in time, the limit is reached, or the worker has to stop.

        Parameters
        ----------
        stop : `threading.Event`
            Set when the worker has to stop. `Interruption` interrupts the visit that is being processed.

        Returns
        -------
        n_visits : `int`
            Number of visits taken.
        """
        n_visits = 0
        last_visit = self._monotonic()
        is_open = False
        while not stop.is_set() and not 0 < self._max_visits <= n_visits:
            self._beat()
            if self._monotonic() - last_visit > self._listen_timeout:
                _log.info("No visit came in %g s.", self._listen_timeout)
                break
            try:
                if not is_open:
                    self._stream.open()
                    is_open = True
                entry = self._next()
            except StreamUnavailableError as error:
                _log.error("%s; trying again in %g s.", error.reason, self._retry_delay)
                stop.wait(self._retry_delay)
                continue
            if entry is not None and stop.is_set():
                self._give_back(entry, stop)
            elif entry is not None:
                self._serve(entry, stop)
                n_visits += 1
                last_visit = self._monotonic()
        return n_visits

    def _beat(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.beat()

    def _next(self) -> StreamEntry | None:
        if self._monotonic() >= self._next_claim:
            if (entry := self._stream.claim()) is not None:
                return entry
            self._next_claim = self._monotonic() + _CLAIM_SECONDS
        return self._stream.read(_LISTEN_SECONDS)

    def _serve(self, entry: StreamEntry, stop: threading.Event) -> None:
        try:
            visit = FannedOutVisit.from_stream_entry(entry.fields)
        except MalformedMessageError as error:
            self._process.record(Outcome(Status.MALFORMED, error.reason))
            self._settle(lambda: self._stream.acknowledge(entry), entry, stop)
            return
        with self._naming(visit):
            self._serve_visit(visit, entry, stop)

    def _serve_visit(self, visit: FannedOutVisit, entry: StreamEntry, stop: threading.Event) -> None:
        if entry.deliveries > MAX_DELIVERIES:
            reason = f"{entry.deliveries - 1} workers did not finish {visit}; it is not delivered again."
            self._process.record(Outcome(Status.FAILED, reason, "unsafe"), visit)
            self._settle(lambda: self._stream.acknowledge(entry), entry, stop)
            return
        if entry.deliveries > 1:
            _log.warning("%s is taken over, delivery %d.", visit, entry.deliveries)
        with self._bounded(entry), self._stream.held(entry):
            outcome = self._process.process(visit)
        if outcome.status is Status.RETRIABLE and (stop.is_set() or entry.deliveries < MAX_DELIVERIES):
            self._give_back(entry, stop)
            return
        if outcome.status is Status.RETRIABLE:
            # Not retried automatically; an operator may process it by hand.
            reason = f"{visit} is not tried again after {entry.deliveries} attempts: {outcome.reason}"
            self._process.record(Outcome(Status.FAILED, reason), visit)
        self._settle(lambda: self._stream.acknowledge(entry), entry, stop)

    @contextmanager
    def _bounded(self, entry: StreamEntry) -> Iterator[None]:
        """End the process if a visit does not react to its time limit.

        A call that never returns cannot be interrupted, for example to a database behind a network that drops
        packets. Meanwhile the worker keeps its claim, so that no other worker could ever take the visit.
        """
        if self._stuck_after is None:
            yield
            return

        def give_up() -> None:
            _log.critical("Visit %s does not end; this worker exits.", entry.id)
            self._give_up()

        timer = threading.Timer(self._stuck_after, in_this_context(give_up))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _give_back(self, entry: StreamEntry, stop: threading.Event) -> None:
        # A worker that has to stop releases its visit at once; a failed visit waits before its next attempt.
        stopping = stop.is_set()
        after = 0.0 if stopping else _RETRY_AFTER
        self._settle(lambda: self._stream.give_back(entry, after, tried=not stopping), entry, stop)

    def _settle(self, action: Callable[[], bool], entry: StreamEntry, stop: threading.Event) -> None:
        """Report the end of a visit to the stream; retry until Redis answers."""
        while True:
            self._beat()
            try:
                if not action():
                    _log.warning("Visit %s had been taken over by another worker.", entry.id)
                return
            except StreamUnavailableError as error:
                _log.error("Cannot report the end of visit %s: %s", entry.id, error.reason)
                if stop.wait(self._retry_delay):
                    # The next worker finds in the APDB what this one has written.
                    return
