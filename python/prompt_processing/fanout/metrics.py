"""What the fan-out counts, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge

__all__ = ["FanOutMetrics"]


class FanOutMetrics:
    """Counters of messages by their fate.

    Parameters
    ----------
    registry
        Where they are collected; one of its own for each instance unless given.
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
            "next_visit_skipped_visits", "Visits not sent on", ["reason"], registry=self.registry
        )
        self.in_flight = Gauge(
            "fan_out_requests_in_flight", "Visit-detectors awaiting their answer", registry=self.registry
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
