"""The fan-out as a process, between an embedded Kafka and an HTTP service."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import Producer
from embedded_services import NEXT_VISIT_TOPIC, Embedded
from fan_out_processes import VisitReceiver, announcement, await_log, start_fan_out

from prompt_processing.tester.publish import Announcer

pytestmark = pytest.mark.integration


def announce(services: Embedded, group: str, sal_index: int = 999) -> None:
    producer = Producer({"bootstrap.servers": services.broker})
    Announcer(producer, NEXT_VISIT_TOPIC, None).publish(announcement(group, sal_index))


def test_announced_visit_reaches_its_detectors(
    embedded: Embedded, receiver: VisitReceiver, tmp_path: Path
) -> None:
    start_fan_out(embedded.processes, tmp_path, receiver, **embedded.environment)
    announce(embedded, "normal")
    announce(embedded, "of a test group", sal_index=2025050100367)
    visits = receiver.await_visits(3)
    assert sorted((v["groupId"], v["detector"]) for v in visits) == [
        ("normal", 0),
        ("normal", 94),
        ("of a test group", 42),
    ]


def test_rubbish_on_the_topic_does_not_stop_it(
    embedded: Embedded, receiver: VisitReceiver, tmp_path: Path
) -> None:
    producer = Producer({"bootstrap.servers": embedded.broker})
    for value in (b"", b"rubbish", b"\x00\x00\x00\x00\x01abc", b'{"groupId": 1}'):
        producer.produce(NEXT_VISIT_TOPIC, value)
    producer.flush(10)
    process = start_fan_out(embedded.processes, tmp_path, receiver, **embedded.environment)
    announce(embedded, "good")
    assert {visit["groupId"] for visit in receiver.await_visits(2)} == {"good"}
    await_log(process, "Undecodable message", 4)


def test_everything_wrong_with_the_settings_is_told_at_once(
    embedded: Embedded, receiver: VisitReceiver, tmp_path: Path
) -> None:
    wrong = {"PLATFORM": "mars", "MAX_FAN_OUT_MESSAGES": "many"}
    process = start_fan_out(embedded.processes, tmp_path, receiver, **embedded.environment, **wrong)
    assert process.wait(60) == 3
    told = process.log.read_text()
    assert "PLATFORM" in told
    assert "MAX_FAN_OUT_MESSAGES" in told
