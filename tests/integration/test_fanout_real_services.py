"""The fan-out with Apache Kafka, a schema registry and Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from fan_out_processes import VisitReceiver, announcement, await_log, start_fan_out

from prompt_processing.demo.processes import Processes
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.services.kafka import Kafka
from prompt_processing.services.redis_server import RedisServer
from prompt_processing.services.schema_registry import SchemaRegistryServer
from prompt_processing.tester.publish import Announcer
from prompt_processing.transport.kafka import make_producer
from prompt_processing.transport.schema_registry import SchemaRegistry

pytestmark = pytest.mark.integration


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path / "logs", {}) as started:
        yield started


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
