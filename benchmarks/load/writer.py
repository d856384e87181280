"""How many visit-detectors a second the Butler writer enters."""

from __future__ import annotations

import copy
import json
import time
import uuid
from typing import Any

import psutil
from confluent_kafka import TopicPartition

from prompt_processing.butler_writer.topics import GROUP
from prompt_processing.demo.processes import Process, Processes
from prompt_processing.services.kafka import Kafka
from prompt_processing.transport.kafka import make_consumer, make_producer

from .figures import Figure, Measured, wait_for
from .tasks import DATASETS_OF_A_VISIT
from .world import WRITER, World

_TARGET_PER_SECOND = 20.0


def writer_settings(world: World, topic: str) -> dict[str, str]:
    """Settings of a writer of some topic."""
    kafka = world.stack.service(Kafka)
    lists = world.folder / "lists"
    lists.mkdir(exist_ok=True)
    return {
        **world.environment(WRITER),
        "BUTLER_REPOSITORY": world.central,
        "KAFKA_CLUSTER": kafka.sasl_servers,
        "KAFKA_USERNAME": kafka.username,
        "KAFKA_PASSWORD": kafka.password,
        "KAFKA_TOPIC": topic,
        "KAFKA_OUTPUT_TOPIC": f"{topic}-entered",
        "KAFKA_TRANSACTIONAL_ID": topic,
        "OUTPUT_DATASET_LIST_DIRECTORY": str(lists),
    }


def start_writer(world: World, processes: Processes, topic: str) -> Process:
    """Start a writer, and wait until it listens."""
    writer = processes.start(f"writer-{topic}", ["prompt-butler-writer"], writer_settings(world, topic))

    def ready() -> bool:
        writer.check()
        return "Ready for messages" in writer.log.read_text()

    wait_for(ready, "the writer listens", 120)
    return writer


def read_messages(world: World, topic: str, n_messages: int) -> list[bytes]:
    """Return the first messages of a topic."""
    consumer = make_consumer(
        world.stack.service(Kafka).plain, f"read-{uuid.uuid4()}", auto_offset_reset="earliest"
    )
    found: list[bytes] = []
    try:
        consumer.subscribe([topic])
        deadline = time.monotonic() + 60
        while len(found) < n_messages and time.monotonic() < deadline:
            message = consumer.poll(0.5)
            if message is not None and message.error() is None:
                found.append(message.value())
    finally:
        consumer.close()
    return found


def as_of_other_visits(message: bytes, numbers: range, detectors: tuple[int, ...]) -> list[bytes]:
    """Make of one worker's message those of as many visit-detectors, which differ in nothing but identity."""
    original = json.loads(message)
    records = {record["definition"]: record["record"] for record in original["dimension_records"]}
    exposure, group = records["exposure"]["id"], records["group"]["name"]
    made = []
    for number in numbers:
        visit, detector = divmod(number, len(detectors))
        new = _renamed(
            copy.deepcopy(original),
            {exposure: exposure + 10_000 + visit, group: f"{group} again {visit}"},
            detectors[detector],
        )
        for dataset in new["datasets"]:
            dataset["refs"] = {str(uuid.uuid4()): ref for ref in dataset["refs"].values()}
        for record in new["dimension_records"]:
            if record["definition"] in ("exposure", "visit"):
                fields = record["record"]
                for name in ("obs_id", "name"):
                    if name in fields:
                        fields[name] = f"{fields[name]} again {visit}"
        made.append(json.dumps(new).encode())
    return made


def _renamed(value: Any, names: dict[Any, Any], detector: int) -> Any:
    if isinstance(value, dict):
        return {
            key: detector if key == "detector" and isinstance(part, int) else _renamed(part, names, detector)
            for key, part in value.items()
        }
    if isinstance(value, list):
        return [_renamed(part, names, detector) for part in value]
    return names.get(value, value) if isinstance(value, int | str) else value


def publish(world: World, topic: str, messages: list[bytes]) -> None:
    """Publish messages, and wait until the broker has them."""
    producer = make_producer(
        world.stack.service(Kafka).plain, compression_type="zstd", message_max_bytes=10 * 2**20
    )
    for message in messages:
        producer.produce(topic, message)
        producer.poll(0)
    if producer.flush(60):
        raise TimeoutError(f"Kafka does not accept the messages for {topic}.")


class Entered:
    """Counter of the messages of a topic that the writers have committed.

    Parameters
    ----------
    world : `World`
        Servers.
    topic : `str`
        What the writers read.
    """

    def __init__(self, world: World, topic: str) -> None:
        self._place = TopicPartition(topic, 0)
        self._consumer = make_consumer(world.stack.service(Kafka).plain, GROUP, enable_auto_commit=False)

    def count(self) -> int:
        """Return the number."""
        (position,) = self._consumer.committed([self._place], timeout=20)
        return max(0, int(position.offset))

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()


def measure_writer(
    world: World, measured: Measured, processes: Processes, message: bytes, n_messages: int
) -> int:
    """Measure how fast messages that wait are entered.

    Parameters
    ----------
    world : `World`
        The repository.
    measured : `Measured`
        Takes the figures.
    processes : `Processes`
        Starts the writer.
    message : `bytes`
        Of a worker.
    n_messages : `int`
        Visit-detectors.

    Returns
    -------
    n_datasets : `int`
        How many were entered.
    """
    topic = f"{world.name}-again"
    world.stack.service(Kafka).create_topics(topic, f"{topic}-entered")
    detectors = world.detectors
    n_before = len(detectors)
    warm_up = as_of_other_visits(message, range(n_before), detectors)
    timed = as_of_other_visits(message, range(n_before, n_before + n_messages), detectors)
    publish(world, topic, warm_up)
    counter = world.statements()
    writer = start_writer(world, processes, topic)
    entered = Entered(world, topic)
    wait_for(lambda: entered.count() >= n_before, "the writer enters the first messages", 300)
    before = counter.read(WRITER)
    cpu_before = _cpu_seconds(writer.pid)
    start = time.monotonic()
    publish(world, topic, timed)
    wait_for(lambda: entered.count() >= n_before + n_messages, "the writer enters all", 900, 0.05)
    seconds = time.monotonic() - start
    entered.close()
    asked = counter.read(WRITER) - before
    cpu = _cpu_seconds(writer.pid) - cpu_before
    writer.terminate()
    writer.wait(60)
    rate = n_messages / seconds
    measured.figures += [
        Figure(
            f"writer: visit-detectors of {DATASETS_OF_A_VISIT} datasets a second",
            rate,
            "1/s",
            _TARGET_PER_SECOND,
            at_least=True,
        ),
        Figure("writer: CPU of the writer a visit-detector", cpu / n_messages, "s"),
        Figure("writer: statements a visit-detector", asked.calls / n_messages, ""),
        Figure("writer: database's time a visit-detector", asked.seconds / n_messages, "s"),
    ]
    return (n_before + n_messages) * DATASETS_OF_A_VISIT


def _cpu_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)
