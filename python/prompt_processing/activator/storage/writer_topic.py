"""The topic that the Butler writer service reads."""

from __future__ import annotations

import logging
from typing import Self

from confluent_kafka import KafkaException, Producer

from prompt_processing.butler.messages import VisitOutputs
from prompt_processing.domain.errors import RetriableError
from prompt_processing.settings.worker import Settings
from prompt_processing.transport.kafka import KafkaSettings, Refusals, make_producer

_LOG = logging.getLogger("lsst.activator.storage.writer_topic")

_MAX_MESSAGE_BYTES = 10 * 1024 * 1024


class WriterTopic:
    """Publish the outputs of visits.

    Parameters
    ----------
    kafka : `~prompt_processing.transport.kafka.KafkaSettings`
        Settings of the cluster.
    topic : `str`
        Name of the topic.
    timeout : `float`, optional
        Seconds within which the broker has to acknowledge a message.
    """

    def __init__(self, kafka: KafkaSettings, topic: str, timeout: float = 20.0) -> None:
        self._kafka = kafka
        self._topic = topic
        self._timeout = timeout
        self._producer: Producer | None = None
        self._refusals = Refusals(kafka)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Make the topic from a worker's settings, which are known to be complete."""
        assert settings.writer_kafka is not None, "USE_KAFKA_BUTLER_WRITER needs a cluster"
        return cls(settings.writer_kafka, settings.butler_writer_kafka_topic or "")

    def publish(self, outputs: VisitOutputs) -> None:
        """Publish the outputs of one visit, and wait for the acknowledgement.

        Parameters
        ----------
        outputs : `~prompt_processing.butler.messages.VisitOutputs`
            The message.

        Raises
        ------
        RetriableError
            Raised if the broker does not acknowledge the message in time.
        """
        if self._producer is None:
            self._producer = make_producer(
                self._kafka,
                on_error=self._refusals,
                enable_idempotence=True,
                compression_type="zstd",
                message_max_bytes=_MAX_MESSAGE_BYTES,
                message_timeout_ms=int(self._timeout * 1000),
                linger_ms=0,
            )
        failures: list[str] = []
        self._refusals.reason = None
        try:
            self._producer.produce(
                self._topic,
                outputs.model_dump_json().encode(),
                on_delivery=lambda error, _: failures.append(error.str()) if error is not None else None,
            )
            left = self._producer.flush(self._timeout + 1.0)
        except (KafkaException, BufferError) as error:
            raise RetriableError(f"The outputs cannot be published to {self._topic}: {error}") from error
        if left or failures:
            # A message still queued would be sent later, for a visit that has been reported as failed.
            self._producer.purge()
            self._producer.flush(1.0)
            reason = self._refusals.reason or (failures[0] if failures else "no acknowledgement in time")
            raise RetriableError(f"The outputs cannot be published to {self._topic}: {reason}")
