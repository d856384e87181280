"""The rules of Knative's pod autoscaler, as its `pkg/autoscaler/scaling/autoscaler.go` has them."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

TICK_S = 2.0
"""Seconds between two decisions (`tick-interval`)."""
MAX_SCALE_UP_RATE = 1000.0
MAX_SCALE_DOWN_RATE = 2.0
PANIC_THRESHOLD = 2.0
"""Times the ready pods' capacity that begins a panic (`panic-threshold-percentage`: 200)."""
PANIC_WINDOW_SHARE = 0.1
"""Of the stable window (`panic-window-percentage`: 10)."""


@dataclass(frozen=True)
class KnativeSettings:
    """What the annotations of a Knative service say."""

    window_s: float = 60.0
    target_utilization: float = 1.0
    scale_down_delay_s: float = 0.0
    min_scale: int = 0
    max_scale: int = 0
    """0 for no limit."""
    initial_scale: int = 1
    retention_s: float = 0.0
    """How long the last pod stays (`scale-to-zero-pod-retention-period`)."""
    timeout_s: float = 600.0
    """`timeoutSeconds`; the activator counts the time in its queue, too."""
    queue_depth: int = 10_000
    """Requests that the activator holds for a revision; more are refused."""


@dataclass
class WindowAverage:
    """The mean of one value a second over the last seconds; of fewer at the beginning."""

    seconds: int
    _values: deque[float] = field(default_factory=deque)
    _total: float = 0.0

    def record(self, value: float) -> None:
        """Add the value of the next second."""
        self._values.append(value)
        self._total += value
        if len(self._values) > self.seconds:
            self._total -= self._values.popleft()

    def value(self) -> float:
        """Return the mean, rounded as Knative rounds it."""
        return round(self._total / len(self._values), 6) if self._values else 0.0


@dataclass
class _WindowMaximum:
    seconds: float
    _values: deque[tuple[float, int]] = field(default_factory=deque)

    def record(self, now: float, value: int) -> int:
        while self._values and self._values[-1][1] <= value:
            self._values.pop()
        self._values.append((now, value))
        while self._values[0][0] <= now - self.seconds:
            self._values.popleft()
        return self._values[0][1]


class KnativeAutoscaler:
    """Decides how many pods there should be, from how many requests there are (`containerConcurrency` 1)."""

    def __init__(self, settings: KnativeSettings) -> None:
        self.settings = settings
        self._stable = WindowAverage(round(settings.window_s))
        self._panic = WindowAverage(max(1, round(settings.window_s * PANIC_WINDOW_SHARE)))
        self._delay = _WindowMaximum(settings.scale_down_delay_s) if settings.scale_down_delay_s else None
        self._panic_since: float | None = None
        self._panic_pods = 0
        self._needed_at: float | None = None

    @property
    def panicking(self) -> bool:
        """Whether only the short window counts, and pods are only added."""
        return self._panic_since is not None

    def record(self, concurrency: float) -> None:
        """Take the mean number of requests, waiting or being processed, of the next second."""
        self._stable.record(concurrency)
        self._panic.record(concurrency)

    def decide(self, now: float, ready_pods: int) -> int:
        """Return how many pods there should be."""
        ready = max(1.0, float(ready_pods))
        up, down = math.ceil(MAX_SCALE_UP_RATE * ready), math.floor(ready / MAX_SCALE_DOWN_RATE)
        for_stable = math.ceil(self._stable.value() / self.settings.target_utilization)
        for_panic = math.ceil(self._panic.value() / self.settings.target_utilization)
        desired = int(min(max(for_stable, down), up))
        over = for_panic / ready >= PANIC_THRESHOLD
        if over:
            self._panic_since = now
        elif self._panic_since is not None and self._panic_since + self.settings.window_s < now:
            self._panic_since, self._panic_pods = None, 0
        if self._panic_since is not None:
            self._panic_pods = max(self._panic_pods, desired, int(min(max(for_panic, down), up)))
            desired = self._panic_pods
        if self._delay is not None:
            desired = self._delay.record(now, desired)
        return self._within_limits(now, desired)

    def _within_limits(self, now: float, desired: int) -> int:
        if desired > 0:
            self._needed_at = now
        elif self._needed_at is not None and now - self._needed_at < self.settings.retention_s:
            desired = 1
        desired = max(desired, self.settings.min_scale)
        return min(desired, self.settings.max_scale) if self.settings.max_scale else desired
