"""Process the raws of a folder, each once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Protocol

from prompt_processing.domain.errors import InvalidVisitError
from prompt_processing.domain.outcome import Status
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.instruments.announcement import announcement_of
from prompt_processing.instruments.errors import RawError
from prompt_processing.instruments.header_files import read_detector_headers
from prompt_processing.instruments.headers import Observation, translate

from .arrivals import Arrival, Folder
from .context import IN_APDB, ProcessedImage
from .journal import Entry, FileState, Journal

__all__ = ["Report", "Watch"]

_log = logging.getLogger("lsst.watch.service")

MOST_ATTEMPTS = 20
"""Number of times that an image is tried, restarts of a killed process included."""

_GLANCE_SECONDS = 0.05
"""Time between two glances at the folder's time of modification."""
_FIRST_DELAY, _LONGEST_DELAY = 5.0, 300.0
"""Seconds before an image is tried again; the delay doubles each time. The last is after about 70 minutes."""


class Processor(Protocol):
    """What processes an image, see `.context.WatchContext`."""

    def process(self, visit: FannedOutVisit, file: Path, exposure: int, arrival: float) -> ProcessedImage:
        """Process one detector of a file."""


@dataclass(frozen=True, slots=True)
class Report:
    """One line about a detector of a file.

    Attributes
    ----------
    entry
        The journal's entry.
    observation
        Translated header; `None` for a file that cannot be read.
    image
        Outcome and quality; `None` if the image was not processed.
    seconds
        From the complete file to the outcome, or of the processing for an old file.
    """

    entry: Entry
    observation: Observation | None = None
    image: ProcessedImage | None = None
    seconds: float = 0.0


@dataclass(slots=True)
class Totals:
    """Numbers of the summary."""

    by_state: dict[FileState, int] = field(default_factory=dict)
    changes: int = 0
    seconds: float = 0.0

    def add(self, report: Report) -> None:
        """Count a report."""
        state = report.entry.state
        self.by_state[state] = self.by_state.get(state, 0) + 1
        if report.image is not None:
            self.changes += int(report.image.outcome.counts.get("numDiaSources", 0))
            self.seconds += report.seconds


class Watch:
    """Follow a folder.

    Parameters
    ----------
    folder
        The folder.
    journal
        What was processed before.
    processor
        Processes an image.
    instrument
        Short name; raws of other instruments are set aside.
    detectors
        Detectors to process; all by default.
    tell
        Called with each report.
    """

    def __init__(
        self,
        folder: Folder,
        journal: Journal,
        processor: Processor,
        instrument: str,
        *,
        detectors: tuple[int, ...] = (),
        tell: Callable[[Report], None] = lambda report: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._journal = journal
        self._processor = processor
        self._instrument = instrument
        self._detectors = detectors
        self._tell = tell
        self._now = now
        self.totals = Totals()
        self._later: dict[Path, float] = {}

    def run(self, stop: Event, interval: float, once: bool = False) -> Totals:
        """Process files until asked to stop.

        Parameters
        ----------
        stop
            Set to end after the current image.
        interval
            Seconds between two looks into the folder, at most.
        once
            Whether to end when all files that are there now are settled.

        Returns
        -------
        totals
            Numbers of files and changes.
        """
        while not stop.is_set():
            found = self._pass(stop)
            if once and not found and not self._later:
                break
            if not found:
                self._wait(stop, interval)
        return self.totals

    def _wait(self, stop: Event, interval: float) -> None:
        """Wait for the next look, or until the folder has changed."""
        end = time.monotonic() + interval
        while not stop.is_set() and (rest := end - time.monotonic()) > 0:
            stop.wait(min(_GLANCE_SECONDS, rest))
            if self._folder.has_news():
                return

    def _pass(self, stop: Event) -> int:
        number = 0
        for arrival in self._folder.look(self._of_no_interest):
            if stop.is_set():
                break
            number += 1
            self._take(arrival)
        return number

    def _of_no_interest(self, path: Path, size: int, modified_ns: int) -> bool:
        if self._later.get(path, 0.0) > self._now():
            return True
        return self._journal.settled(path, size, modified_ns)

    def _take(self, arrival: Arrival) -> None:
        entry = Entry(arrival.path, arrival.size, arrival.modified_ns)
        if arrival.problem:
            self._settle(Report(replace(entry, state=FileState.SET_ASIDE, reason=arrival.problem)))
            return
        try:
            headers = read_detector_headers(arrival.path)
            observations = {
                detector: translate(header, str(arrival.path)) for detector, header in headers.items()
            }
        except RawError as error:
            self._settle(Report(replace(entry, state=FileState.SET_ASIDE, reason=str(error))))
            return
        wanted = {d: o for d, o in observations.items() if not self._detectors or d in self._detectors}
        if not wanted:
            reason = "None of its detectors is to be processed."
            self._settle(Report(replace(entry, state=FileState.SKIPPED, reason=reason)))
            return
        self._later.pop(arrival.path, None)
        # All are entered first, so that a killed process knows what is left of the file.
        for detector, observation in wanted.items():
            if self._journal.entry(arrival.path, arrival.size, arrival.modified_ns, detector) is None:
                self._journal.write(replace(entry, detector=detector, exposure=observation.exposure_id))
        for observation in wanted.values():
            self._process(arrival, observation)

    def _process(self, arrival: Arrival, observation: Observation) -> None:
        entry = self._journal.entry(arrival.path, arrival.size, arrival.modified_ns, observation.detector)
        if entry is None or entry.state is not FileState.STARTED:
            return
        state, reason = self._verdict(entry, observation)
        if state is not None:
            self._settle(Report(replace(entry, state=state, reason=reason), observation))
            return
        entry = replace(entry, attempts=entry.attempts + 1)
        self._journal.write(entry)
        begin = self._now()
        complete = arrival.modified_ns / 1e9
        visit = announcement_of(observation, begin)
        image = self._processor.process(visit, arrival.path, observation.exposure_id, complete)
        end = self._now()
        # For a file that was there before, only the processing counts.
        seconds = end - (complete if begin - complete < 30.0 else begin)
        outcome = image.outcome
        if outcome.status is Status.RETRIABLE and entry.attempts < MOST_ATTEMPTS:
            _log.warning("%s is tried again: %s", arrival.path, outcome.reason)
            delay = min(_FIRST_DELAY * 2 ** (entry.attempts - 1), _LONGEST_DELAY)
            self._later[arrival.path] = self._now() + delay
            return
        state = _state(outcome.status, outcome.reason)
        self._settle(Report(replace(entry, state=state, reason=outcome.reason), observation, image, seconds))

    def _verdict(self, entry: Entry, observation: Observation) -> tuple[FileState | None, str]:
        """Return the state of an image that is not to be processed, with the reason."""
        if observation.instrument != self._instrument:
            return FileState.SET_ASIDE, f"It is from {observation.instrument}, not {self._instrument}."
        if observation.observation_type == "unknown":
            return FileState.SET_ASIDE, (
                "Its header does not say what kind of frame it is: see header.observation_type in "
                "instrument.yaml, where constant: science is the kind of headers without one."
            )
        if observation.observation_type != "science":
            return FileState.SKIPPED, f"It is a {observation.observation_type} exposure."
        same = self._journal.settled_exposure(observation.exposure_id, observation.detector)
        if same is not None:
            return FileState.SKIPPED, f"Exposure {observation.exposure_id} was processed from {same.path}."
        if entry.attempts >= MOST_ATTEMPTS:
            return FileState.SET_ASIDE, f"The process died {entry.attempts} times on it."
        try:
            announcement_of(observation, self._now()).require_usable()
        except InvalidVisitError as error:
            return FileState.SET_ASIDE, error.reason
        return None, ""

    def _settle(self, report: Report) -> None:
        self._journal.write(report.entry)
        self.totals.add(report)
        self._tell(report)


def _state(status: Status, reason: str) -> FileState:
    if status is Status.PROCESSED:
        return FileState.DONE
    if status is Status.SKIPPED:
        return FileState.SKIPPED
    # A process that was killed after the APDB's commit finds its own sources there.
    if IN_APDB in reason:
        return FileState.DONE
    return FileState.SET_ASIDE
