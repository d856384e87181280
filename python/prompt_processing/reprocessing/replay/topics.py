"""Read a night's messages from the topics of the observatory's event stream."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from prompt_processing.domain.errors import MalformedMessageError
from prompt_processing.domain.visit import NextVisit
from prompt_processing.transport.kafka import KafkaSettings, Refusals, make_consumer

from ..errors import ReprocessingError
from .recording import Recorded, announcement, arrival

__all__ = ["read_topics"]

_LOG = logging.getLogger("lsst.prompt_processing.replay")

_ANSWER_S = 15.0
_SILENCE_S = 60.0
_MARGIN_S = 86_400.0


def read_topics(
    kafka: KafkaSettings,
    announcements: str,
    arrivals: str | None,
    decode: Callable[[bytes], NextVisit],
    since: float,
) -> Iterator[Recorded]:
    """Yield the messages that topics hold now.

    Messages that cannot be read are logged and left out; nothing is committed.

    Parameters
    ----------
    kafka
        Cluster.
    announcements, arrivals
        Topics; `None` to read no notices.
    decode
        Decodes an announcement.
    since
        Messages that were published a day or more before this time are not read, Unix seconds, UTC.

    Raises
    ------
    ReprocessingError
        Raised if the cluster does not answer, or has no such topic.
    """
    refusals = Refusals(kafka)
    consumer = make_consumer(
        kafka, f"replay-{uuid.uuid4().hex[:8]}", on_error=refusals, enable_auto_commit=False
    )
    try:
        for message in _messages(consumer, announcements, since):
            with _skipping(message):
                yield announcement(decode(message.value() or b""))
        if arrivals is not None:
            for message in _messages(consumer, arrivals, since):
                with _skipping(message):
                    found = arrival(message.value() or b"", message.timestamp()[1] / 1000.0)
                    if found is not None:
                        yield found
    except KafkaException as failure:
        reason = refusals.reason or failure.args[0].str()
        raise ReprocessingError(f"The night cannot be read from Kafka: {reason}.") from failure
    finally:
        consumer.close()


class _skipping:  # noqa: N801
    """Context that logs a message that cannot be read, and goes on."""

    def __init__(self, message: Message) -> None:
        self._message = message

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, MalformedMessageError):
            return False
        one = self._message
        _LOG.warning(
            "Skipping message %s[%s]@%s: %s", one.topic(), one.partition(), one.offset(), error.reason
        )
        return True


def _messages(consumer: Consumer, topic: str, since: float) -> Iterator[Message]:
    found = consumer.list_topics(topic, timeout=_ANSWER_S).topics.get(topic)
    if found is None or found.error is not None or not found.partitions:
        raise ReprocessingError(f"Kafka has no topic {topic}. What to do: check KAFKA_CLUSTER and the topic.")
    ends = {}
    for partition in found.partitions:
        begin, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_ANSWER_S)
        if end > begin:
            ends[partition] = (begin, end)
    consumer.assign([TopicPartition(topic, partition, begin) for partition, (begin, _) in ends.items()])
    left = {partition: end for partition, (_, end) in ends.items()}
    while left:
        message = consumer.poll(_SILENCE_S)
        if message is None:
            raise ReprocessingError(f"Kafka sends no more of {topic}.")
        if (error := message.error()) is not None:
            raise ReprocessingError(f"Kafka does not send {topic}: {error.str()}.")
        partition, offset = message.partition(), message.offset()
        if message.timestamp()[1] / 1000.0 > since - _MARGIN_S:
            yield message
        if partition is not None and offset is not None and offset + 1 >= left.get(partition, 0):
            left.pop(partition, None)
    consumer.unassign()
