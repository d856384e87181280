"""What pages get: plain, frozen data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = [
    "SETTLED",
    "Attempt",
    "Changes",
    "Detector",
    "Freshness",
    "Minute",
    "Night",
    "Outcome",
    "Page",
    "Percentiles",
    "State",
    "Visit",
    "VisitLatency",
]


class State(StrEnum):
    """State of a visit's detector."""

    WAITING = "waiting"
    """Announced, or to be tried again; no worker is busy with it."""
    PROCESSING = "processing"
    """A worker has begun."""
    LATE = "late"
    """Waiting or processing for longer than a visit may take: its worker may have died."""
    DONE = "done"
    SKIPPED = "skipped"
    """The configuration runs nothing for it."""
    FAILED = "failed"


SETTLED = (State.DONE, State.SKIPPED, State.FAILED)
"""States that are final."""


@dataclass(frozen=True, slots=True)
class Page[T]:
    """Part of a list.

    Attributes
    ----------
    rows
        The rows.
    next
        Argument ``after`` for the following rows; `None` at the end.
    """

    rows: Sequence[T]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class Night:
    """A night of one instrument.

    Attributes
    ----------
    night
        Observing day, ``YYYYMMDD``.
    instrument
        Short name.
    n_visits
        Number of visits.
    states
        Number of visit-detectors by state; all states are there.
    n_alerts, n_sources
        Alerts sent, DiaSources found.
    first, last
        Announcements of the first and the last visit, Unix seconds, UTC.
    """

    night: int
    instrument: str
    n_visits: int
    states: Mapping[State, int]
    n_alerts: int
    n_sources: int
    first: float
    last: float


@dataclass(frozen=True, slots=True)
class Visit:
    """A visit.

    Attributes
    ----------
    night, instrument, group
        Identity; the group is the observatory's id.
    visit
        Id of its (first) exposure; `None` before an image has been read.
    announced
        Unix seconds, UTC.
    survey, filter, ra, dec, rotation, snaps
        As announced; degrees.
    states
        Number of detectors by state; all states are there.
    n_alerts, n_sources
        Sums over the detectors.
    metrics
        Medians over the detectors, as ``task.metric``.
    seconds
        95th percentile by stage.
    last_change
        Unix seconds, UTC.
    """

    night: int
    instrument: str
    group: str
    visit: int | None
    announced: float
    survey: str
    filter: str
    ra: float | None
    dec: float | None
    rotation: float | None
    snaps: int
    states: Mapping[State, int]
    n_alerts: int
    n_sources: int
    metrics: Mapping[str, float]
    seconds: Mapping[str, float]
    last_change: float


@dataclass(frozen=True, slots=True)
class Detector:
    """A visit's detector.

    Attributes
    ----------
    night, instrument, group, visit, detector
        Identity; visit as in `Visit`.
    state
        State now.
    reason
        Why, one sentence; empty before an attempt has ended.
    announced
        Announcement of the visit, Unix seconds, UTC.
    began, ended
        Times of the attempt that counts.
    n_attempts
        Number of attempts.
    n_alerts, n_sources
        Alerts sent, DiaSources found.
    arrival_to_alert
        Seconds from the image's arrival to the last alert.
    stages, tasks, counts, metrics
        As in `~prompt_processing.domain.outcome_message.OutcomeMessage`.
    """

    night: int
    instrument: str
    group: str
    visit: int | None
    detector: int
    state: State
    reason: str
    announced: float
    began: float | None
    ended: float | None
    n_attempts: int
    n_alerts: int
    n_sources: int
    arrival_to_alert: float | None
    stages: Mapping[str, float]
    tasks: Mapping[str, float]
    counts: Mapping[str, float]
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a worker.

    Attributes
    ----------
    attempt
        Id.
    began, ended
        Unix seconds, UTC; `None` if unknown.
    status
        Label of the outcome; empty while it runs.
    reason
        One sentence.
    host, software
        Where it ran, and what.
    """

    attempt: str
    began: float | None
    ended: float | None
    status: str
    reason: str
    host: str
    software: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that is known of a visit's detector.

    Attributes
    ----------
    detector
        State, reason and numbers.
    status, retry, pipeline, exposures, exported, image_arrival, last_alert, host, software
        Of the attempt that counts, as in the message.
    attempts
        The last attempts, in order of time.
    """

    detector: Detector
    status: str
    retry: str | None
    pipeline: str | None
    exposures: tuple[int, ...]
    exported: int | None
    image_arrival: float | None
    last_alert: float | None
    host: str
    software: str
    attempts: Sequence[Attempt] = ()


@dataclass(frozen=True, slots=True)
class Minute:
    """Numbers of visit-detectors in one minute of a night.

    Attributes
    ----------
    start
        Unix seconds, UTC.
    announced, done, skipped, failed
        Announced or settled in this minute.
    alerts
        Alerts of those that were done.
    """

    start: float
    announced: int = 0
    done: int = 0
    skipped: int = 0
    failed: int = 0
    alerts: int = 0


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Distribution of seconds, to about 3 %.

    Attributes
    ----------
    n
        Number of values.
    p50, p95, p99, largest
        Percentiles.
    """

    n: int
    p50: float
    p95: float
    p99: float
    largest: float


@dataclass(frozen=True, slots=True)
class VisitLatency:
    """Seconds of a visit by stage.

    Attributes
    ----------
    group, visit, announced
        As in `Visit`.
    p50, p95
        Percentiles over the detectors, by stage; ``arrival_to_alert`` is one of them.
    """

    group: str
    visit: int | None
    announced: float
    p50: Mapping[str, float] = field(default_factory=dict)
    p95: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Changes:
    """What has changed since a cursor.

    Attributes
    ----------
    rows
        Detectors, oldest change first.
    cursor
        Argument of the next call.
    more
        Whether the limit cut the list.
    """

    rows: Sequence[Detector]
    cursor: int
    more: bool = False


@dataclass(frozen=True, slots=True)
class Freshness:
    """How recent the database is.

    Attributes
    ----------
    cursor
        Number of the last change.
    projected
        When the projector last looked for messages, Unix seconds, UTC; 0 if it never ran.
    n_malformed
        Messages that could not be read.
    """

    cursor: int
    projected: float
    n_malformed: int
