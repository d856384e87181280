"""Send the messages of a plan at their times."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from prompt_processing.domain.visit import NextVisit

from .planning import Sending, restamped_notice, restamped_visit

__all__ = ["ReplayReport", "replay"]

Announce = Callable[[NextVisit], None]
Notify = Callable[[str], None]


@dataclass(slots=True)
class ReplayReport:
    """What a replay has sent.

    Attributes
    ----------
    announcements, arrivals
        Numbers of messages.
    skipped
        Messages without a destination.
    seconds
        Duration.
    latest
        Longest delay of a message behind the plan, seconds; large if the cluster or this machine is too slow.
    """

    announcements: int = 0
    arrivals: int = 0
    skipped: int = 0
    seconds: float = 0.0
    latest: float = 0.0


def replay(
    plan: Sequence[Sending],
    speed: float,
    announce: Announce,
    notify: Notify | None,
    *,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
    on_sent: Callable[[Sending], None] = lambda sending: None,
) -> ReplayReport:
    """Send messages at their times.

    Parameters
    ----------
    plan
        From `~.planning.plan_replay`.
    speed
        The same speed.
    announce
        Sends an announcement.
    notify
        Sends an arrival notice; `None` to send none, where the store publishes them.
    clock, sleep
        Time, Unix seconds, UTC, and how to wait.
    on_sent
        Called with each message that was sent.
    """
    report = ReplayReport()
    begin = clock()
    for sending in plan:
        if (left := begin + sending.after - clock()) > 0.0:
            sleep(left)
        now = clock()
        report.latest = max(report.latest, now - begin - sending.after)
        if sending.kind == "announcement":
            announce(restamped_visit(sending, now, speed))
            report.announcements += 1
        elif notify is not None:
            notify(restamped_notice(sending, now))
            report.arrivals += 1
        else:
            report.skipped += 1
            continue
        on_sent(sending)
    report.seconds = clock() - begin
    return report
