"""What the board shows of a night, read at most once a second whatever the number of viewers."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from prompt_processing.nights.reading import Nights, NightsUnavailableError
from prompt_processing.nights.records import (
    Detector,
    Minute,
    Night,
    Percentiles,
    State,
    Visit,
    VisitLatency,
)

__all__ = ["Choice", "Snapshot", "SnapshotReader"]

N_FOCAL_PLANES = 3
_N_VISITS = 12
_N_ERRORS = 12
_N_NIGHTS = 30
_N_LATENCIES = 100
_LEAST_S = 1.0
"""Seconds for which a snapshot is used without asking."""
_MOST_S = 10.0
"""Seconds after which it is read again although nothing has changed: waiting detectors become late."""
_PATIENCE_S = 1.0
"""Most seconds for which a viewer waits for another's reading, if the last one is older than that."""
_MOST_KEPT = 16


@dataclass(frozen=True, slots=True)
class Choice:
    """What a viewer wants to see.

    Attributes
    ----------
    night
        Observing day, ``YYYYMMDD``; the newest by default.
    instrument
        Short name; all by default.
    """

    night: int | None = None
    instrument: str | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A night at one moment.

    Attributes
    ----------
    night
        Observing day; `None` if the database has no night.
    read
        When the database was read, Unix seconds, UTC; 0 if it never could be.
    projected
        When the projector last looked for news.
    problem
        Why the data are old; empty if they are not.
    cursor
        Number of the last change.
    """

    night: int | None = None
    read: float = 0.0
    projected: float = 0.0
    problem: str = ""
    cursor: int = -1
    choice: Choice = Choice()
    nights: Sequence[Night] = ()
    states: Mapping[State, int] = field(default_factory=dict)
    n_alerts: int = 0
    timeline: Sequence[Minute] = ()
    latencies: Mapping[str, Percentiles] = field(default_factory=dict)
    latency_by_visit: Sequence[VisitLatency] = ()
    visits: Sequence[Visit] = ()
    detectors: Sequence[Sequence[Detector]] = ()
    errors: Sequence[Detector] = ()

    @property
    def instruments(self) -> list[str]:
        """Instruments of the night."""
        return sorted({one.instrument for one in self.nights if one.night == self.night})


class SnapshotReader:
    """Read snapshots; threads share them.

    Parameters
    ----------
    nights
        The database.
    now, monotonic
        Return Unix seconds (UTC), and the seconds of a monotonic clock.
    """

    def __init__(
        self,
        nights: Nights,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._nights = nights
        self._now = now
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._kept: OrderedDict[Choice, tuple[float, float, Snapshot]] = OrderedDict()

    def read(self, choice: Choice) -> Snapshot:
        """Return a snapshot; if the database does not answer, the last one with the problem.

        Parameters
        ----------
        choice
            What to show.
        """
        known = self._kept.get(choice)
        # One reader at a time. The others do not wait for it, unless what they could show is missing or old:
        # the last viewer may have left hours ago.
        if known is None:
            self._lock.acquire()
        elif self._monotonic() - known[0] > _MOST_S:
            if not self._lock.acquire(timeout=_PATIENCE_S):
                return known[2]
        elif not self._lock.acquire(blocking=False):
            return known[2]
        try:
            asked, full, kept = self._kept.get(
                choice, (float("-inf"), float("-inf"), Snapshot(choice=choice))
            )
            start = self._monotonic()
            if start - asked < _LEAST_S:
                return kept
            try:
                fresh = self._nights.freshness()
                if fresh.cursor == kept.cursor and not kept.problem and start - full < _MOST_S:
                    kept = replace(kept, read=self._now(), projected=fresh.projected)
                else:
                    kept = self._read(choice, fresh.cursor, fresh.projected, kept)
                    full = start
            except NightsUnavailableError as error:
                kept = replace(kept, problem=str(error))
            # After the query: one that takes long is not repeated at once.
            self._kept[choice] = self._monotonic(), full, kept
            self._kept.move_to_end(choice)
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
            return kept
        finally:
            self._lock.release()

    def _read(self, choice: Choice, cursor: int, projected: float, before: Snapshot) -> Snapshot:
        found = self._nights
        nights = found.nights(_N_NIGHTS).rows
        base = Snapshot(read=self._now(), projected=projected, cursor=cursor, choice=choice, nights=nights)
        night = choice.night if choice.night is not None else (nights[0].night if nights else None)
        if night is None:
            return base
        only = choice.instrument
        visits = found.visits(night, _N_VISITS, instrument=only).rows
        own = [
            one
            for one in found.nights(_N_NIGHTS, instrument=only, after=f"{night + 1}:").rows
            if one.night == night
        ]
        # A visit that has not changed has the same detectors, whose rows take longest to read.
        known = list(zip(before.visits, before.detectors, strict=False))
        detectors = []
        for visit in visits[:N_FOCAL_PLANES]:
            same = next((one for other, one in known if other == visit), None)
            if same is None:
                same = found.detectors(visit.group, instrument=visit.instrument)
            detectors.append(same)
        return replace(
            base,
            night=night,
            states=_with_late(own, found.in_time(night, instrument=only)),
            n_alerts=sum(one.n_alerts for one in own),
            timeline=found.timeline(night, instrument=only),
            latencies=found.latencies(night, instrument=only),
            latency_by_visit=found.latency_by_visit(night, instrument=only, last=_N_LATENCIES),
            visits=visits,
            detectors=detectors,
            errors=found.errors(night, _N_ERRORS, instrument=only).rows,
        )


def _with_late(nights: Sequence[Night], in_time: Mapping[State, int]) -> dict[State, int]:
    """Sum up states; what is unsettled and not of a visit that still has time is late."""
    total = {state: sum(one.states[state] for one in nights) for state in State}
    unsettled = total[State.WAITING] + total[State.PROCESSING] + total[State.LATE]
    return {**total, **in_time, State.LATE: max(0, unsettled - sum(in_time.values()))}
