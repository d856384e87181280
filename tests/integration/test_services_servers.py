"""The servers of bin/services are there, speak what they should, and survive what tests do to them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import requests
import sqlalchemy
from confluent_kafka import KafkaException
from lsst.alert.packet import Schema
from pydantic import SecretStr
from redis.exceptions import RedisError

from prompt_processing.domain.notices import parse_notices
from prompt_processing.services.kafka import NOTICES_TOPIC, Kafka
from prompt_processing.services.object_store import ObjectStore
from prompt_processing.services.postgresql import PostgreSql
from prompt_processing.services.redis_server import RedisServer
from prompt_processing.services.schema_registry import SchemaRegistryServer
from prompt_processing.services.stack import ServiceStack
from prompt_processing.transport.kafka import KafkaSettings, make_consumer, make_producer

pytestmark = pytest.mark.services

NewName = Callable[[str], str]


def first_message(settings: KafkaSettings, topic: str, accept: Callable[[bytes], bool]) -> bytes:
    consumer = make_consumer(settings, f"test-{topic}-{time.time_ns()}", auto_offset_reset="earliest")
    try:
        consumer.subscribe([topic])
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            message = consumer.poll(0.5)
            if message is not None and message.error() is None and accept(message.value()):
                return bytes(message.value())
    finally:
        consumer.close()
    raise AssertionError(f"nothing in {topic}")


def test_kafka_carries_messages_to_users_with_the_right_password(kafka: Kafka, new_name: NewName) -> None:
    topic = new_name("scram")
    kafka.create_topics(topic)
    producer = make_producer(kafka.sasl)
    producer.produce(topic, b"hello")
    assert producer.flush(10) == 0
    assert first_message(kafka.sasl, topic, lambda _: True) == b"hello"
    assert first_message(kafka.plain, topic, lambda _: True) == b"hello"


def test_kafka_refuses_a_wrong_password(kafka: Kafka) -> None:
    wrong = kafka.sasl.model_copy(update={"password": SecretStr("wrong")})
    producer = make_producer(wrong, on_error=lambda _: None)
    with pytest.raises(KafkaException):
        producer.list_topics(timeout=3)


def test_new_objects_are_announced(object_store: ObjectStore, kafka: Kafka, new_name: NewName) -> None:
    bucket, key = new_name("raw"), "LSSTCam/20250609/a+b%20c d.fits"
    client = object_store.client()
    client.create_bucket(Bucket=bucket)
    client.put_object(Bucket=bucket, Key=key, Body=b"x" * 1000)
    notice = first_message(kafka.plain, NOTICES_TOPIC, lambda value: bucket.encode() in value)
    (arrival,) = parse_notices(notice)
    assert key in arrival.keys
    assert client.get_object(Bucket=bucket, Key=key)["Body"].read() == b"x" * 1000


def test_postgresql_has_what_registry_and_benchmarks_need(postgresql: PostgreSql) -> None:
    with postgresql.connect() as connection:
        rows = connection.execute("SELECT extname FROM pg_extension").fetchall()
        assert {"btree_gist", "pg_stat_statements"} <= {row[0] for row in rows}
        assert connection.execute("SELECT count(*) FROM pg_stat_statements").fetchone()


def test_postgresql_wants_its_password(postgresql: PostgreSql) -> None:
    engine = sqlalchemy.create_engine(postgresql.url.replace("@", ":wrong@", 1))
    with pytest.raises(sqlalchemy.exc.OperationalError):
        engine.connect()


def test_redis_keeps_streams(redis_server: RedisServer, new_name: NewName) -> None:
    with redis_server.client() as client:
        stream = new_name("stream")
        client.xadd(stream, {"groupId": "g"})
        assert client.xlen(stream) == 1


def test_registry_speaks_the_confluent_dialect(
    schema_registry: SchemaRegistryServer, new_name: NewName
) -> None:
    schema = json.dumps({"type": "record", "name": "r", "fields": [{"name": "a", "type": "int"}]})
    url = f"{schema_registry.url}/subjects/{new_name('subject')}/versions"
    identifier = requests.post(url, json={"schema": schema}, timeout=10).json()["id"]
    answer = requests.get(f"{schema_registry.url}/schemas/ids/{identifier}", timeout=10).json()
    assert json.loads(answer["schema"]) == json.loads(schema)


def test_alert_schema_keeps_its_id_in_the_registry(schema_registry: SchemaRegistryServer) -> None:
    schema = Schema.from_file()
    schema_registry.import_schema("alert-packet", schema.get_schema_id(), schema.definition)
    answer = requests.get(f"{schema_registry.url}/schemas/ids/{schema.get_schema_id()}", timeout=10).json()
    assert json.loads(answer["schema"]) == schema.definition


def test_server_can_be_paused_killed_and_started_again(tmp_path: Path, redis_server: RedisServer) -> None:
    with ServiceStack(tmp_path) as stack:
        stack.start(RedisServer)
        service, server = stack.service(RedisServer), stack.server(RedisServer)
        with service.client() as client:
            client.set("a", "1")
            server.pause()
            with pytest.raises(RedisError):
                client.get("a")
            server.resume()
            server.wait_ready()
        time.sleep(1.5)  # Redis writes its file once a second.
        server.kill()
        assert not server.running
        stack.start(RedisServer)
        with service.client() as client:
            assert client.get("a") == "1"
    assert not server.running


def test_servers_started_by_one_command_are_found_and_stopped_by_the_next(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    def services(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "prompt_processing.services", *words, "--folder", str(folder)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    folder = tmp_path / "folder"
    try:
        assert services("status").returncode == 0
        up = services("up", "--only", "redis")
        if up.returncode == 3 and not os.environ.get("CI"):
            pytest.skip(up.stderr)
        assert up.returncode == 0, up.stderr
        state = folder / "state.json"
        assert state.stat().st_mode & 0o077 == 0
        pid, _ = json.loads(state.read_text())["redis"]["process"]
        assert services("up", "--only", "redis").returncode == 0
        assert json.loads(state.read_text())["redis"]["process"][0] == pid
        assert "redis            up" in services("status").stdout
        assert "REDIS_HOST=127.0.0.1:" in services("environment").stdout
        psutil.Process(pid).kill()
        time.sleep(0.3)
        down = services("status")
        assert (down.returncode, "redis            down" in down.stdout) == (1, True)
        assert services("up", "--only", "redis").returncode == 0
    finally:
        assert services("down").returncode == 0
    assert not (folder / "state.json").exists()
    assert not (folder / "redis").exists()
