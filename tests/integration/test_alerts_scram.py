"""Alerts to a broker that wants a user and a password."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from prompt_processing.alerts.files import kept_files
from prompt_processing.alerts.packets import Alert
from prompt_processing.alerts.resending import resend_kept_alerts
from prompt_processing.alerts.sender import send_alerts
from prompt_processing.alerts.stream_settings import AlertStreamSettings
from prompt_processing.services.kafka import Kafka
from prompt_processing.settings.alerts import AlertSettings
from prompt_processing.transport.kafka import make_consumer

pytestmark = pytest.mark.services

ALERTS = [Alert(number, b"\0\0\0\x04\x4d" + bytes([number]) * 1000) for number in range(20)]
WRONG = "hush-wrong-password"


@pytest.fixture
def topic(kafka: Kafka, new_name: Callable[[str], str]) -> str:
    name = new_name("alerts")
    kafka.create_topics(name, partitions=3)
    return name


def settings(kafka: Kafka, topic: str, folder: Path, password: str, timeout: float) -> AlertStreamSettings:
    environment = AlertSettings.load(
        ap_kafka_server=kafka.sasl_servers,
        ap_kafka_topic=topic,
        ap_kafka_producer_username=kafka.username,
        ap_kafka_producer_password=password,
        alert_keep_dir=str(folder),
    )
    return replace(environment.alert_stream, timeout_seconds=timeout)


def consume(kafka: Kafka, topic: str, n_messages: int) -> list[bytes]:
    consumer = make_consumer(kafka.sasl, f"reader-of-{topic}", auto_offset_reset="earliest")
    consumer.subscribe([topic])
    values: list[bytes] = []
    try:
        while len(values) < n_messages and (found := consumer.consume(n_messages, timeout=20)):
            values += [message.value() for message in found if message.error() is None]
    finally:
        consumer.close()
    return values


def test_right_password_gets_every_alert_acknowledged(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    report = send_alerts(settings(kafka, topic, tmp_path, kafka.password, 30.0), 1, 2, ALERTS)
    assert (report.sent, report.kept, report.lost) == (20, 0, 0)
    assert sorted(consume(kafka, topic, 20)) == sorted(alert.message for alert in ALERTS)


def test_wrong_password_keeps_the_alerts_and_names_the_settings(
    kafka: Kafka, topic: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    report = send_alerts(settings(kafka, topic, tmp_path, WRONG, 4.0), 1, 2, ALERTS)
    assert (report.sent, report.kept, report.lost) == (0, 20, 0)
    # Beside what the client library says.
    own = [record for record in caplog.records if record.name == "lsst.prompt_processing.alerts"]
    (told,) = (record for record in own if record.levelno >= logging.ERROR)
    for word in (
        "AP_KAFKA_PRODUCER_USERNAME",
        "AP_KAFKA_PRODUCER_PASSWORD",
        str(tmp_path),
        "prompt alerts resend",
    ):
        assert word in told.getMessage()
    assert WRONG not in caplog.text

    # Sending again with the same password changes nothing and says why; with the right one none is left.
    caplog.clear()
    assert resend_kept_alerts(settings(kafka, topic, tmp_path, WRONG, 4.0)).kept == 20
    assert "AP_KAFKA_PRODUCER_PASSWORD" in caplog.text
    assert WRONG not in caplog.text
    assert resend_kept_alerts(settings(kafka, topic, tmp_path, kafka.password, 30.0)).sent == 20
    assert kept_files(tmp_path) == []
    assert sorted(consume(kafka, topic, 20)) == sorted(alert.message for alert in ALERTS)
