"""What a night is given: a survey, workers, and a cluster."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace


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
    without_images: int = 0
    """How many visits in a row, of every twenty, are announced and not observed."""

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

    def has_image(self, number: int) -> bool:
        """Whether the visit that was announced as the night's ``number``-th, from 0, is observed."""
        return number % 20 < 20 - self.without_images


@dataclass(frozen=True)
class Worker:
    """How long a worker takes: means, and a spread (standard deviation of the logarithm).

    The defaults are the CPU seconds that `benchmarks/profile_visit.py` measures for a full LSSTCam detector
    with one worker on an idle machine, and therefore those of a worker on one core.
    """

    preload_s: float = 0.5
    first_preload_s: float = 2.3
    """Of a new worker, which has no calibrations yet."""
    to_last_alert_s: float = 3.0
    first_visit_s: float = 2.1
    """By how much it takes longer in a new worker, as measured with two cores."""
    export_s: float = 1.0
    spread: float = 0.1
    image_wait_s: float = 80.0
    """After the preload, for images that do not come: twice the exposure and `IMAGE_TIMEOUT`."""

    def slower(self, times: float) -> Worker:
        """Return a worker for which everything but waiting takes ``times`` as long."""
        return replace(
            self,
            preload_s=self.preload_s * times,
            first_preload_s=self.first_preload_s * times,
            to_last_alert_s=self.to_last_alert_s * times,
            first_visit_s=self.first_visit_s * times,
            export_s=self.export_s * times,
        )


@dataclass(frozen=True)
class Cluster:
    """What pods run on."""

    placing_s: float = 5.0
    """From the decision to the start of the process, and from its end to the first probe: an assumption."""
    pull_s: float = 0.0
    """Of the image, where the node does not have it."""
    start_s: float = 1.8
    """From the start of the process until it accepts visits, as measured: an activator or a stream worker."""
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
