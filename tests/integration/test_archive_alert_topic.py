"""Alerts are archived from the topic that brokers read."""

from __future__ import annotations

from pathlib import Path

import pytest
from alert_packets import encode, frame
from broker_process import BrokerProcess

from prompt_processing.archive.alert_topic import read_alert_topic
from prompt_processing.archive.alerts import archive_alerts, archived_alert
from prompt_processing.archive.errors import ArchiveError
from prompt_processing.archive.manifest import NightManifest
from prompt_processing.archive.nights import NightInterval
from prompt_processing.tester.publish import publish_message
from prompt_processing.transport.kafka import KafkaSettings, make_producer

pytestmark = pytest.mark.integration

NIGHT = NightInterval(20261120, -1.0, 1.0)
"""The smallest alerts have the time 0."""


def test_topic_is_archived_from_its_beginning_each_time(tmp_path: Path) -> None:
    with BrokerProcess(tmp_path / "kafka", "alerts", "empty") as broker:
        kafka = KafkaSettings(bootstrap_servers=broker.address)
        producer = make_producer(kafka, linger_ms=0)
        manifest = NightManifest(day_obs=NIGHT.day_obs)
        for number, expected in ((1, (1, 0)), (2, (1, 1))):
            publish_message(producer, "alerts", frame(encode(number)))
            alerts = read_alert_topic(kafka, "alerts")
            manifest, counts = archive_alerts(tmp_path / "a", NIGHT, manifest, alerts)
            manifest.write(tmp_path / "a")
            assert (counts.new, counts.known) == expected
        assert archived_alert(tmp_path / "a", NIGHT.day_obs, 2)["diaSourceId"] == 2
        publish_message(producer, "alerts", b"\0not an alert")
        _, counts = archive_alerts(tmp_path / "a", NIGHT, manifest, read_alert_topic(kafka, "alerts"))
        assert len(counts.unreadable) == 1
        assert "alerts[0]@2" in counts.unreadable[0]
        assert list(read_alert_topic(kafka, "empty")) == []
        with pytest.raises(ArchiveError, match="no topic absent"):
            list(read_alert_topic(kafka, "absent"))
