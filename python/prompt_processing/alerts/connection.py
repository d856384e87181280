"""The Kafka producer of alerts, shared by the visits of a process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from confluent_kafka import Producer

from prompt_processing.transport.kafka import KafkaSettings, Refusals, make_producer

__all__ = ["AlertConnection", "AlertProducer"]


@dataclass(slots=True)
class AlertProducer:
    """A producer and the state of its connection.

    Attributes
    ----------
    producer : `confluent_kafka.Producer`
        The producer.
    sound : `bool`
        Set by the user after the broker has answered for every message. Only
        then the next visit reuses it, because a purged producer may number its messages again.
    """

    producer: Producer
    refusals: Refusals
    sound: bool = False

    @property
    def refusal(self) -> str | None:
        """Why the broker refuses this client; `None` if it does not."""
        return self.refusals.reason


@dataclass(slots=True)
class AlertConnection:
    """A producer that is made for the first visit and kept while it works.

    A new producer has to find the cluster, authenticate and obtain an id before
    it sends the first alert.
    """

    _kept: dict[tuple[KafkaSettings, float], AlertProducer] = field(default_factory=dict)

    @contextmanager
    def producer(self, broker: KafkaSettings, timeout_seconds: float) -> Iterator[AlertProducer]:
        """Lend a producer for the alerts of one visit.

        Parameters
        ----------
        broker : `KafkaSettings`
            Settings of the cluster.
        timeout_seconds : `float`
            Seconds within which a message must be acknowledged.

        Yields
        ------
        producer : `AlertProducer`
            The producer of the previous visit if it was sound, or a new one.
        """
        key = broker, timeout_seconds
        ours = self._kept.pop(key, None) or _make(broker, timeout_seconds)
        ours.sound = False
        yield ours
        if ours.sound:
            self._kept[key] = ours


def _make(broker: KafkaSettings, timeout_seconds: float) -> AlertProducer:
    refusals = Refusals(broker)
    producer = make_producer(
        broker,
        on_error=refusals,
        enable_idempotence=True,
        linger_ms=5,
        compression_type="snappy",
        message_timeout_ms=int(1000 * timeout_seconds),
    )
    return AlertProducer(producer, refusals)
