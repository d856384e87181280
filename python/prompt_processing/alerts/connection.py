"""The producer that the alerts of a process's visits share."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from confluent_kafka import KafkaError, Producer

from prompt_processing.transport.kafka import KafkaSettings, make_producer

__all__ = ["AlertConnection", "AlertProducer"]

_LOG = logging.getLogger("lsst.prompt_processing.alerts")


@dataclass(slots=True)
class _ClientErrors:
    """Remembers why the broker lets nobody in: of an alert that waits for it only the time runs out."""

    refusal: str | None = None

    def __call__(self, error: KafkaError) -> None:
        if error.code() in (KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED):
            self.refusal = "it does not accept AP_KAFKA_PRODUCER_USERNAME with AP_KAFKA_PRODUCER_PASSWORD"
        else:
            # librdkafka reconnects by itself.
            _LOG.warning("Kafka: %s", error.str())


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
    errors: _ClientErrors
    sound: bool = False

    @property
    def refusal(self) -> str | None:
        """Why the broker lets nobody in; `None` if it does not say."""
        return self.errors.refusal


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
    errors = _ClientErrors()
    producer = make_producer(
        broker,
        on_error=errors,
        enable_idempotence=True,
        linger_ms=5,
        compression_type="snappy",
        message_timeout_ms=int(1000 * timeout_seconds),
    )
    return AlertProducer(producer, errors)
