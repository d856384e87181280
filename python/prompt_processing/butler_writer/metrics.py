"""Prometheus metrics of the writer."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

__all__ = ["WriterMetrics"]


class WriterMetrics:
    """Counters of messages and datasets.

    Parameters
    ----------
    registry : `prometheus_client.CollectorRegistry`, optional
        Registry; a new one by default.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._messages = Counter(
            "butler_writer_messages", "Messages whose outputs were entered.", registry=self.registry
        )
        self._datasets = Counter(
            "butler_writer_datasets", "Datasets that were entered.", registry=self.registry
        )
        self.left_behind = Counter(
            "butler_writer_messages_left_behind",
            "Messages that are malformed or in conflict with the repository.",
            registry=self.registry,
        )
        self.failures = Counter(
            "butler_writer_failures",
            "Attempts that failed because database or store did not answer.",
            registry=self.registry,
        )
        self._seconds = Histogram(
            "butler_writer_batch_seconds",
            "Time of a batch from its last message to its commit.",
            registry=self.registry,
            buckets=(0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120),
        )

    def batch_entered(self, messages: int, datasets: int, seconds: float) -> None:
        """Count a batch.

        Parameters
        ----------
        messages, datasets : `int`
            Numbers of entered messages and datasets.
        seconds : `float`
            Duration.
        """
        self._messages.inc(messages)
        self._datasets.inc(datasets)
        self._seconds.observe(seconds)
