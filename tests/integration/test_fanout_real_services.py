"""The fan-out with Apache Kafka, a schema registry and Redis."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from confluent_kafka import TopicPartition
from fan_out_processes import VisitReceiver, announcement, await_log, start_fan_out

from prompt_processing.demo.processes import Process, Processes
from prompt_processing.domain.visit import FannedOutVisit, NextVisit
from prompt_processing.services.kafka import Kafka
from prompt_processing.services.redis_server import RedisServer
from prompt_processing.services.schema_registry import SchemaRegistryServer
from prompt_processing.tester.publish import Announcer
from prompt_processing.transport.kafka import make_consumer, make_producer
from prompt_processing.transport.schema_registry import SchemaRegistry

pytestmark = pytest.mark.integration


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path / "logs", {}) as started:
        yield started


@dataclass(frozen=True)
class Surroundings:
    """A topic and a consumer group of a test's own, and the receiver that visits go to."""

    kafka: Kafka
    processes: Processes
    receiver: VisitReceiver
    folder: Path
    topic: str
    group: str

    def start(self, **settings: str) -> Process:
        servers = {"KAFKA_CLUSTER": self.kafka.bootstrap_servers} | settings
        names = {"NEXT_VISIT_TOPIC": self.topic, "CONSUMER_GROUP": self.group}
        return start_fan_out(self.processes, self.folder, self.receiver, **names, **servers)

    def announce(self, *visits: NextVisit, registry: SchemaRegistry | None = None) -> None:
        announcer = Announcer(make_producer(self.kafka.plain), self.topic, registry)
        for visit in visits:
            announcer.publish(visit)

    def committed_offset(self) -> int:
        consumer = make_consumer(self.kafka.plain, self.group)
        try:
            (position,) = consumer.committed([TopicPartition(self.topic, 0)], timeout=10)
        finally:
            consumer.close()
        return int(position.offset)

    def await_offset(self, offset: int) -> None:
        deadline = time.monotonic() + 40
        while (found := self.committed_offset()) != offset:
            assert time.monotonic() < deadline, f"{found} is committed, not {offset}"
            time.sleep(0.1)


@pytest.fixture
def around(
    kafka: Kafka,
    new_name: Callable[[str], str],
    processes: Processes,
    receiver: VisitReceiver,
    tmp_path: Path,
) -> Surroundings:
    return Surroundings(kafka, processes, receiver, tmp_path, new_name("next-visit"), new_name("fan-out"))


def test_stopped_one_finishes_and_its_successor_goes_on(
    around: Surroundings, receiver: VisitReceiver
) -> None:
    receiver.delay = 2.0
    around.announce(announcement("before"))
    first = around.start()
    await_log(first, "sending to")
    first.terminate()
    assert first.wait(30) == 0
    # Answers on their way were awaited.
    assert [visit["groupId"] for visit in receiver.visits] == ["before", "before"]
    receiver.delay = 0.0
    around.start()
    around.announce(announcement("after"))
    groups = [visit["groupId"] for visit in receiver.await_visits(4)]
    assert groups == ["before", "before", "after", "after"]


def test_killed_one_sends_again_what_was_not_answered(around: Surroundings, receiver: VisitReceiver) -> None:
    around.announce(announcement("answered"))
    first = around.start()
    receiver.await_visits(2)
    around.await_offset(1)
    receiver.delay = 5.0
    around.announce(announcement("underway"))
    await_log(first, "sending to", 2)
    receiver.await_many_at_once(2)
    assert around.committed_offset() == 1
    os.kill(first.pid, signal.SIGKILL)
    receiver.await_visits(4)
    receiver.delay = 0.0
    around.start()
    groups = [visit["groupId"] for visit in receiver.await_visits(6)]
    assert groups == ["answered"] * 2 + ["underway"] * 4
    around.await_offset(2)


def test_takes_no_more_than_it_may_and_loses_nothing_when_stopped_and_started_again(
    around: Surroundings, receiver: VisitReceiver
) -> None:
    names = [f"visit {number}" for number in range(8)]
    around.announce(*map(announcement, names))
    receiver.delay = 1.5
    first = around.start(MAX_FAN_OUT_MESSAGES="4")
    await_log(first, "Taking no further visits for now")
    receiver.await_many_at_once(4)
    first.terminate()
    # The answers take 1.5 s.
    assert first.wait(30) == 0
    sent_by_first = [visit["groupId"] for visit in receiver.visits]
    assert sorted(sent_by_first) == sorted(names[: len(sent_by_first) // 2] * 2)
    assert len(sent_by_first) < 2 * len(names)
    receiver.delay = 0.1
    around.start(MAX_FAN_OUT_MESSAGES="4")
    receiver.await_visits(2 * len(names))
    around.await_offset(len(names))
    pairs = [(visit["groupId"], visit["detector"]) for visit in receiver.visits]
    assert sorted(pairs) == sorted((name, detector) for name in names for detector in (0, 94))
    assert receiver.most_at_once == 4


@pytest.mark.parametrize(("choice", "expected"), [("keep", {"standing", "new"}), ("flush", {"new"})])
def test_standing_queue_is_kept_or_flushed(
    around: Surroundings, receiver: VisitReceiver, choice: str, expected: set[str]
) -> None:
    around.announce(announcement("standing"))
    process = around.start(STANDING_QUEUE=choice)
    await_log(process, "Ready for")
    around.announce(announcement("new"))
    around.await_offset(2)
    assert {visit["groupId"] for visit in receiver.visits} == expected


def test_framed_avro_is_read_through_the_registry_and_sasl(
    around: Surroundings, kafka: Kafka, schema_registry: SchemaRegistryServer, receiver: VisitReceiver
) -> None:
    process = around.start(
        KAFKA_CLUSTER=kafka.sasl_servers,
        SASL_USERNAME=kafka.username,
        SASL_PASSWORD=kafka.password,
        SASL_MECHANISM="SCRAM-SHA-512",
        SECURITY_PROTOCOL="SASL_PLAINTEXT",
        KAFKA_SCHEMA_REGISTRY_URL=schema_registry.url,
    )
    make_producer(kafka.plain).produce(around.topic, b'{"not": "Avro"}')
    around.announce(announcement("avro"), registry=SchemaRegistry(schema_registry.url))
    visits = receiver.await_visits(2)
    assert sorted(visit["detector"] for visit in visits) == [0, 94]
    assert {visit["groupId"] for visit in visits} == {"avro"}
    assert kafka.password not in process.log.read_text()


def test_stream_entries_can_be_read_as_visits(
    around: Surroundings, redis_server: RedisServer, new_name: Callable[[str], str], receiver: VisitReceiver
) -> None:
    stream = new_name("instrument:lsstcam")
    visit = announcement("streamed")
    around.announce(visit)
    process = around.start(PLATFORM="keda", REDIS_HOST=f"127.0.0.1:{redis_server.port}", STREAM=stream)
    await_log(process, "sending to")
    client = redis.Redis(port=redis_server.port)
    entries = client.xread({stream: "0"}, block=20_000, count=10)
    while sum(len(found) for _, found in entries) < 2:
        entries = client.xread({stream: "0"}, count=10)
    read = [FannedOutVisit.from_stream_entry(fields) for _, fields in entries[0][1]]
    assert sorted(one.detector for one in read) == [0, 94]
    assert {one.position for one in read} == {visit.position}
    assert receiver.visits == []
