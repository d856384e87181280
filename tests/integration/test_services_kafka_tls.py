"""Each client of Kafka reaches a broker that wants TLS, and says why where it does not."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import certifi
import pytest
from confluent_kafka import KafkaException

from prompt_processing.activator.storage.writer_topic import WriterTopic
from prompt_processing.alerts.packets import Alert
from prompt_processing.alerts.sender import send_alerts
from prompt_processing.butler.messages import VisitOutputs
from prompt_processing.butler_writer.config import WriterSettings
from prompt_processing.butler_writer.topics import WriterTopics
from prompt_processing.domain.errors import PromptError
from prompt_processing.fanout.config import FanOutSettings
from prompt_processing.raw_microservice.config import MicroserviceSettings
from prompt_processing.services.kafka import Kafka
from prompt_processing.settings.kafka import KafkaClusterSettings
from prompt_processing.settings.worker import Settings
from prompt_processing.tester.settings import EventStreamSettings
from prompt_processing.transport.arrival_notices import ArrivalNotices
from prompt_processing.transport.kafka import make_consumer, make_producer

pytestmark = pytest.mark.services

WRONG_CA = certifi.where()
OUTPUTS = VisitOutputs(dimension_records=[], datasets=[], dataset_types=[])


@pytest.fixture
def topic(kafka: Kafka, new_name: Callable[[str], str]) -> str:
    name = new_name("tls")
    kafka.create_topics(name)
    return name


@pytest.fixture
def environment(kafka: Kafka, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a site sets for all its processes: one protocol and one authority, and each client's user."""
    for name in os.environ:
        if "KAFKA" in name or name.startswith(("SASL_", "SSL_", "SECURITY_")):
            monkeypatch.delenv(name)
    servers = kafka.sasl_tls.bootstrap_servers
    variables = {
        "SECURITY_PROTOCOL": "SASL_SSL",
        "SSL_CA_FILE": str(kafka.ca_file),
        "RUBIN_INSTRUMENT": "LSSTCam",
        "SKYMAP": "sky",
        "CENTRAL_REPO": "repo",
        "IMAGE_BUCKET": "raws",
        "CONFIG_APDB": "apdb.yaml",
        "PREPROCESSING_PIPELINES_CONFIG": "[]",
        "MAIN_PIPELINES_CONFIG": "[]",
        "BUCKET_TOPIC": topic,
        "KAFKA_CLUSTER": servers,
        "AP_KAFKA_SERVER": servers,
        "AP_KAFKA_TOPIC": topic,
        "ALERT_KEEP_DIR": str(tmp_path / "kept"),
        "USE_KAFKA_BUTLER_WRITER": "1",
        "BUTLER_WRITER_KAFKA_CLUSTER": servers,
        "BUTLER_WRITER_KAFKA_TOPIC": topic,
        "BUTLER_REPOSITORY": "repo",
        "KAFKA_TOPIC": topic,
        "KAFKA_OUTPUT_TOPIC": topic,
        "OUTPUT_DATASET_LIST_DIRECTORY": "lists",
        "SUPPORTED_INSTRUMENTS": "LSSTCam",
        "INSTRUMENT_CONFIG_FILE": "instruments.yaml",
        "CONSUMER_GROUP": topic,
        "NEXT_VISIT_TOPIC": topic,
    }
    for prefix in ("KAFKA_", "AP_KAFKA_PRODUCER_", "BUTLER_WRITER_KAFKA_"):
        variables |= {f"{prefix}USERNAME": kafka.username, f"{prefix}PASSWORD": kafka.password}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def read_back(kafka: Kafka, topic: str) -> bytes:
    consumer = make_consumer(kafka.plain, f"reader-{time.time_ns()}", auto_offset_reset="earliest")
    try:
        consumer.subscribe([topic])
        message = consumer.poll(20)
        assert message is not None
        assert message.error() is None
        return bytes(message.value() or b"")
    finally:
        consumer.close()


def follow(settings: KafkaClusterSettings, topic: str) -> None:
    notices = ArrivalNotices(settings.kafka, topic)
    try:
        notices.start()
    finally:
        notices.close()


def send_outputs() -> None:
    WriterTopic.from_settings(Settings.load()).publish(OUTPUTS)


def open_writer(seconds: float = 15.0) -> None:
    settings = WriterSettings.load()
    topics = WriterTopics(
        settings.kafka, settings.kafka_topic, settings.kafka_output_topic, settings.kafka_topic
    )
    try:
        topics.open(seconds)
    finally:
        topics.close()


def read_visits(topic: str, seconds: float = 10.0) -> None:
    settings = FanOutSettings.load()
    consumer = make_consumer(settings.kafka, settings.consumer_group)
    try:
        consumer.list_topics(topic, timeout=seconds)
    finally:
        consumer.poll(0)
        consumer.close()


def announce(topic: str, seconds: float = 15.0) -> bool:
    producer = make_producer(EventStreamSettings.load().kafka)
    producer.produce(topic, b"visit")
    return producer.flush(seconds) == 0


@pytest.mark.usefixtures("environment")
def test_every_client_of_kafka_works_over_tls_with_user_and_password(kafka: Kafka, topic: str) -> None:
    assert announce(topic)
    assert read_back(kafka, topic) == b"visit"
    read_visits(topic)
    follow(Settings.load(), topic)
    follow(MicroserviceSettings.load(), topic)
    send_outputs()
    open_writer()
    report = send_alerts(Settings.load().alert_stream, 1, 2, [Alert(1, b"alert")])
    assert (report.sent, report.kept) == (1, 0)


def test_tls_without_a_user_works(kafka: Kafka, topic: str) -> None:
    producer = make_producer(kafka.tls)
    producer.produce(topic, b"hello")
    assert producer.flush(15) == 0
    assert read_back(kafka, topic) == b"hello"


@pytest.mark.usefixtures("environment")
def test_every_client_names_the_ca_file_that_is_not_the_brokers(
    topic: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    kafka: Kafka,
) -> None:
    monkeypatch.setenv("SSL_CA_FILE", WRONG_CA)
    caplog.set_level(logging.DEBUG)

    def shown_by(action: Callable[[], object]) -> str:
        caplog.clear()
        try:
            action()
        except (PromptError, KafkaException) as error:
            return caplog.text + str(error)
        return caplog.text

    def send_one() -> None:
        stream = replace(Settings.load().alert_stream, timeout_seconds=3.0)
        assert send_alerts(stream, 1, 2, [Alert(1, b"alert")]).kept == 1

    def publish() -> None:
        settings = Settings.load()
        assert settings.writer_kafka is not None
        WriterTopic(settings.writer_kafka, topic, timeout=3.0).publish(OUTPUTS)

    actions = {
        "alerts": send_one,
        "writer's topic": publish,
        "worker": lambda: follow(Settings.load(), topic),
        "raw microservice": lambda: follow(MicroserviceSettings.load(), topic),
        "writer": lambda: open_writer(5.0),
        "fan-out": lambda: read_visits(topic, 3.0),
        "tester": lambda: announce(topic, 3.0),
    }
    for name, action in actions.items():
        shown = shown_by(action)
        assert "SSL_CA_FILE" in shown, name
        assert WRONG_CA in shown, name
        assert kafka.password not in shown, name
