"""Alerts that were left unsent, when a worker starts, goes on, and ends."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Producer

from prompt_processing.alerts import unsent
from prompt_processing.alerts.files import KEPT, UNDERWAY, AlertFile, read_alerts
from prompt_processing.alerts.packets import Alert
from prompt_processing.alerts.sender import SendReport
from prompt_processing.alerts.stream_settings import AlertStreamSettings
from prompt_processing.alerts.unsent import UnsentAlerts
from prompt_processing.settings.alerts import AlertSettings

ALERTS = [Alert(number, bytes([number]) * 100) for number in range(5)]


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The directory of kept alerts, and the store."""
    kept, store = tmp_path / "kept", tmp_path / "store"
    monkeypatch.setenv("ALERT_KEEP_DIR", str(kept))
    monkeypatch.setenv("ALERT_KEEP_STORE", str(store))
    monkeypatch.delenv("AP_KAFKA_SERVER", raising=False)
    return kept, store


def unsent_alerts(config_apdb: str) -> UnsentAlerts:
    return UnsentAlerts(AlertSettings.load().alert_stream, config_apdb)


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_worker_that_starts_sends_what_was_left(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "none"})
    server = ",".join(f"{b.host}:{b.port}" for b in host.list_topics(timeout=10).brokers.values())
    monkeypatch.setenv("AP_KAFKA_SERVER", server)
    monkeypatch.setenv("AP_KAFKA_TOPIC", "alerts")
    kept, _ = folders
    AlertFile.write(kept, 1, 2, 60000.5, ALERTS, KEPT).release()
    unsent_alerts("nowhere.yaml").begin()
    _wait(lambda: not list(kept.iterdir()))


def test_worker_starts_although_nothing_can_be_told_of_what_was_left(folders: tuple[Path, Path]) -> None:
    kept, _ = folders
    AlertFile.write(kept, 1, 2, 60000.5, ALERTS, UNDERWAY).release()
    alerts = unsent_alerts(str(kept / "nowhere.yaml"))
    alerts.begin()
    alerts.end()


def test_alerts_that_nobody_took_are_stored_after_the_visit(folders: tuple[Path, Path]) -> None:
    kept, store = folders
    alerts = unsent_alerts("nowhere.yaml")
    alerts.store()
    assert not store.exists()
    AlertFile.write(kept, 1, 2, 60000.5, ALERTS, KEPT).release()
    alerts.store()
    _wait(lambda: not list(kept.iterdir()))
    (stored,) = store.iterdir()
    assert list(read_alerts(stored)) == ALERTS


def test_worker_that_ends_leaves_nothing_on_the_pods_disk(folders: tuple[Path, Path]) -> None:
    kept, store = folders
    for suffix in (KEPT, UNDERWAY):
        AlertFile.write(kept, 1, 2, 60000.5, ALERTS, suffix).release()
    unsent_alerts("nowhere.yaml").end()
    assert list(kept.iterdir()) == []
    assert len(list(store.iterdir())) == 2


def test_worker_that_ends_waits_for_the_alerts_that_are_being_sent(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AP_KAFKA_SERVER", "127.0.0.1:9")
    monkeypatch.setenv("AP_KAFKA_TOPIC", "alerts")
    kept, _ = folders
    AlertFile.write(kept, 1, 2, 60000.5, ALERTS, KEPT).release()
    done: list[str] = []

    def send(settings: AlertStreamSettings, open_apdb: object) -> SendReport:
        time.sleep(0.3)
        done.append("sent")
        return SendReport()

    monkeypatch.setattr(unsent, "resend_kept_alerts", send)
    monkeypatch.setattr(unsent, "move_to_store", lambda settings: done.append("moved"))
    alerts = unsent_alerts("nowhere.yaml")
    alerts.begin()
    # No second thread beside the first.
    alerts.store()
    alerts.end()
    assert done == ["sent", "moved"]


def test_without_a_store_alerts_stay(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    kept, _ = folders
    monkeypatch.delenv("ALERT_KEEP_STORE")
    AlertFile.write(kept, 1, 2, 60000.5, ALERTS, KEPT).release()
    alerts = unsent_alerts("nowhere.yaml")
    alerts.store()
    alerts.end()
    assert len(list(kept.iterdir())) == 1
