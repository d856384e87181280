"""State of a visit's detector, from its messages in any order and number."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prompt_processing.domain.outcome_message import OutcomeMessage

from .records import SETTLED, Attempt, Detector, Outcome, State

__all__ = ["Content", "detector_of", "merge", "outcome_of"]

_MOST_ATTEMPTS = 20
_FINAL = {
    "processed": State.DONE,
    "skipped": State.SKIPPED,
    "stale": State.FAILED,
    "invalid": State.FAILED,
    "failed": State.FAILED,
    # The sender tries it again.
    "retriable": State.WAITING,
}
_DETAILS = ("retry", "pipeline", "exposures", "exported", "image_arrival", "last_alert", "stages", "tasks")
_NUMBERS = ("counts", "metrics")


@dataclass(frozen=True, slots=True)
class Content:
    """What is kept of a detector's messages.

    Attributes
    ----------
    attempts
        Attempts in order of time, as in `.records.Attempt`.
    details
        Of the attempt that counts: the processed one, or else the last that has ended. Empty without any.
    """

    attempts: tuple[Mapping[str, Any], ...] = ()
    details: Mapping[str, Any] | None = None

    @classmethod
    def load(cls, text: str) -> Content:
        """Read what `dump` wrote."""
        found = json.loads(text)
        return cls(tuple(found["attempts"]), found["details"])

    def dump(self) -> str:
        """Return JSON."""
        return json.dumps({"attempts": self.attempts, "details": self.details})

    @property
    def winner(self) -> Mapping[str, Any] | None:
        """The attempt that counts, if any has ended."""
        return self.details

    @property
    def state(self) -> State:
        """State, apart from lateness, which depends on the time."""
        if self.details is not None and self.details["status"] == "processed":
            # Later attempts only find that the work is done.
            return State.DONE
        if not self.attempts:
            return State.WAITING
        last = self.attempts[-1]
        if last["ended"] is None or self.details is None:
            return State.PROCESSING
        return _FINAL[self.details["status"]]

    @property
    def problem(self) -> bool:
        """Whether the last attempt failed, for good or for now."""
        return self.details is not None and (
            self.state is State.FAILED or (self.state is State.WAITING and bool(self.details["status"]))
        )

    @property
    def changed(self) -> float:
        """Time of the last event of an attempt; 0 without any."""
        times = [one[name] for one in self.attempts for name in ("began", "ended")]
        return max((time for time in times if time is not None), default=0.0)

    @property
    def settled(self) -> float | None:
        """Time at which the state became final."""
        return self.details["ended"] if self.details is not None and self.state in SETTLED else None

    def count(self, name: str) -> int:
        """Return a count of the attempt that counts; 0 if it has none."""
        value = 0 if self.details is None else self.details["counts"].get(name, 0)
        return min(max(int(value), 0), 2**31 - 1)

    @property
    def visit(self) -> int | None:
        """Id of the first exposure, if known."""
        exposures = () if self.details is None else self.details["exposures"]
        return exposures[0] if exposures else None


def merge(before: Content | None, message: OutcomeMessage) -> Content:
    """Add a message; one that is known changes nothing, and the order does not matter.

    Parameters
    ----------
    before
        What the earlier messages say.
    message
        The message.
    """
    content = before or Content()
    if message.event == "announced":
        return content
    attempts = {one["attempt"]: dict(one) for one in content.attempts}
    attempt = attempts.setdefault(message.attempt, _new_attempt(message))
    details = content.details
    if message.event == "began":
        attempt["began"] = message.at
        if details is not None and details["attempt"] == message.attempt:
            details = {**details, "began": message.at}
    else:
        ended = {
            "ended": message.at,
            "status": message.status or "failed",
            "reason": message.reason,
            "began": message.began if attempt["began"] is None else attempt["began"],
            "host": message.host or attempt["host"],
            "software": message.software or attempt["software"],
        }
        attempt.update(ended)
        new = {**attempt, **message.model_dump(mode="json", include={*_DETAILS, *_NUMBERS})}
        if details is None or details["attempt"] == message.attempt or _rank(new) > _rank(details):
            details = new
    ordered = sorted(attempts.values(), key=_time)[-_MOST_ATTEMPTS:]
    return Content(tuple(ordered), details)


def _new_attempt(message: OutcomeMessage) -> dict[str, Any]:
    return {
        "attempt": message.attempt,
        "began": None,
        "ended": None,
        "status": "",
        "reason": "",
        "host": message.host,
        "software": message.software,
    }


def _rank(details: Mapping[str, Any]) -> tuple[bool, float, str]:
    processed = details["status"] == "processed"
    # The first processed one counts, otherwise the last.
    return processed, -details["ended"] if processed else details["ended"], details["attempt"]


def _time(attempt: Mapping[str, Any]) -> tuple[float, str]:
    began, ended = attempt["began"], attempt["ended"]
    return (began if began is not None else ended or 0.0), attempt["attempt"]


def detector_of(row: Mapping[str, Any], late_before: float) -> Detector:
    """Make the record of a detector.

    Parameters
    ----------
    row
        Columns of its visit and its own.
    late_before
        Visits that were announced earlier (Unix seconds) and are not settled are late.
    """
    content = Content.load(row["content"])
    state = content.state
    if state not in SETTLED and row["announced"] < late_before:
        state = State.LATE
    found: Mapping[str, Any] = content.details or {}
    last = content.attempts[-1] if content.attempts else {"began": None, "ended": None}
    shown = found if found and state is not State.PROCESSING else last
    arrival, alert = found.get("image_arrival"), found.get("last_alert")
    return Detector(
        night=row["night"],
        instrument=row["instrument"],
        group=row["group_name"],
        visit=row["visit"],
        detector=row["detector"],
        state=state,
        reason=found.get("reason", ""),
        announced=row["announced"],
        began=shown.get("began"),
        ended=shown.get("ended"),
        n_attempts=len(content.attempts),
        n_alerts=row["n_alerts"],
        n_sources=row["n_sources"],
        arrival_to_alert=None if arrival is None or alert is None else alert - arrival,
        stages=found.get("stages", {}),
        tasks=found.get("tasks", {}),
        counts=found.get("counts", {}),
        metrics=found.get("metrics", {}),
    )


def outcome_of(row: Mapping[str, Any], late_before: float) -> Outcome:
    """Make the record of all that is known of a detector; parameters as for `detector_of`."""
    content = Content.load(row["content"])
    found: Mapping[str, Any] = content.details or (content.attempts[-1] if content.attempts else {})
    return Outcome(
        detector=detector_of(row, late_before),
        status=found.get("status", ""),
        retry=found.get("retry"),
        pipeline=found.get("pipeline"),
        exposures=tuple(found.get("exposures", ())),
        exported=found.get("exported"),
        image_arrival=found.get("image_arrival"),
        last_alert=found.get("last_alert"),
        host=found.get("host", ""),
        software=found.get("software", ""),
        attempts=[Attempt(**one) for one in content.attempts],
    )
