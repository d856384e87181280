"""The fan-out with Apache Kafka, a schema registry and Redis."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from confluent_kafka import TopicPartition
from fan_out_processes import VisitReceiver, announcement, await_log, start_fan_out

from prompt_processing.demo.processes import Processes
from prompt_processing.domain.visit import FannedOutVisit
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


def committed_offset(kafka: Kafka, topic: str, group: str) -> int:
    consumer = make_consumer(kafka.plain, group)
    try:
        (position,) = consumer.committed([TopicPartition(topic, 0)], timeout=10)
    finally:
        consumer.close()
    return int(position.offset)


def await_offset(kafka: Kafka, topic: str, group: str, offset: int) -> None:
    deadline = time.monotonic() + 40
    while (found := committed_offset(kafka, topic, group)) != offset:
        assert time.monotonic() < deadline, f"{found} is committed, not {offset}"
        time.sleep(0.1)


def test_stopped_one_finishes_and_its_successor_goes_on(
    kafka: Kafka,
    new_name: Callable[[str], str],
    processes: Processes,
    receiver: VisitReceiver,
    tmp_path: Path,
) -> None:
    topic = new_name("next-visit")
    settings = {
        "KAFKA_CLUSTER": kafka.bootstrap_servers,
        "NEXT_VISIT_TOPIC": topic,
        "CONSUMER_GROUP": new_name("fan-out"),
    }
    announcer = Announcer(make_producer(kafka.plain), topic, None)
    receiver.delay = 2.0
    announcer.publish(announcement("before"))
    first = start_fan_out(processes, tmp_path, receiver, **settings)
    await_log(first, "sending on")
    first.terminate()
    assert first.wait(30) == 0
    # Answers on their way were awaited.
    assert [visit["groupId"] for visit in receiver.visits] == ["before", "before"]
    receiver.delay = 0.0
    start_fan_out(processes, tmp_path, receiver, **settings)
    announcer.publish(announcement("after"))
    groups = [visit["groupId"] for visit in receiver.await_visits(4)]
    assert groups == ["before", "before", "after", "after"]


def test_killed_one_sends_again_what_was_not_answered(
    kafka: Kafka,
    new_name: Callable[[str], str],
    processes: Processes,
    receiver: VisitReceiver,
    tmp_path: Path,
) -> None:
    topic, group = new_name("next-visit"), new_name("fan-out")
    settings = {"KAFKA_CLUSTER": kafka.bootstrap_servers, "NEXT_VISIT_TOPIC": topic, "CONSUMER_GROUP": group}
    announcer = Announcer(make_producer(kafka.plain), topic, None)
    announcer.publish(announcement("answered"))
    first = start_fan_out(processes, tmp_path, receiver, **settings)
    receiver.await_visits(2)
    await_offset(kafka, topic, group, 1)
    receiver.delay = 5.0
    announcer.publish(announcement("underway"))
    await_log(first, "sending on", 2)
    receiver.await_many_at_once(2)
    assert committed_offset(kafka, topic, group) == 1
    os.kill(first.pid, signal.SIGKILL)
    receiver.await_visits(4)
    receiver.delay = 0.0
    start_fan_out(processes, tmp_path, receiver, **settings)
    groups = [visit["groupId"] for visit in receiver.await_visits(6)]
    assert groups == ["answered"] * 2 + ["underway"] * 4
    await_offset(kafka, topic, group, 2)


def test_takes_no_more_than_it_may_and_loses_nothing_when_stopped_and_started_again(
    kafka: Kafka,
    new_name: Callable[[str], str],
    processes: Processes,
    receiver: VisitReceiver,
    tmp_path: Path,
) -> None:
    topic, group = new_name("next-visit"), new_name("fan-out")
    settings = {
        "KAFKA_CLUSTER": kafka.bootstrap_servers,
        "NEXT_VISIT_TOPIC": topic,
        "CONSUMER_GROUP": group,
        "MAX_FAN_OUT_MESSAGES": "4",
    }
    announcer = Announcer(make_producer(kafka.plain), topic, None)
    names = [f"visit {number}" for number in range(8)]
    for name in names:
        announcer.publish(announcement(name))
    receiver.delay = 1.5
    first = start_fan_out(processes, tmp_path, receiver, **settings)
    await_log(first, "Taking no further visits for now")
    receiver.await_many_at_once(4)
    stopping = time.monotonic()
    first.terminate()
    assert first.wait(30) == 0
    # The answers take 1.5 s.
    assert time.monotonic() - stopping < 15
    sent_by_first = [visit["groupId"] for visit in receiver.visits]
    assert sorted(sent_by_first) == sorted(names[: len(sent_by_first) // 2] * 2)
    assert len(sent_by_first) < 2 * len(names)
    receiver.delay = 0.1
    start_fan_out(processes, tmp_path, receiver, **settings)
    receiver.await_visits(2 * len(names))
    await_offset(kafka, topic, group, len(names))
    pairs = [(visit["groupId"], visit["detector"]) for visit in receiver.visits]
    assert sorted(pairs) == sorted((name, detector) for name in names for detector in (0, 94))
    assert receiver.most_at_once == 4


@pytest.mark.parametrize(("choice", "expected"), [("keep", {"standing", "new"}), ("flush", {"new"})])
def test_standing_queue_is_kept_or_flushed(
    kafka: Kafka,
    new_name: Callable[[str], str],
    processes: Processes,
    receiver: VisitReceiver,
    tmp_path: Path,
    choice: str,
    expected: set[str],
) -> None:
    topic, group = new_name("next-visit"), new_name("fan-out")
    settings = {"KAFKA_CLUSTER": kafka.bootstrap_servers, "NEXT_VISIT_TOPIC": topic, "CONSUMER_GROUP": group}
    announcer = Announcer(make_producer(kafka.plain), topic, None)
    announcer.publish(announcement("standing"))
    process = start_fan_out(processes, tmp_path, receiver, **settings, STANDING_QUEUE=choice)
    await_log(process, "Ready for")
    announcer.publish(announcement("new"))
    await_offset(kafka, topic, group, 2)
    assert {visit["groupId"] for visit in receiver.visits} == expected


def test_framed_avro_is_read_through_the_registry_and_sasl(
    kafka: Kafka,
    schema_registry: SchemaRegistryServer,
    new_name: Callable[[str], str],
    processes: Processes,
    receiver: VisitReceiver,
    tmp_path: Path,
) -> None:
    topic = new_name("next-visit")
    announcer = Announcer(make_producer(kafka.plain), topic, SchemaRegistry(schema_registry.url))
    process = start_fan_out(
        processes,
        tmp_path,
        receiver,
        KAFKA_CLUSTER=kafka.sasl_servers,
        SASL_USERNAME=kafka.username,
        SASL_PASSWORD=kafka.password,
        SASL_MECHANISM="SCRAM-SHA-512",
        SECURITY_PROTOCOL="SASL_PLAINTEXT",
        KAFKA_SCHEMA_REGISTRY_URL=schema_registry.url,
        NEXT_VISIT_TOPIC=topic,
        CONSUMER_GROUP=new_name("fan-out"),
    )
    make_producer(kafka.plain).produce(topic, b'{"not": "Avro"}')
    announcer.publish(announcement("avro"))
    visits = receiver.await_visits(2)
    assert sorted(visit["detector"] for visit in visits) == [0, 94]
    assert {visit["groupId"] for visit in visits} == {"avro"}
    assert kafka.password not in process.log.read_text()


def test_stream_entries_can_be_read_as_visits(
    kafka: Kafka,
    redis_server: RedisServer,
    new_name: Callable[[str], str],
    processes: Processes,
    receiver: VisitReceiver,
    tmp_path: Path,
) -> None:
    topic, stream = new_name("next-visit"), new_name("instrument:lsstcam")
    visit = announcement("streamed")
    Announcer(make_producer(kafka.plain), topic, None).publish(visit)
    process = start_fan_out(
        processes,
        tmp_path,
        receiver,
        KAFKA_CLUSTER=kafka.bootstrap_servers,
        NEXT_VISIT_TOPIC=topic,
        CONSUMER_GROUP=new_name("fan-out"),
        PLATFORM="keda",
        REDIS_HOST=f"127.0.0.1:{redis_server.port}",
        STREAM=stream,
    )
    await_log(process, "sending on")
    client = redis.Redis(port=redis_server.port)
    entries = client.xread({stream: "0"}, block=20_000, count=10)
    while sum(len(found) for _, found in entries) < 2:
        entries = client.xread({stream: "0"}, count=10)
    read = [FannedOutVisit.from_stream_entry(fields) for _, fields in entries[0][1]]
    assert sorted(one.detector for one in read) == [0, 94]
    assert {one.position for one in read} == {visit.position}
    assert receiver.visits == []
