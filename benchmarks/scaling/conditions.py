"""What a night is given: a survey, workers, and a cluster."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Survey:
    """What the telescope does."""

    detectors: int = 189
    hours: float = 10.0
    cadence_s: float = 37.0
    announced_s: float = 20.0
    """Before the shutter opens."""
    exposure_s: float = 30.0
    transfer_s: float = 7.0
    """Readout and transfer, until the image is in the bucket."""
    pauses: tuple[tuple[float, float], ...] = ((0.3, 300.0), (0.6, 2400.0))
    """Share of the night at which nothing is observed, and for how many seconds."""

    def announcements(self) -> Iterator[float]:
        """Yield when visits are announced."""
        now, end = 0.0, self.hours * 3600.0
        pauses = deque((share * end, length) for share, length in self.pauses)
        while now < end:
            if pauses and now >= pauses[0][0]:
                now += pauses.popleft()[1]
                continue
            yield now
            now += self.cadence_s


@dataclass(frozen=True)
class Worker:
    """How long a worker takes: means, and a spread (standard deviation of the logarithm).

    The defaults are those of `bin/demo` with two workers on two cores, one for each.
    """

    preload_s: float = 0.7
    first_preload_s: float = 8.0
    """Of a new worker, which has no calibrations yet."""
    to_last_alert_s: float = 12.0
    export_s: float = 8.5
    spread: float = 0.1


@dataclass(frozen=True)
class Cluster:
    """What pods run on."""

    placing_s: float = 5.0
    """From the decision to the start of the process, and from its end to the first probe: an assumption."""
    pull_s: float = 0.0
    """Of the image, where the node does not have it."""
    start_s: float = 4.9
    """From the start of the process until it accepts visits, as measured: an activator; a stream worker needs
    3.8 s."""
    cold_start_spread: float = 0.25
    pods_per_node: int = 30
    nodes: int = 0
    """0 for no limit."""
    node_failures: float = 0.0
    """A night, all nodes together."""
    node_back_s: float = 300.0
    database_connections: int = 16
    """Statements that the central database works on at a time."""
    preload_database_s: float = 0.15
    export_database_s: float = 0.25

    @property
    def cold_start_s(self) -> float:
        """From the decision to a worker that takes visits."""
        return self.placing_s + self.pull_s + self.start_s
