"""Outcome of a visit, and the time of its stages."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

from prompt_processing.domain.errors import RetryAdvice

Stage = Literal["queue", "preload", "wait", "ingest", "pipeline", "alerts", "export"]
"""A part of a visit's time that operators watch."""

STAGES: tuple[Stage, ...] = ("queue", "preload", "wait", "ingest", "pipeline", "alerts", "export")


class Status(Enum):
    """End of a visit, with the corresponding HTTP status."""

    PROCESSED = ("processed", 200)
    MALFORMED = ("malformed", 400)
    STALE = ("stale", 403)
    SKIPPED = ("skipped", 422)
    INVALID = ("invalid", 422)
    FAILED = ("failed", 500)
    RETRIABLE = ("retriable", 503)

    def __init__(self, label: str, http: int) -> None:
        self.label = label
        self.http = http


class StageTimes:
    """Seconds spent in each stage so far.

    Parameters
    ----------
    monotonic : callable, optional
        Returns the seconds of a monotonic clock.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._seconds: dict[Stage, float] = {}
        self.current: Stage | None = None

    @contextmanager
    def measure(self, stage: Stage) -> Iterator[None]:
        """Add the duration of a block, even if it fails, to a stage.

        Parameters
        ----------
        stage : `str`
            The stage.
        """
        start = self._monotonic()
        self.current = stage
        try:
            yield
        finally:
            self.add(stage, self._monotonic() - start)

    def add(self, stage: Stage, seconds: float) -> None:
        """Add seconds that were measured elsewhere.

        Parameters
        ----------
        stage : `str`
            The stage.
        seconds : `float`
            Duration.
        """
        self._seconds[stage] = self._seconds.get(stage, 0.0) + seconds

    def as_dict(self) -> dict[str, float]:
        """Return the seconds by stage, in the order of the visit."""
        return {stage: round(self._seconds[stage], 4) for stage in STAGES if stage in self._seconds}


@dataclass(frozen=True)
class Outcome:
    """Outcome of a visit.

    Attributes
    ----------
    status : `Status`
        How the visit ended.
    reason : `str`
        One sentence that says what was done or what failed.
    retry : {"useless", "unsafe"} or `None`
        Reason why a failed visit must not be sent again.
    stages : mapping
        Seconds by stage.
    pipeline : `str` or `None`
        Stem of the main pipeline that ran.
    tasks : mapping
        Seconds by task label.
    counts : mapping
        Counts of the pipeline: DiaSources, alerts and so on.
    exposures : `tuple` [`int`]
        Exposure ids that were processed.
    snaps_expected : `int`
        Images that the visit announced; 0 if unknown.
    exported : `int` or `None`
        Number of datasets handed over.
    image_arrival, last_alert : `float` or `None`
        Unix seconds, UTC: arrival of the last image that was used, and the
        broker's acknowledgement of the last alert.
    """

    status: Status
    reason: str
    retry: RetryAdvice | None = None
    stages: Mapping[str, float] = field(default_factory=dict)
    pipeline: str | None = None
    tasks: Mapping[str, float] = field(default_factory=dict)
    counts: Mapping[str, Any] = field(default_factory=dict)
    exposures: tuple[int, ...] = ()
    snaps_expected: int = 0
    exported: int | None = None
    image_arrival: float | None = None
    last_alert: float | None = None

    @property
    def arrival_to_alert(self) -> float | None:
        """Seconds from the image's arrival to the last alert, if there was one."""
        if self.image_arrival is None or self.last_alert is None:
            return None
        return self.last_alert - self.image_arrival

    def as_dict(self) -> dict[str, Any]:
        """Return the form for logs and HTTP bodies."""
        delay = self.arrival_to_alert
        return {
            "status": self.status.label,
            "http": self.status.http,
            "reason": self.reason,
            "retry": self.retry,
            "stages": dict(self.stages),
            "pipeline": self.pipeline,
            "tasks": {label: round(seconds, 4) for label, seconds in self.tasks.items()},
            "counts": dict(self.counts),
            "exposures": list(self.exposures),
            "snaps_expected": self.snaps_expected,
            "exported": self.exported,
            "image_arrival": self.image_arrival,
            "last_alert": self.last_alert,
            "arrival_to_alert": None if delay is None else round(delay, 4),
        }
