"""The Butler writer under the observatory's access control lists."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import butler_world as world
import pytest
from butler_fixtures import Worker
from kafka_acls import INPUT_TOPIC, OUTPUT_TOPIC, KafkaWithAcls, running_kafka_with_acls
from lsst.daf.butler import Butler

from prompt_processing.transport.kafka import make_consumer

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def kafka_with_acls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaWithAcls]:
    with running_kafka_with_acls(tmp_path_factory.mktemp("acls") / "kafka") as kafka:
        yield kafka


def writer_environment(kafka: KafkaWithAcls, folder: Path, **changed: str) -> dict[str, str]:
    (folder / "lists").mkdir(exist_ok=True)
    return {
        **os.environ,
        "BUTLER_REPOSITORY": str(folder / "central"),
        "KAFKA_CLUSTER": kafka.sasl_servers,
        "KAFKA_TOPIC": INPUT_TOPIC,
        "KAFKA_OUTPUT_TOPIC": OUTPUT_TOPIC,
        "KAFKA_USERNAME": kafka.username,
        "KAFKA_PASSWORD": kafka.password,
        "OUTPUT_DATASET_LIST_DIRECTORY": str(folder / "lists"),
        **changed,
    }


def next_event(kafka: KafkaWithAcls, seconds: float = 90.0) -> dict[str, Any]:
    consumer = make_consumer(
        kafka.plain, f"t-{time.time_ns()}", auto_offset_reset="earliest", isolation_level="read_committed"
    )
    try:
        consumer.subscribe([OUTPUT_TOPIC])
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                found: dict[str, Any] = json.loads(message.value())
                return found
        raise AssertionError("no event")
    finally:
        consumer.close()


def test_outputs_go_through_kafka_as_the_lists_allow(
    kafka_with_acls: KafkaWithAcls, open_butler_worker: Callable[..., Worker], central_folder: Path
) -> None:
    worker = open_butler_worker(
        use_kafka_butler_writer=True,
        butler_writer_kafka_cluster=kafka_with_acls.sasl_servers,
        butler_writer_kafka_username=kafka_with_acls.username,
        butler_writer_kafka_password=kafka_with_acls.password,
        butler_writer_kafka_topic=INPUT_TOPIC,
    )
    _, n_exported = worker.process(world.EXPOSURE)
    environment = writer_environment(kafka_with_acls, central_folder)
    writer = subprocess.Popen([sys.executable, "-m", "prompt_processing", "writer"], env=environment)
    try:
        event = next_event(kafka_with_acls)
    finally:
        writer.terminate()
        writer.wait(60)
    listed = json.loads((central_folder / "lists" / event["batch_file"]).read_text())["datasets"]
    assert len(listed) == n_exported
    with Butler.from_config(str(central_folder / "central")) as butler:
        stored = butler.query_all_datasets("LSSTCam/prompt/*", find_first=False)
    assert {str(ref.id) for ref in stored} == set(listed)


def test_another_transactional_id_is_refused_in_a_sentence(
    kafka_with_acls: KafkaWithAcls, central_folder: Path
) -> None:
    environment = writer_environment(
        kafka_with_acls, central_folder, KAFKA_TRANSACTIONAL_ID="a-name-of-our-own"
    )
    ended = subprocess.run(
        [sys.executable, "-m", "prompt_processing", "writer"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode != 0
    assert "a-name-of-our-own" in ended.stderr
    assert "ransactional" in ended.stderr
    assert "Traceback" not in ended.stderr
