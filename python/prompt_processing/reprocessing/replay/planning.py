"""Plan a replay: when each message is sent, and with which times inside."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from prompt_processing.domain.clock import tai_to_utc, utc_to_tai
from prompt_processing.domain.visit import NextVisit

from .recording import Kind, Recorded

__all__ = ["Sending", "plan_replay", "restamped_notice", "restamped_visit"]


@dataclass(frozen=True, slots=True)
class Sending:
    """A message to send.

    Attributes
    ----------
    after
        Seconds after the begin of the replay.
    kind
        Announcement or arrival.
    recorded
        When the message was published at night, Unix seconds, UTC.
    text
        The message of the night.
    """

    after: float
    kind: Kind
    recorded: float
    text: str


def plan_replay(
    messages: Iterable[Recorded], speed: float, longest_pause: float | None = None
) -> list[Sending]:
    """Return what is sent when.

    Parameters
    ----------
    messages
        Messages of a night.
    speed
        How many times faster than the night; positive.
    longest_pause
        Longest time between two messages, seconds of the replay; clouds need not be waited for. By
        default pauses stay as they were.

    Returns
    -------
    sendings
        In the order of time; messages of the same time stay in their order. The first is sent at once.

    Raises
    ------
    ValueError
        Raised if the speed is not positive.
    """
    if not speed > 0.0:
        raise ValueError(f"The speed must be positive, not {speed}.")
    order = sorted(messages, key=lambda one: one.time)
    sendings: list[Sending] = []
    after = 0.0
    for before, one in zip([None, *order], order, strict=False):
        pause = 0.0 if before is None else (one.time - before.time) / speed
        after += pause if longest_pause is None else min(pause, longest_pause)
        sendings.append(Sending(after, one.kind, one.time, one.text))
    return sendings


def restamped_visit(sending: Sending, now: float, speed: float) -> NextVisit:
    """Return an announcement with the times of its replay, so that no receiver takes it for an old one.

    The group, and all else that identifies the visit, stays.

    Parameters
    ----------
    sending
        An announcement.
    now
        Time of the sending, Unix seconds, UTC.
    speed
        How many times faster than the night; lead time and duration shrink by it.
    """
    visit = NextVisit.parse(sending.text)
    lead = (tai_to_utc(visit.startTime) - sending.recorded) / speed
    return visit.model_copy(
        update={
            "private_sndStamp": utc_to_tai(now),
            "startTime": utc_to_tai(now + lead),
            "duration": visit.duration / speed,
        }
    )


def restamped_notice(sending: Sending, now: float) -> str:
    """Return an arrival notice with the time of its replay."""
    event: dict[str, Any] = json.loads(sending.text)
    stamp = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    for record in event.get("Records", []):
        if "eventTime" in record:
            record["eventTime"] = stamp
    return json.dumps(event)
