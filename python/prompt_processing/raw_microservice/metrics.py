"""Prometheus metrics of the raw microservice."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

__all__ = ["MicroserviceMetrics"]


class MicroserviceMetrics:
    """Counters of requests by answer.

    Parameters
    ----------
    registry : `prometheus_client.CollectorRegistry`, optional
        Registry; a new one by default.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._questions = Counter(
            "raw_microservice_questions",
            "Requests by answer: present, absent, impossible, or unknown because the bucket failed.",
            ["answer"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "raw_microservice_answer_seconds",
            "Time that an answer took.",
            registry=self.registry,
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8),
        )

        # Prometheus counts increases from the first value that it reads, which must be 0.
        for answer in ("present", "absent", "impossible", "unknown"):
            self._questions.labels(answer)

    def answered(self, answer: str, seconds: float) -> None:
        """Count a request.

        Parameters
        ----------
        answer : `str`
            The answer.
        seconds : `float`
            Duration.
        """
        self._questions.labels(answer).inc()
        self._seconds.observe(seconds)
