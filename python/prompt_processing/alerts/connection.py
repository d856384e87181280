"""The producer that the alerts of a process's visits share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from confluent_kafka import Producer

from prompt_processing.transport.kafka import KafkaSettings, Refusals, make_producer

__all__ = ["AlertConnection", "AlertProducer"]


@dataclass(slots=True)
class AlertProducer:
    """A producer, and what it is told.

    Attributes
    ----------
    producer : `confluent_kafka.Producer`
        Of Kafka.
    sound : `bool`
        Set by its user where the broker has answered for every message: only
        then the next visit gets it too. One that was purged may number its messages anew.
    """

    producer: Producer
    refusals: Refusals
    sound: bool = False

    @property
    def refusal(self) -> str | None:
        """Why the broker does not let this client in; `None` if it does."""
        return self.refusals.reason


@dataclass(slots=True)
class AlertConnection:
    """A producer that is made for the first visit and kept while all goes well.

    A new one has to find the cluster, show its password and get an id before
    the first alert leaves.
    """

    _kept: dict[tuple[KafkaSettings, float], AlertProducer] = field(default_factory=dict)

    @contextmanager
    def producer(self, broker: KafkaSettings, timeout_seconds: float) -> Iterator[AlertProducer]:
        """Give a producer for as long as a visit's alerts take.

        Parameters
        ----------
        broker : `KafkaSettings`
            The cluster.
        timeout_seconds : `float`
            How long a message may wait for its answer.

        Yields
        ------
        producer : `AlertProducer`
            The one of the visit before if that was sound, or else a new one.
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
