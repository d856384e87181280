"""Alerts in a folder: complete Avro files, which any reader opens."""

from __future__ import annotations

from pathlib import Path

import fastavro
import pandas as pd
import pytest
from alert_packets import encode, frame

from prompt_processing.alerts.files import kept_files, write_underway
from prompt_processing.alerts.packets import Alert
from prompt_processing.alerts.reading import AlertReader
from prompt_processing.alerts.resending import resend_kept_alerts
from prompt_processing.alerts.sender import send_alerts
from prompt_processing.alerts.stream_settings import AlertStreamSettings

ALERTS = [Alert(number, frame(encode(number))) for number in (5, 6, 7)]


@pytest.fixture
def settings(tmp_path: Path) -> AlertStreamSettings:
    return AlertStreamSettings(keep_directory=tmp_path / "unsent", folder=tmp_path / "alerts")


def test_a_visit_becomes_one_file_of_all_its_alerts(settings: AlertStreamSettings) -> None:
    file = write_underway(settings.keep_directory, 12, 3, pd.Series([60000.0]), ALERTS)
    report = send_alerts(settings, 12, 3, file or ALERTS, None, file)
    assert (report.sent, report.kept, report.lost) == (3, 0, 0)
    assert report.last_acknowledged is not None
    assert settings.folder is not None
    (written,) = settings.folder.iterdir()
    assert written.name == "12_3.avro"
    with written.open("rb") as opened:
        assert [alert["diaSourceId"] for alert in fastavro.reader(opened)] == [5, 6, 7]
    found = [alert.content["diaSourceId"] for alert in AlertReader().read(settings.folder)]  # type: ignore[index]
    assert found == [5, 6, 7]
    assert list(settings.keep_directory.iterdir()) == []


def test_without_changes_there_is_no_file(settings: AlertStreamSettings) -> None:
    assert send_alerts(settings, 12, 3, []).sent == 0
    assert settings.folder is not None
    assert not settings.folder.exists()


def test_alerts_that_cannot_be_written_are_kept_and_written_later(settings: AlertStreamSettings) -> None:
    assert settings.folder is not None
    settings.folder.write_text("in the way")
    report = send_alerts(settings, 12, 3, ALERTS)
    assert (report.sent, report.kept) == (0, 3)
    settings.folder.unlink()
    assert resend_kept_alerts(settings).sent == 3
    assert [path.name for path in settings.folder.iterdir()] == ["12_3.avro"]
    assert kept_files(settings.keep_directory) == []
