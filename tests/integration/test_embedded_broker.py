"""The embedded broker keeps what has not been read, whatever is sent to it."""

from __future__ import annotations

import http.client
import os
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from broker_process import BrokerProcess
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

pytestmark = pytest.mark.integration

ALERT_BYTES = 50_000
NOISE = random.Random(0).randbytes(ALERT_BYTES)
MIB = 2**20


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    with BrokerProcess(tmp_path / "broker", "alerts") as running:
        yield running


def alert(number: int) -> bytes:
    # Incompressible, and another one each time: what is lost or mixed up shows.
    turn = number % ALERT_BYTES
    return struct.pack(">q", number) + NOISE[turn:] + NOISE[:turn]


class Sender:
    """A producer that remembers what has become of its messages."""

    def __init__(self, broker: BrokerProcess, **options: object) -> None:
        self.errors: list[KafkaError] = []
        self.acknowledged: list[int] = []
        named = {name.replace("_", "."): value for name, value in options.items()}
        self._producer = Producer(
            {"bootstrap.servers": broker.address, "enable.idempotence": True, "linger.ms": 5, **named}
        )

    def send(self, numbers: range) -> None:
        for number in numbers:
            while True:
                try:
                    self._producer.produce(
                        "alerts",
                        alert(number),
                        on_delivery=lambda error, _, number=number: self._note(error, number),
                    )
                    break
                except BufferError:
                    self._producer.poll(0.1)
            self._producer.poll(0)
        assert self._producer.flush(60) == 0

    def _note(self, error: KafkaError | None, number: int) -> None:
        if error is None:
            self.acknowledged.append(number)
        else:
            self.errors.append(error)


def make_reader(broker: BrokerProcess, **options: object) -> Consumer:
    named = {name.replace("_", "."): value for name, value in options.items()}
    consumer = Consumer(
        {
            "bootstrap.servers": broker.address,
            "group.id": "readers",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            # A slow reader: it has little at hand at any time.
            "queued.max.messages.kbytes": 1024,
            "fetch.message.max.bytes": 200_000,
            "fetch.queue.backoff.ms": 10,
            **named,
        }
    )
    consumer.subscribe(["alerts"])
    return consumer


def read(consumer: Consumer, n: int, seconds: float = 60.0) -> Iterator[Message]:
    deadline = time.monotonic() + seconds
    while n and time.monotonic() < deadline:
        for message in consumer.consume(min(n, 20), 0.5):
            assert message.error() is None, message.error()
            n -= 1
            yield message


def test_200_mb_of_alerts_reach_a_slow_reader_whole(broker: BrokerProcess) -> None:
    numbers = range(4000)
    sender = Sender(broker)
    sender.send(numbers)
    consumer = make_reader(broker)
    most_memory = 0
    for number, message in zip(numbers, read(consumer, len(numbers)), strict=True):
        assert message.value() == alert(number)
        if number % 500 == 0:
            most_memory = max(most_memory, broker.memory_bytes)
    consumer.close()
    assert broker.stored_bytes > 200e6
    assert most_memory < 150e6
    assert sender.errors == []


def test_full_partition_holds_its_producer_back_until_it_is_read(tmp_path: Path) -> None:
    numbers = range(600)
    with BrokerProcess(tmp_path / "broker", "alerts", "--partition-mib=8") as broker:
        sender = Sender(broker)
        consumer = make_reader(broker)
        sending = threading.Thread(target=sender.send, args=(numbers,))
        sending.start()
        most_stored = 0
        for number, message in zip(numbers, read(consumer, len(numbers)), strict=True):
            assert message.value() == alert(number)
            if number % 20 == 0:
                consumer.commit(message=message, asynchronous=False)
                most_stored = max(most_stored, broker.stored_bytes)
        sending.join(60)
        consumer.close()
        assert sender.errors == []
        assert most_stored <= 8 * MIB


def test_what_does_not_fit_is_refused_and_what_was_taken_stays(tmp_path: Path) -> None:
    with BrokerProcess(tmp_path / "broker", "alerts", "--partition-mib=1") as broker:
        sender = Sender(broker, message_timeout_ms=2000)
        sender.send(range(40))
        assert sender.acknowledged
        assert {error.code() for error in sender.errors} == {KafkaError._MSG_TIMED_OUT}
        assert "Partition 0 of alerts is full" in broker.log
        assert "no consumer group has committed an offset" in broker.log
        consumer = make_reader(broker)
        n_taken = len(sender.acknowledged)
        taken = [message.value() for message in read(consumer, n_taken)]
        assert taken == [alert(number) for number in sender.acknowledged]
        consumer.commit(asynchronous=False)
        # Now there is room.
        again = Sender(broker, message_timeout_ms=20_000)
        again.send(range(100, 105))
        assert [message.value() for message in read(consumer, 5)] == [alert(n) for n in range(100, 105)]
        assert again.errors == []
        consumer.close()


def test_slowest_group_decides_what_is_kept(tmp_path: Path) -> None:
    with BrokerProcess(tmp_path / "broker", "alerts", "--partition-mib=1") as broker:
        Sender(broker).send(range(15))
        for group, offset in (("fast", 15), ("slow", 3)):
            consumer = make_reader(broker, group_id=group)
            list(read(consumer, 15))
            consumer.commit(offsets=[TopicPartition("alerts", 0, offset)], asynchronous=False)
            consumer.close()
        sender = Sender(broker, message_timeout_ms=2000)
        sender.send(range(15, 40))
        assert sender.errors
        assert "group slow has read up to offset 3" in broker.log
        consumer = make_reader(broker, group_id="slow")
        assert [message.value() for message in read(consumer, 5)] == [alert(n) for n in range(3, 8)]
        consumer.close()


def test_transaction_of_a_producer_that_died_is_aborted(broker: BrokerProcess) -> None:
    producer = Producer(
        {"bootstrap.servers": broker.address, "transactional.id": "dead", "transaction.timeout.ms": 1000}
    )
    producer.init_transactions(10)
    producer.begin_transaction()
    producer.produce("alerts", b"never committed")
    assert producer.flush(10) == 0
    Sender(broker).send(range(1))
    consumer = make_reader(broker, isolation_level="read_committed")
    assert [message.value() for message in read(consumer, 1, seconds=20)] == [alert(0)]
    consumer.close()


def test_rubbish_on_the_port_hurts_nobody(broker: BrokerProcess) -> None:
    host, port = broker.address.split(":")
    address = host, int(port)
    connection = http.client.HTTPConnection(*address, timeout=10)
    connection.request("GET", "/")
    with pytest.raises((http.client.BadStatusLine, ConnectionError)):
        connection.getresponse()
    chance = random.Random(1)
    produce_without_end = struct.pack(">hhih", 0, 8, 1, -1) + struct.pack(">hhii", -1, 1, 1000, 2**31 - 1)
    frames = [
        struct.pack(">i", 2**31 - 1),
        struct.pack(">i", -1),
        struct.pack(">i", 1000) + b"half",
        struct.pack(">i", len(produce_without_end)) + produce_without_end,
        *(struct.pack(">i", 60) + chance.randbytes(60) for _ in range(50)),
        *(
            struct.pack(">ihhi", 60, key, version, 1) + chance.randbytes(52)
            for key in range(30)
            for version in range(5)
        ),
        os.urandom(100_000),
    ]
    idle = socket.create_connection(address)
    for frame in frames:
        with socket.create_connection(address, timeout=10) as garbage:
            garbage.sendall(frame)
    Sender(broker).send(range(20))
    consumer = make_reader(broker)
    assert [message.value() for message in read(consumer, 20)] == [alert(n) for n in range(20)]
    consumer.close()
    idle.close()
    assert broker.memory_bytes < 100e6
    assert "Traceback" not in broker.log


def test_only_this_machine_is_served(broker: BrokerProcess) -> None:
    _, port = broker.address.split(":")
    # Another address of the same machine: what listens on all interfaces answers there.
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", int(port)), timeout=5)


def test_nothing_is_left_when_it_ends(broker: BrokerProcess) -> None:
    Sender(broker).send(range(3))
    assert broker.close() == 0
    assert broker.files == []
