"""Prometheus metrics of the fan-out."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

__all__ = ["FanOutMetrics"]


class FanOutMetrics:
    """Counters, gauges and histograms of messages.

    Parameters
    ----------
    registry
        Registry; by default a new one for each instance.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self.received = Counter(
            "next_visit_messages", "Messages read from the next_visit topic", registry=self.registry
        )
        self.undecodable = Counter(
            "next_visit_undecodable_messages", "Messages that are not a visit", registry=self.registry
        )
        self.skipped = Counter(
            "next_visit_skipped_visits", "Visits not fanned out", ["reason"], registry=self.registry
        )
        self.in_flight = Gauge(
            "fan_out_requests_in_flight", "Visit-detectors awaiting their answer", registry=self.registry
        )
        self.waiting = Gauge(
            "fan_out_waiting_visit_detectors",
            "Visit-detectors that were accepted and are not settled; at MAX_FAN_OUT_MESSAGES, no further "
            "visit is read",
            registry=self.registry,
        )
        self.seconds_until_out = Histogram(
            "fan_out_seconds",
            "Seconds from reading a visit until its last message is sent",
            ["instrument"],
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
            registry=self.registry,
        )
        self.answers = Counter(
            "fan_out_answers",
            "Answers by HTTP status, 'accepted' of a stream, or 'unreachable'",
            ["instrument", "status"],
            registry=self.registry,
        )
        self.retries = Counter(
            "fan_out_retries", "Requests sent again after a 503", ["instrument"], registry=self.registry
        )

    def expect_answers(self, instruments: Iterable[str]) -> None:
        """Start counts at 0, because Prometheus counts increases from the first value that it reads.

        Parameters
        ----------
        instruments
            Instruments whose visits will be fanned out.
        """
        for instrument in instruments:
            self.answers.labels(instrument, "unreachable")
