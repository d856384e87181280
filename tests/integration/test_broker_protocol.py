"""What clients rely on, at the embedded broker and at Apache Kafka."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from broker_process import BrokerProcess
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from prompt_processing.butler_writer.topics import GROUP, WriterTopics
from prompt_processing.transport.kafka import KafkaSettings

pytestmark = pytest.mark.integration

NewName = Callable[[str], str]

MEMBER = """
import signal, sys
from confluent_kafka import Consumer
servers, group, topic = sys.argv[1:]
consumer = Consumer({
    "bootstrap.servers": servers, "group.id": group, "auto.offset.reset": "earliest",
    "session.timeout.ms": 6000, "heartbeat.interval.ms": 200, "enable.auto.commit": False,
})
def tell(consumer, partitions):
    print(len(partitions), flush=True)
consumer.subscribe([topic], on_assign=tell)
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
while not stopped:
    consumer.poll(0.1)
consumer.close()
"""


@pytest.fixture(scope="module")
def embedded_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with BrokerProcess(tmp_path_factory.mktemp("broker")) as broker:
        yield broker.address


@pytest.fixture(params=["embedded", pytest.param("apache", marks=pytest.mark.services)])
def servers(request: pytest.FixtureRequest) -> str:
    if request.param == "embedded":
        return str(request.getfixturevalue("embedded_servers"))
    return str(request.getfixturevalue("kafka").bootstrap_servers)


def create_topic(servers: str, topic: str, partitions: int = 1) -> str:
    admin = AdminClient({"bootstrap.servers": servers})
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(timeout=20)
    return topic


def produce(servers: str, topic: str, *values: bytes, **options: Any) -> None:
    named = {name.replace("_", "."): value for name, value in options.items()}
    producer = Producer({"bootstrap.servers": servers, "linger.ms": 5, **named})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(20) == 0


@contextmanager
def reader(servers: str, topic: str | None, group: str, **options: Any) -> Iterator[Consumer]:
    """Make a consumer that reads a topic as a member of a group; without a topic it has to be assigned."""
    named = {name.replace("_", "."): value for name, value in options.items()}
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "check.crcs": True,
            **named,
        }
    )
    if topic is not None:
        consumer.subscribe([topic])
    try:
        yield consumer
    finally:
        consumer.close()


def take(consumer: Consumer, n: int, seconds: float = 20.0) -> list[bytes]:
    """Read so many messages; fewer if no more come in time."""
    values: list[bytes] = []
    deadline = time.monotonic() + seconds
    while len(values) < n and time.monotonic() < deadline:
        for message in consumer.consume(n - len(values), 0.2):
            assert message.error() is None, message.error()
            values.append(message.value())
    return values


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_messages_come_back_as_they_were(servers: str, new_name: NewName, compression: str) -> None:
    topic = create_topic(servers, new_name("plain"))
    values = [b"", *(bytes([n]) * 1000 * n for n in range(1, 20))]
    produce(servers, topic, *values, compression_type=compression)
    with reader(servers, topic, new_name("group")) as consumer:
        assert take(consumer, len(values)) == values


def test_reader_goes_on_where_its_group_was(servers: str, new_name: NewName) -> None:
    topic, group = create_topic(servers, new_name("restart")), new_name("group")
    produce(servers, topic, b"1", b"2", b"3", b"4")
    with reader(servers, topic, group) as consumer:
        assert take(consumer, 2) == [b"1", b"2"]
        consumer.commit(offsets=[TopicPartition(topic, 0, 2)], asynchronous=False)
    with reader(servers, topic, group) as consumer:
        assert take(consumer, 2) == [b"3", b"4"]


def test_offsets_are_found_by_end_and_by_time(servers: str, new_name: NewName) -> None:
    topic = create_topic(servers, new_name("offsets"))
    producer = Producer({"bootstrap.servers": servers})
    for second in range(3):
        producer.produce(topic, b"x", timestamp=1_000_000 + 1000 * second)
        assert producer.flush(10) == 0
    with reader(servers, None, new_name("group")) as consumer:
        assert consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10) == (0, 3)
        found = consumer.offsets_for_times([TopicPartition(topic, 0, 1_001_000)], timeout=10)
        assert [position.offset for position in found] == [1]
        consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        assert len(take(consumer, 3)) == 3
        consumer.seek(TopicPartition(topic, 0, 2))
        assert len(take(consumer, 1)) == 1


def test_offset_beyond_the_end_is_an_error_where_no_reset_is_wanted(servers: str, new_name: NewName) -> None:
    topic = create_topic(servers, new_name("beyond"))
    produce(servers, topic, b"1")
    with reader(servers, None, new_name("group"), auto_offset_reset="error") as consumer:
        consumer.assign([TopicPartition(topic, 0, 100)])
        message = consumer.poll(10)
        assert message.error().code() == KafkaError._AUTO_OFFSET_RESET


def test_topics_are_refused_with_the_same_errors(servers: str, new_name: NewName) -> None:
    topic = create_topic(servers, new_name("topic"), 3)
    admin = AdminClient({"bootstrap.servers": servers})
    assert len(admin.list_topics(topic, timeout=10).topics[topic].partitions) == 3
    codes = []
    for wanted in (NewTopic(topic, 1, 1), NewTopic("no/name", 1, 1), NewTopic(new_name("many"), 1, 3)):
        with pytest.raises(KafkaException) as raised:
            admin.create_topics([wanted])[wanted.topic].result(timeout=20)
        codes.append(raised.value.args[0].code())
    assert codes == [
        KafkaError.TOPIC_ALREADY_EXISTS,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.INVALID_REPLICATION_FACTOR,
    ]


def test_members_in_processes_share_the_partitions(servers: str, new_name: NewName) -> None:
    topic, group = create_topic(servers, new_name("shared"), 4), new_name("group")

    def member() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", MEMBER, servers, group, topic]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def assigned(process: subprocess.Popen[str]) -> int:
        assert process.stdout is not None
        return int(process.stdout.readline())

    with member() as first:
        assert assigned(first) == 4
        with member() as second:
            assert (assigned(second), assigned(first)) == (2, 2)
            second.terminate()
        assert assigned(first) == 4
        with member() as third:
            assert (assigned(third), assigned(first)) == (2, 2)
            third.kill()
        # Nobody has said good-bye: the group waits for the session's end.
        assert assigned(first) == 4
        first.terminate()


def test_only_committed_transactions_are_read(servers: str, new_name: NewName) -> None:
    topic = create_topic(servers, new_name("transactions"))
    producer = Producer({"bootstrap.servers": servers, "transactional.id": new_name("id")})
    producer.init_transactions(20)
    for value, end in (
        (b"1", producer.commit_transaction),
        (b"aborted", producer.abort_transaction),
        (b"2", producer.commit_transaction),
    ):
        producer.begin_transaction()
        producer.produce(topic, value)
        assert producer.flush(10) == 0
        end(20)
    producer.begin_transaction()
    producer.produce(topic, b"open")
    assert producer.flush(10) == 0
    produce(servers, topic, b"after the open one")
    with reader(servers, topic, new_name("group"), isolation_level="read_uncommitted") as consumer:
        assert take(consumer, 5) == [b"1", b"aborted", b"2", b"open", b"after the open one"]
    with reader(servers, topic, new_name("group"), isolation_level="read_committed") as consumer:
        assert take(consumer, 3, seconds=2) == [b"1", b"2"]
        producer.abort_transaction(20)
        assert take(consumer, 1) == [b"after the open one"]


def test_second_producer_of_a_name_shuts_out_the_first(servers: str, new_name: NewName) -> None:
    topic, name = create_topic(servers, new_name("fenced")), new_name("id")
    first, second = (Producer({"bootstrap.servers": servers, "transactional.id": name}) for _ in range(2))
    first.init_transactions(20)
    first.begin_transaction()
    first.produce(topic, b"first")
    assert first.flush(10) == 0
    second.init_transactions(20)
    with pytest.raises(KafkaException) as raised:
        first.commit_transaction(20)
    assert raised.value.args[0].fatal()
    second.begin_transaction()
    second.produce(topic, b"second")
    second.commit_transaction(20)
    with reader(servers, topic, new_name("group"), isolation_level="read_committed") as consumer:
        assert take(consumer, 1) == [b"second"]


def test_offsets_count_with_the_transaction_that_holds_them(servers: str, new_name: NewName) -> None:
    source, out = create_topic(servers, new_name("in")), create_topic(servers, new_name("out"))
    produce(servers, source, b"1", b"2", b"3")
    producer = Producer({"bootstrap.servers": servers, "transactional.id": new_name("id")})
    producer.init_transactions(20)
    with reader(servers, source, new_name("group")) as consumer:
        place = TopicPartition(source, 0)

        def committed() -> int:
            return int(consumer.committed([place], timeout=10)[0].offset)

        assert len(take(consumer, 3)) == 3
        for offset, end, expected in (
            (3, producer.abort_transaction, -1001),
            (2, producer.commit_transaction, 2),
            (3, producer.abort_transaction, 2),
        ):
            producer.begin_transaction()
            producer.produce(out, b"done")
            position = TopicPartition(source, 0, offset)
            producer.send_offsets_to_transaction([position], consumer.consumer_group_metadata(), 20)
            end(20)
            assert committed() == expected


def test_offsets_of_a_former_member_are_refused(servers: str, new_name: NewName) -> None:
    source = create_topic(servers, new_name("in"))
    produce(servers, source, b"1")
    producer = Producer({"bootstrap.servers": servers, "transactional.id": new_name("id")})
    producer.init_transactions(20)
    with reader(servers, source, new_name("group")) as consumer:
        assert take(consumer, 1) == [b"1"]
        membership = consumer.consumer_group_metadata()
    producer.begin_transaction()
    with pytest.raises(KafkaException) as raised:
        producer.send_offsets_to_transaction([TopicPartition(source, 0, 1)], membership, 20)
    assert raised.value.args[0].txn_requires_abort()
    producer.abort_transaction(20)


def test_butler_writers_take_over_from_each_other(servers: str, new_name: NewName) -> None:
    topic, out = create_topic(servers, new_name("writer")), create_topic(servers, new_name("done"))
    produce(servers, topic, b"1", b"2")
    settings = KafkaSettings(bootstrap_servers=servers)
    writer = WriterTopics(settings, topic, out, topic)
    writer.open()
    assert len(read_batch(writer, 2)) == 2
    writer.close()
    writer = WriterTopics(settings, topic, out, topic)
    writer.open()
    messages = read_batch(writer, 2)
    assert [message.value() for message in messages] == [b"1", b"2"]
    writer.commit(messages[:1], b"entered")
    writer.close()
    with reader(servers, out, new_name("group"), isolation_level="read_committed") as consumer:
        assert take(consumer, 1) == [b"entered"]
    with reader(servers, topic, GROUP) as consumer:
        assert take(consumer, 1) == [b"2"]


def test_butler_writer_that_another_replaced_names_the_setting(servers: str, new_name: NewName) -> None:
    topic, out = create_topic(servers, new_name("writer")), create_topic(servers, new_name("done"))
    produce(servers, topic, b"1")
    settings = KafkaSettings(bootstrap_servers=servers)
    first, second = (WriterTopics(settings, topic, out, topic) for _ in range(2))
    first.open()
    messages = read_batch(first, 1)
    second.open()
    with pytest.raises(KafkaException) as raised:
        first.commit(messages, b"entered")
    assert "KAFKA_TRANSACTIONAL_ID" in first.explain(raised.value.args[0])
    first.close()
    second.close()


def read_batch(topics: WriterTopics, n: int) -> list[Any]:
    messages: list[Any] = []
    deadline = time.monotonic() + 20
    while len(messages) < n and time.monotonic() < deadline:
        messages += topics.read(n, 0.5)
    return messages
