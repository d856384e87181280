"""Outputs are announced to the Butler writer exactly if the broker acknowledges them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from prompt_processing.activator.storage import writer_topic
from prompt_processing.activator.storage.writer_topic import WriterTopic
from prompt_processing.butler.messages import VisitOutputs
from prompt_processing.domain.errors import RetriableError
from prompt_processing.transport.kafka import KafkaSettings

OUTPUTS = VisitOutputs(dimension_records=[], datasets=[])


@pytest.fixture
def broker() -> Iterator[str]:
    """librdkafka's own cluster; lives as long as the client that made it."""
    host = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "none"})
    metadata = host.list_topics(timeout=10)
    yield ",".join(f"{node.host}:{node.port}" for node in metadata.brokers.values())
    del host


def published(server: str) -> list[bytes]:
    consumer = Consumer({"bootstrap.servers": server, "group.id": "writer"})
    metadata = consumer.list_topics("outputs", timeout=10).topics["outputs"]
    found: list[bytes] = []
    for number in metadata.partitions:
        _, end = consumer.get_watermark_offsets(TopicPartition("outputs", number), timeout=10)
        consumer.assign([TopicPartition("outputs", number, 0)])
        for _ in range(end):
            message = consumer.poll(10)
            assert message is not None
            found.append(message.value() or b"")
    consumer.close()
    return found


def test_outputs_of_each_visit_are_one_message(broker: str) -> None:
    topic = WriterTopic(KafkaSettings(bootstrap_servers=broker), "outputs", timeout=10.0)
    topic.publish(OUTPUTS)
    assert [VisitOutputs.model_validate_json(value) for value in published(broker)] == [OUTPUTS]
    topic.publish(OUTPUTS)
    assert len(published(broker)) == 2


def test_visit_may_be_tried_again_if_the_broker_is_down_and_nothing_is_sent_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Producer] = []

    def make(*arguments: object, **options: object) -> Producer:
        made.append(make_producer(*arguments, **options))
        return made[-1]

    make_producer = writer_topic.make_producer
    monkeypatch.setattr(writer_topic, "make_producer", make)
    topic = WriterTopic(KafkaSettings(bootstrap_servers="127.0.0.1:9"), "outputs", timeout=0.2)
    for _ in range(2):
        with pytest.raises(RetriableError, match=r"cannot be published to outputs: .*(timed out|in time)"):
            topic.publish(OUTPUTS)
    (producer,) = made
    assert len(producer) == 0


def test_outputs_that_the_client_refuses_are_reported(broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_topic, "_MAX_MESSAGE_BYTES", 1000)
    topic = WriterTopic(KafkaSettings(bootstrap_servers=broker), "outputs")
    outputs = VisitOutputs.model_construct(type="x" * 2000, dimension_records=[], datasets=[])
    with pytest.raises(RetriableError, match="MSG_SIZE_TOO_LARGE"):
        topic.publish(outputs)
