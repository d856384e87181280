"""Workers and the Butler writer with real Kafka, PostgreSQL and S3 between them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import butler_world as world
import pytest
from butler_fixtures import Worker
from lsst.daf.butler import Butler
from lsst.resources import ResourcePath
from real_central import RealCentral, make_real_central

from prompt_processing.butler_writer.central import CentralButler
from prompt_processing.butler_writer.metrics import WriterMetrics
from prompt_processing.butler_writer.service import WriterService
from prompt_processing.butler_writer.topics import GROUP, WriterTopics
from prompt_processing.domain.errors import RetriableError
from prompt_processing.services.kafka import Kafka
from prompt_processing.services.object_store import ObjectStore
from prompt_processing.services.postgresql import PostgreSql
from prompt_processing.services.stack import ServiceStack
from prompt_processing.transport.kafka import make_consumer

pytestmark = pytest.mark.services


class Setting:
    """One test's repository and topics."""

    def __init__(self, central: RealCentral, kafka: Kafka, topic: str) -> None:
        self.central, self.kafka = central, kafka
        self.topic, self.output_topic = topic, f"{topic}-done"
        self.lists = central.folder / "lists"
        self.lists.mkdir()
        self.metrics = WriterMetrics()
        kafka.create_topics(self.topic, self.output_topic)

    def worker(self, **settings: Any) -> Worker:
        writer_kafka = {
            "butler_writer_kafka_cluster": self.kafka.sasl_servers,
            "butler_writer_kafka_username": self.kafka.username,
            "butler_writer_kafka_password": self.kafka.password,
            "butler_writer_kafka_topic": self.topic,
        }
        chosen = {"use_kafka_butler_writer": True, **writer_kafka, **settings}
        return Worker(self.central.folder, world.make_settings(self.central.folder, **chosen))

    @contextmanager
    def writer(self, wrap: Callable[[Any], Any] = lambda central: central) -> Iterator[None]:
        """Run a writer in a thread."""
        stop = threading.Event()
        butler = Butler.from_config(self.central.uri, writeable=True)
        topics = WriterTopics(self.kafka.plain, self.topic, self.output_topic, self.topic)
        topics.open()
        service = WriterService(
            topics,
            wrap(CentralButler(butler, 0.1)),
            ResourcePath(str(self.lists), forceDirectory=True),
            self.metrics,
            0.2,
        )
        thread = threading.Thread(target=service.run, args=(stop,))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(60)
            topics.close()
            butler.close()

    def events(self, n: int, seconds: float = 60.0) -> list[dict[str, Any]]:
        """Events that are committed."""
        consumer = make_consumer(
            self.kafka.plain,
            f"{self.output_topic}-{time.time_ns()}",
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )
        found: list[dict[str, Any]] = []
        try:
            consumer.subscribe([self.output_topic])
            deadline = time.monotonic() + seconds
            while len(found) < n and time.monotonic() < deadline:
                message = consumer.poll(0.2)
                if message is not None and message.error() is None:
                    found.append(json.loads(message.value()))
        finally:
            consumer.close()
        return found

    def listed(self, events: list[dict[str, Any]]) -> list[str]:
        return [
            dataset
            for event in events
            for dataset in json.loads((self.lists / event["batch_file"]).read_text())["datasets"]
        ]

    def datasets(self) -> dict[str, Any]:
        """Outputs in the central repository by id; each with a file, and no file without one."""
        with Butler.from_config(self.central.uri) as butler:
            refs = butler.query_all_datasets("LSSTCam/prompt/*", find_first=False)
            files = {butler.getURI(ref).geturl() for ref in refs}
            (root,) = butler.get_datastore_roots().values()
            assert root is not None
            there = ResourcePath.findFileResources([root.join("LSSTCam/prompt", forceDirectory=True)])
            assert {uri.geturl() for uri in there} == files
            return {str(ref.id): ref for ref in refs}

    def wait_for(self, sample: str, value: float, seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while (self.metrics.registry.get_sample_value(sample) or 0.0) < value:
            assert time.monotonic() < deadline, f"{sample} does not reach {value}"
            time.sleep(0.1)


@pytest.fixture
def setting(
    tmp_path: Path,
    kafka: Kafka,
    postgresql: PostgreSql,
    object_store: ObjectStore,
    new_name: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> Setting:
    central = make_real_central(tmp_path, postgresql, object_store, monkeypatch)
    return Setting(central, kafka, new_name("outputs"))


def test_outputs_go_through_the_writer_and_the_worker_asks_the_database_nothing(
    setting: Setting, postgresql: PostgreSql
) -> None:
    def statements() -> int:
        with postgresql.connect(setting.central.database) as connection:
            row = connection.execute(
                "SELECT sum(calls) FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid"
                " WHERE datname = current_database() AND query NOT LIKE '%pg_stat_statements%'"
            ).fetchone()
            return int(row[0]) if row else 0

    worker = setting.worker()
    try:
        workspace = worker.begin(groupId="group 1")
        workspace.preload()
        workspace.run_preprocessing()
        workspace.ingest([worker.raw(exposure=world.EXPOSURE)])
        workspace.run_pipeline()
        before = statements()
        n_exported = workspace.export()
        assert statements() - before <= 2  # Those of the question itself.
        workspace.clean()
        assert n_exported > 3
        with setting.writer():
            events = setting.events(1)
        stored = setting.datasets()
        assert len(stored) == n_exported
        assert sorted(setting.listed(events)) == sorted(stored)
        data_id = {"instrument": "LSSTCam", "visit": world.EXPOSURE, "detector": world.DETECTOR}
        with Butler.from_config(setting.central.uri) as butler:
            (chain,) = butler.collections.query("LSSTCam/prompt/output-????-??-??")
            image = butler.get("preliminary_visit_image", data_id, collections=chain)
            assert image.bbox.shape == (64, 256)
            assert butler.query_dimension_records("visit_detector_region", data_id=data_id)
    finally:
        worker.repositories.close()


def test_conflicting_visit_is_left_behind_and_the_batch_goes_in_without_it(setting: Setting) -> None:
    first, second = setting.worker(), setting.worker()
    try:
        _, n_first = first.process(world.EXPOSURE)
        second.process(world.EXPOSURE)
        _, n_other = second.process(world.EXPOSURE + 1)
        with setting.writer():
            setting.wait_for("butler_writer_messages_total", 2)
            setting.wait_for("butler_writer_messages_left_behind_total", 1)
            events = setting.events(1)
        stored = setting.datasets()
        assert len(stored) == n_first + n_other
        assert sorted(setting.listed(events)) == sorted(stored)
    finally:
        first.repositories.close()
        second.repositories.close()


def test_message_that_comes_again_changes_nothing(setting: Setting) -> None:
    class CrashError(RuntimeError):
        pass

    worker = setting.worker()
    try:
        _, n_exported = worker.process()
    finally:
        worker.repositories.close()
    butler = Butler.from_config(setting.central.uri, writeable=True)
    topics = WriterTopics(setting.kafka.plain, setting.topic, setting.output_topic, setting.topic)
    topics.open()

    def crash(*_: object) -> None:
        raise CrashError

    topics.commit = crash  # type: ignore[method-assign]
    lists = ResourcePath(str(setting.lists), forceDirectory=True)
    service = WriterService(topics, CentralButler(butler, 0.1), lists, setting.metrics, 0.2)
    with pytest.raises(CrashError):
        service.run(threading.Event())
    topics.close()
    butler.close()
    assert len(setting.datasets()) == n_exported
    with setting.writer():
        events = setting.events(1)
    assert len(setting.datasets()) == n_exported
    assert len(setting.listed(events)) == n_exported
    assert len(setting.events(2, seconds=3.0)) == 1


def test_writer_waits_for_a_database_that_is_away(
    setting: Setting, service_stack: ServiceStack, postgresql: PostgreSql
) -> None:
    worker = setting.worker()
    try:
        _, n_exported = worker.process()
    finally:
        worker.repositories.close()
    server = service_stack.server(PostgreSql)
    with setting.writer(wrap=lambda central: _stop_first(central, server.stop)):
        try:
            setting.wait_for("butler_writer_failures_total", 2)
        finally:
            service_stack.start(PostgreSql)
        events = setting.events(1)
    assert len(setting.datasets()) == len(setting.listed(events)) == n_exported


def _stop_first(central: CentralButler, action: Callable[[], None]) -> Any:
    class Stopping:
        done = False

        def enter(self, outputs: Any) -> None:
            if not self.done:
                self.done = True
                action()
            central.enter(outputs)

    return Stopping()


def test_worker_says_so_if_kafka_does_not_take_its_outputs(setting: Setting) -> None:
    worker = setting.worker(butler_writer_kafka_cluster="127.0.0.1:9")
    try:
        topic = worker.repositories.exporter._topic  # type: ignore[attr-defined]
        topic._timeout = 1.0
        with pytest.raises(RetriableError, match="cannot be published"):
            worker.process()
    finally:
        worker.repositories.close()


def test_command_stops_when_told_and_shows_no_credential(setting: Setting) -> None:
    worker = setting.worker()
    try:
        _, n_exported = worker.process()
    finally:
        worker.repositories.close()
    environment = {
        **os.environ,
        "BUTLER_REPOSITORY": setting.central.uri,
        "KAFKA_CLUSTER": setting.kafka.sasl_servers,
        "KAFKA_USERNAME": setting.kafka.username,
        "KAFKA_PASSWORD": setting.kafka.password,
        "KAFKA_TOPIC": setting.topic,
        "KAFKA_OUTPUT_TOPIC": setting.output_topic,
        "KAFKA_TRANSACTIONAL_ID": setting.topic,
        "OUTPUT_DATASET_LIST_DIRECTORY": str(setting.lists),
        "WRITER_DEBUG_LEVEL": "DEBUG",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "prompt_processing", "writer"],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        events = setting.events(1)
    finally:
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=60)
    assert process.returncode == 0, log
    assert len(setting.listed(events)) == n_exported
    assert setting.kafka.password not in log
    assert {json.loads(line)["name"] for line in log.splitlines()} >= {"lsst.butler_writer"}
    assert GROUP == "butler-writer"
