"""A night is recorded from Kafka, and sent to other topics again."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from broker_process import BrokerProcess
from confluent_kafka import Consumer

from prompt_processing.cli.main import run
from prompt_processing.domain.clock import night, tai_to_utc
from prompt_processing.domain.notices import parse_notices
from prompt_processing.domain.visit import NextVisit
from prompt_processing.tester.publish import Announcer, ArrivalNotices, make_next_visit, publish_message
from prompt_processing.transport.kafka import KafkaSettings, make_producer

pytestmark = pytest.mark.integration


def messages(broker: str, topic: str, number: int) -> list[bytes]:
    consumer = Consumer(
        {"bootstrap.servers": broker, "group.id": f"read-{topic}", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    found = consumer.consume(number, timeout=30.0)
    consumer.close()
    return [message.value() or b"" for message in found]


def test_night_of_kafka_is_recorded_and_replayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    topics = ("next-visit-topic", "prompt-processing-dev", "visits-again", "arrivals-again")
    with BrokerProcess(tmp_path / "kafka", *topics) as broker:
        monkeypatch.setenv("KAFKA_CLUSTER", broker.address)
        for name in ("KAFKA_SCHEMA_REGISTRY_URL", "SECURITY_PROTOCOL", "SASL_USERNAME", "BUCKET_TOPIC"):
            monkeypatch.delenv(name, raising=False)
        producer = make_producer(KafkaSettings(bootstrap_servers=broker.address), linger_ms=0)
        begin = time.time()
        for number in (1, 2):
            visit = make_next_visit(
                instrument="LSSTCam", group=f"g{number}", sal_index=1, ra=10.0, dec=-20.0, rotation=0.0,
                physical_filter="r_57", survey="SURVEY", n_snaps=1, start=begin + 20, duration=30.0,
            )  # fmt: skip
            Announcer(producer, topics[0], None).publish(visit)
            ArrivalNotices(producer, topics[1]).publish("bucket", f"LSSTCam/{number} a.fits", 7)
        publish_message(producer, topics[0], b"not a visit")
        today, path = night(begin), str(tmp_path / "night.jsonl")
        assert run("replay", today, "--to", topics[0]) == 2
        assert "is a topic of the night itself" in capsys.readouterr().err
        assert run("replay", today, "--write", path) == 0
        assert "Recorded 4 messages" in capsys.readouterr().out
        options = ("--speed", "100", "--to", topics[2], "--notices-to", topics[3])
        assert run("replay", today, "--recording", path, *options) == 0
        assert "Sent 2 announcements and 2 arrival notices" in capsys.readouterr().out
        visits = [NextVisit.parse(one) for one in messages(broker.address, topics[2], 2)]
        assert [one.groupId for one in visits] == ["g1", "g2"]
        assert all(tai_to_utc(one.private_sndStamp) > begin for one in visits)
        events = messages(broker.address, topics[3], 2)
        assert [parse_notices(one)[0].keys[0] for one in events] == ["LSSTCam/1 a.fits", "LSSTCam/2 a.fits"]
        assert json.loads(events[0])["Records"][0]["s3"]["bucket"]["name"] == "bucket"
