"""Their Butler writer on our outputs and ours on theirs, over Kafka with the observatory's ACLs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import butler_world as world
import pytest
from butler_fixtures import Worker
from checkouts import Neighbours
from confluent_kafka import Producer
from kafka_acls import INPUT_TOPIC, OUTPUT_TOPIC, KafkaWithAcls, running_kafka_with_acls
from lsst.daf.butler import Butler, DatasetType

from prompt_processing.transport.kafka import make_consumer


@pytest.fixture
def kafka_with_acls(tmp_path: Path) -> Iterator[KafkaWithAcls]:
    """A cluster of this test's own: the topics and the group have the observatory's names."""
    with running_kafka_with_acls(tmp_path / "kafka") as kafka:
        yield kafka


def writer_settings(kafka: KafkaWithAcls, folder: Path) -> dict[str, str]:
    (folder / "lists").mkdir(exist_ok=True)
    return {
        "BUTLER_REPOSITORY": str(folder / "central"),
        "KAFKA_CLUSTER": kafka.sasl_servers,
        "KAFKA_TOPIC": INPUT_TOPIC,
        "KAFKA_OUTPUT_TOPIC": OUTPUT_TOPIC,
        "KAFKA_USERNAME": kafka.username,
        "KAFKA_PASSWORD": kafka.password,
        "OUTPUT_DATASET_LIST_DIRECTORY": str(folder / "lists"),
    }


def listed(
    kafka: KafkaWithAcls, folder: Path, running: Callable[[], None], seconds: float = 120
) -> list[str]:
    """Return the datasets that the first event names."""
    consumer = make_consumer(
        kafka.plain, f"t-{time.time_ns()}", auto_offset_reset="earliest", isolation_level="read_committed"
    )
    try:
        consumer.subscribe([OUTPUT_TOPIC])
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            running()
            message = consumer.poll(0.5)
            if message is not None and message.error() is None:
                event = json.loads(message.value())
                content = json.loads((folder / "lists" / event["batch_file"]).read_text())
                found: list[str] = sorted(content["datasets"])
                return found
        raise AssertionError("no event")
    finally:
        consumer.close()


def stored(folder: Path) -> list[str]:
    with Butler.from_config(str(folder / "central")) as butler:
        return sorted(str(ref.id) for ref in butler.query_all_datasets("*/prompt/*", find_first=False))


def test_their_writer_takes_our_outputs_and_their_stack_reads_them(
    neighbours: Neighbours,
    kafka_with_acls: KafkaWithAcls,
    open_butler_worker: Callable[..., Worker],
    central_folder: Path,
) -> None:
    worker = open_butler_worker(
        use_kafka_butler_writer=True,
        butler_writer_kafka_cluster=kafka_with_acls.sasl_servers,
        butler_writer_kafka_username=kafka_with_acls.username,
        butler_writer_kafka_password=kafka_with_acls.password,
        butler_writer_kafka_topic=INPUT_TOPIC,
    )
    _, n_exported = worker.process(world.EXPOSURE)
    source = neighbours.path("prompt_processing_butler_writer", "python")
    command = [str(neighbours.python), "-m", "lsst.queued_butler_writer.main"]
    environment = neighbours.environment(source, **writer_settings(kafka_with_acls, central_folder))
    with neighbours.running(command, environment, central_folder / "theirs.log") as theirs:

        def still_runs() -> None:
            assert theirs.process.poll() is None, theirs.text()

        datasets = listed(kafka_with_acls, central_folder, still_runs)
    assert len(datasets) == n_exported
    assert stored(central_folder) == datasets
    read = neighbours.run(
        neighbours.command("read_outputs.py", central_folder / "central"), neighbours.environment()
    )
    assert {name: answer for name, answer in read.items() if answer.startswith("ERROR")} == {}
    assert "preliminary_visit_image" in read


def test_our_writer_takes_their_outputs(
    neighbours: Neighbours, kafka_with_acls: KafkaWithAcls, central_folder: Path
) -> None:
    settings = writer_settings(kafka_with_acls, central_folder)
    python = neighbours.path("prompt_processing", "python")
    sent = neighbours.run(
        neighbours.command("send_outputs.py", python, central_folder / "local", central_folder / "central"),
        neighbours.environment(**settings),
    )
    writer = subprocess.Popen(
        [sys.executable, "-m", "prompt_processing", "writer"], env=neighbours.environment(**settings)
    )

    def still_runs() -> None:
        assert writer.poll() is None

    try:
        datasets = listed(kafka_with_acls, central_folder, still_runs)
    finally:
        writer.terminate()
        writer.wait(60)
    assert datasets == sorted(sent)
    assert stored(central_folder) == datasets


def test_our_writer_takes_the_messages_of_their_tests(
    neighbours: Neighbours, kafka_with_acls: KafkaWithAcls, tmp_path: Path
) -> None:
    data = neighbours.path("prompt_processing_butler_writer", "tests", "data")
    Butler.makeRepo(str(tmp_path / "central"))
    shutil.copytree(data / "exported_artifacts", tmp_path / "central", dirs_exist_ok=True)
    with Butler.from_config(str(tmp_path / "central"), writeable=True) as butler:
        butler.registry.registerDatasetType(
            DatasetType("dt2", ("instrument", "detector"), "int", universe=butler.dimensions)
        )
    producer = Producer({"bootstrap.servers": kafka_with_acls.bootstrap_servers})
    for name in ("message1", "message2", "conflicting-message"):
        producer.produce(INPUT_TOPIC, (data / f"{name}.json").read_bytes())
    assert producer.flush(30) == 0
    settings = {**writer_settings(kafka_with_acls, tmp_path), "OUTPUT_RUN_REGEXP": ".*"}
    writer = subprocess.Popen(
        [sys.executable, "-m", "prompt_processing", "writer"], env=neighbours.environment(**settings)
    )
    try:
        datasets = listed(kafka_with_acls, tmp_path, lambda: None)
    finally:
        writer.terminate()
        writer.wait(60)
    assert len(datasets) == 3
    with Butler.from_config(str(tmp_path / "central"), collections="Cam1/run") as butler:
        assert butler.get("dt1", instrument="Cam1", detector=1) == 1
        assert butler.get("dt2", instrument="Cam1", detector=1) == 2
        assert butler.get("dt1", instrument="Cam1", detector=2) == 3
