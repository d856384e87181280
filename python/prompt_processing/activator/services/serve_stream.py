"""A stream worker's story: take a visit, process it, say so; then the next."""

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
"""Workers that may try a visit; one that has brought down that many is not given to another."""

_LISTEN_SECONDS = 1.0
_CLAIM_SECONDS = 5.0
_RETRY_AFTER = 30.0
"""Seconds until a visit that failed for a passing reason is tried again, as over HTTP."""


class Visits(Protocol):
    """The stream, as `~prompt_processing.activator.storage.visit_stream.VisitStream` has it."""

    def open(self) -> None:
        """Make sure that it is there."""

    def claim(self) -> StreamEntry | None:
        """Take over a dead worker's visit."""

    def read(self, seconds: float) -> StreamEntry | None:
        """Wait for a new visit."""

    def held(self, entry: StreamEntry) -> AbstractContextManager[None]:
        """Give signs of life."""

    def acknowledge(self, entry: StreamEntry) -> bool:
        """Take a visit off the stream."""

    def give_back(self, entry: StreamEntry, after: float, *, tried: bool) -> bool:
        """Let it be taken again."""


class Process(Protocol):
    """What is done with a visit; `.process_visit.ProcessVisit` does it."""

    def process(self, visit: FannedOutVisit) -> Outcome:
        """Process a visit; every failure becomes an outcome."""

    def record(self, outcome: Outcome, visit: FannedOutVisit | None = None) -> None:
        """Log and count an outcome that is found without processing."""


class ServeStream:
    """Process the visits of a stream, one after the other.

    A visit leaves the stream when its outcome is known and not before. Should the worker die, another takes
    the visit over and processes it from its beginning; if the dead one had written to the APDB, that shows
    before anything is written again, and is the visit's outcome.

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
        Seconds before Redis is asked again after a failure.
    stuck_after : `float`, optional
        Seconds after which a visit has not ended by itself and never will; for ever, by default.
    heartbeat : `~prompt_processing.telemetry.health.Heartbeat`, optional
        Beats whenever the loop turns.
    give_up : callable, optional
        Ends the process then, so that the visit is another's; called in another thread.
    naming : callable, optional
        Returns a context that names a visit in the log.
    monotonic : callable, optional
        A clock that never goes back, seconds.
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
        """Work until there is nothing to do, enough is done, or it is time to stop.

        Parameters
        ----------
        stop : `threading.Event`
            Set when the worker is to end. A visit that is underway is interrupted by other means.

        Returns
        -------
        n_visits : `int`
            How many visits were taken.
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
                _log.error("%s; asking again in %g s.", error.reason, self._retry_delay)
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
            reason = f"{entry.deliveries - 1} workers did not finish {visit}; it is not given to another."
            self._process.record(Outcome(Status.FAILED, reason, "unsafe"), visit)
            self._settle(lambda: self._stream.acknowledge(entry), entry, stop)
            return
        if entry.deliveries > 1:
            _log.warning("%s is taken over, delivery %d of it.", visit, entry.deliveries)
        with self._bounded(entry), self._stream.held(entry):
            outcome = self._process.process(visit)
        if outcome.status is Status.RETRIABLE and (stop.is_set() or entry.deliveries < MAX_DELIVERIES):
            self._give_back(entry, stop)
            return
        if outcome.status is Status.RETRIABLE:
            # Nobody tries again; somebody may, by hand.
            reason = f"{visit} is not tried again after {entry.deliveries} attempts: {outcome.reason}"
            self._process.record(Outcome(Status.FAILED, reason), visit)
        self._settle(lambda: self._stream.acknowledge(entry), entry, stop)

    @contextmanager
    def _bounded(self, entry: StreamEntry) -> Iterator[None]:
        """End the process if a visit does not react to the end of its time.

        A call that never returns, of a database behind a network that swallows everything, cannot be
        interrupted; and the signs of life go on meanwhile, so that nobody else would ever get the visit.
        """
        if self._stuck_after is None:
            yield
            return

        def give_up() -> None:
            _log.critical("Visit %s does not end; this worker does.", entry.id)
            self._give_up()

        timer = threading.Timer(self._stuck_after, in_this_context(give_up))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _give_back(self, entry: StreamEntry, stop: threading.Event) -> None:
        # One who has to end leaves the visit to another at once; what failed needs time to pass.
        stopping = stop.is_set()
        after = 0.0 if stopping else _RETRY_AFTER
        self._settle(lambda: self._stream.give_back(entry, after, tried=not stopping), entry, stop)

    def _settle(self, action: Callable[[], bool], entry: StreamEntry, stop: threading.Event) -> None:
        """Tell the stream what became of a visit, as soon as it can be told."""
        while True:
            self._beat()
            try:
                if not action():
                    _log.warning("Visit %s was another worker's by then.", entry.id)
                return
            except StreamUnavailableError as error:
                _log.error("The end of visit %s cannot be told: %s", entry.id, error.reason)
                if stop.wait(self._retry_delay):
                    # Another worker will find out what this one has done.
                    return
