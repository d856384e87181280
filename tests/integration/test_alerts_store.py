"""Unsent alerts in an object store: brought there by workers, sent from there by the nightly command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from lsst.dax.apdb.sql import ApdbSql

from prompt_processing.alerts.files import KEPT, UNDERWAY, AlertFile
from prompt_processing.alerts.packets import Alert
from prompt_processing.alerts.resending import move_to_store
from prompt_processing.cli.main import run
from prompt_processing.services.kafka import Kafka
from prompt_processing.services.object_store import ObjectStore
from prompt_processing.settings.alerts import AlertSettings
from prompt_processing.transport.kafka import make_consumer

pytestmark = pytest.mark.services

ALERTS = [Alert(number, b"\0\0\0\x04\x4d" + bytes([number]) * 1000) for number in range(5)]


def test_alerts_survive_the_pod_in_the_store_and_are_sent_once(
    object_store: ObjectStore,
    kafka: Kafka,
    new_name: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    bucket, topic = new_name("unsent"), new_name("alerts")
    client = object_store.client()
    client.create_bucket(Bucket=bucket)
    kafka.create_topics(topic)
    apdb = tmp_path / "apdb.yaml"
    ApdbSql.init_database(db_url=f"sqlite:///{tmp_path / 'apdb.db'}").save(str(apdb))
    environment = {
        **object_store.environment(),
        "ALERT_KEEP_DIR": str(tmp_path / "kept"),
        "ALERT_KEEP_STORE": f"s3://{bucket}/unsent-alerts/lsstcam/",
        "AP_KAFKA_SERVER": kafka.bootstrap_servers,
        "AP_KAFKA_TOPIC": topic,
        "CONFIG_APDB": str(apdb),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AP_KAFKA_PRODUCER_USERNAME", raising=False)
    settings = AlertSettings.load().alert_stream

    def stored() -> list[str]:
        return [one["Key"] for one in client.list_objects_v2(Bucket=bucket).get("Contents", [])]

    AlertFile.write(settings.keep_directory, 1, 2, 60000.5, ALERTS, KEPT).release()
    # Of a write that the APDB does not have.
    AlertFile.write(settings.keep_directory, 3, 2, 60000.5, ALERTS, UNDERWAY).release()
    move_to_store(settings)
    assert list(settings.keep_directory.iterdir()) == []
    assert len([key for key in stored() if key.startswith("unsent-alerts/lsstcam/")]) == 2

    assert run("alerts", "resend") == 0
    assert [key for key in stored() if not key.endswith("/")] == []
    consumer = make_consumer(kafka.plain, new_name("reader"), auto_offset_reset="earliest")
    try:
        consumer.subscribe([topic])
        messages = [consumer.poll(20) for _ in ALERTS]
        assert consumer.poll(1) is None
    finally:
        consumer.close()
    assert sorted(one.value() or b"" for one in messages if one) == sorted(one.message for one in ALERTS)
