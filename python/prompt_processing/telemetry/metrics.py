"""Metrics for Prometheus.

If ``PROMETHEUS_MULTIPROC_DIR`` is set before the client library is imported,
all processes of a service write to files in that directory, and any of them can
report the sum.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

from prompt_processing.domain.outcome import STAGES, Status

_STAGE_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600)


class Metrics:
    """Counters, gauges and histograms of one process.

    Parameters
    ----------
    instrument : `str`
        Instrument, a label of all metrics.
    registry : `prometheus_client.CollectorRegistry`, optional
        Registry; a new one by default.
    """

    def __init__(self, instrument: str, registry: CollectorRegistry | None = None) -> None:
        self.registry = CollectorRegistry() if registry is None else registry
        labels = ("instrument",)
        self._visits = Counter(
            "prompt_visits", "Visits by outcome.", (*labels, "outcome"), registry=self.registry
        )
        self._running = Gauge(
            "prompt_instances_running",
            "Workers that are ready for a visit or busy with one.",
            labels,
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self._processing = Gauge(
            "prompt_instances_processing",
            "Workers that are busy with a visit.",
            labels,
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self._stages = Histogram(
            "prompt_stage_seconds",
            "Time of a visit by stage.",
            (*labels, "stage"),
            registry=self.registry,
            buckets=_STAGE_BUCKETS,
        )
        self._delay = Histogram(
            "prompt_arrival_to_alert_seconds",
            "Seconds from the image's arrival to the acknowledgement of its last alert.",
            labels,
            registry=self.registry,
            buckets=_STAGE_BUCKETS,
        )
        self._undecodable = Counter(
            "prompt_undecodable_messages",
            "Messages that could not be read and were skipped.",
            (*labels, "topic"),
            registry=self.registry,
        )
        self._instrument = instrument
        # Prometheus counts increases from the first value that it reads, which must be 0.
        for status in Status:
            self._visits.labels(instrument, status.label)
        for stage in STAGES:
            self._stages.labels(instrument, stage)
        self._delay.labels(instrument)

    def ready(self) -> None:
        """Record that this process can take a visit."""
        self._running.labels(self._instrument).set(1)

    @contextmanager
    def processing(self) -> Iterator[None]:
        """Count this process as busy for a block."""
        self._processing.labels(self._instrument).set(1)
        try:
            yield
        finally:
            self._processing.labels(self._instrument).set(0)

    def visit_ended(self, outcome: str, stages: Mapping[str, float], arrival_to_alert: float | None) -> None:
        """Count a visit.

        Parameters
        ----------
        outcome : `str`
            Label of the outcome.
        stages : mapping
            Seconds by stage.
        arrival_to_alert : `float` or `None`
            Seconds from the image's arrival to the last alert.
        """
        self._visits.labels(self._instrument, outcome).inc()
        for stage, seconds in stages.items():
            self._stages.labels(self._instrument, stage).observe(max(0.0, seconds))
        if arrival_to_alert is not None:
            self._delay.labels(self._instrument).observe(max(0.0, arrival_to_alert))

    def expect_messages(self, topic: str) -> None:
        """Start the count of undecodable messages on a topic at 0.

        Parameters
        ----------
        topic : `str`
            Topic that will be read.
        """
        self._undecodable.labels(self._instrument, topic)

    def undecodable_message(self, topic: str) -> None:
        """Count a message that was skipped.

        Parameters
        ----------
        topic : `str`
            Topic of the message.
        """
        self._undecodable.labels(self._instrument, topic).inc()

    def render(self) -> bytes:
        """Return all metrics as Prometheus text, including those of sibling processes."""
        return render_all(self.registry)


def render_all(registry: CollectorRegistry | None = None) -> bytes:
    """Return metrics as Prometheus text.

    Parameters
    ----------
    registry : `prometheus_client.CollectorRegistry`, optional
        Registry to report if processes do not share a directory.

    Returns
    -------
    text : `bytes`
        Metrics in the text format 0.0.4.
    """
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        shared = CollectorRegistry()
        multiprocess.MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
        return generate_latest(shared)
    return generate_latest(registry) if registry is not None else b""


def workers_ready() -> int:
    """Count the live workers of the shared directory that are ready.

    Returns
    -------
    workers : `int`
        Number of workers; 0 if processes do not share a directory.
    """
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return 0
    shared = CollectorRegistry()
    multiprocess.MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
    return int(
        sum(
            sample.value
            for family in shared.collect()
            if family.name == "prompt_instances_running"
            for sample in family.samples
        )
    )
