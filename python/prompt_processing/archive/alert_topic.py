"""Read the alerts that a Kafka topic holds now."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaException, TopicPartition

from prompt_processing.alerts.reading import AlertReader, FoundAlert, UnreadableAlertError
from prompt_processing.transport.kafka import KafkaSettings, Refusals, make_consumer

from .errors import ArchiveError

__all__ = ["read_alert_topic"]

_ANSWER_S = 15.0
_SILENCE_S = 60.0


def read_alert_topic(
    broker: KafkaSettings, topic: str, reader: AlertReader | None = None
) -> Iterator[FoundAlert]:
    """Yield the alerts of a topic from its beginning to its present end.

    No offset is committed: the archive itself knows which alerts it has.

    Parameters
    ----------
    broker
        Cluster of the alert stream.
    topic
        The topic.
    reader
        Decoder.

    Raises
    ------
    ArchiveError
        Raised if the cluster does not answer, or has no such topic.
    """
    reader = reader or AlertReader()
    refusals = Refusals(broker)
    consumer = make_consumer(
        broker, f"archive-{uuid.uuid4().hex[:8]}", on_error=refusals, enable_auto_commit=False
    )
    try:
        ends = _ends(consumer, topic)
        consumer.assign([TopicPartition(topic, partition, begin) for partition, (begin, _) in ends.items()])
        left = {partition: end for partition, (begin, end) in ends.items() if end > begin}
        while left:
            message = consumer.poll(_SILENCE_S)
            if message is None:
                raise ArchiveError(f"Kafka sends no more of {topic}: {refusals.reason or 'no answer'}.")
            if (error := message.error()) is not None:
                raise ArchiveError(f"Kafka does not send {topic}: {error.str()}.")
            yield _found(reader, f"{topic}[{message.partition()}]@{message.offset()}", message.value() or b"")
            if message.offset() + 1 >= left.get(message.partition(), 0):
                left.pop(message.partition(), None)
    except KafkaException as failure:
        reason = refusals.reason or failure.args[0].str()
        raise ArchiveError(f"The alerts of {topic} cannot be read: {reason}.") from failure
    finally:
        consumer.close()


def _ends(consumer: Consumer, topic: str) -> dict[int, tuple[int, int]]:
    found = consumer.list_topics(topic, timeout=_ANSWER_S).topics.get(topic)
    if found is None or found.error is not None or not found.partitions:
        raise ArchiveError(f"Kafka has no topic {topic}. What to do: check AP_KAFKA_SERVER and the topic.")
    return {
        partition: consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_ANSWER_S)
        for partition in found.partitions
    }


def _found(reader: AlertReader, where: str, packet: bytes) -> FoundAlert:
    try:
        return FoundAlert(where, *reader.with_schema(packet))
    except UnreadableAlertError as error:
        return FoundAlert(where, UnreadableAlertError(f"{where}: {error}"))
