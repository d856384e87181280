import fcntl
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from confluent_kafka import Producer
from lsst.dax.apdb import Apdb

from prompt_processing.alerts import resending
from prompt_processing.alerts.files import (
    KEPT,
    UNDERWAY,
    AlertFile,
    AlertFileError,
    kept_files,
    read_alerts,
    underway_files,
    write_underway,
)
from prompt_processing.alerts.packets import Alert
from prompt_processing.alerts.resending import (
    move_to_store,
    resend_kept_alerts,
    resend_stored_alerts,
    settle_underway,
)
from prompt_processing.alerts.stream_settings import AlertStreamSettings
from prompt_processing.apdb.write import AlreadyInApdbError
from prompt_processing.domain.errors import NonRetriableError, RetriableError
from prompt_processing.transport.kafka import KafkaSettings

ALERTS = [Alert(number, b"\0\0\0\x04\x4d" + bytes([number]) * 1000) for number in range(5)]


@pytest.fixture
def broker():
    """librdkafka's own cluster; lives as long as the client that made it."""
    host = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "none"})
    metadata = host.list_topics(timeout=10)
    yield ",".join(f"{node.host}:{node.port}" for node in metadata.brokers.values())
    del host


def _settings(tmp_path: Path, server: str = "", timeout: float = 10.0) -> AlertStreamSettings:
    broker = KafkaSettings(bootstrap_servers=server) if server else None
    return AlertStreamSettings(broker, "alerts", tmp_path / "kept", timeout, str(tmp_path / "store"))


def _away() -> Apdb:
    raise RetriableError("The APDB is away.")


def _never() -> Apdb:
    raise AssertionError("nobody has to ask the APDB")


def _write(folder: Path, suffix: str, visit: int = 1) -> None:
    AlertFile.write(folder, visit, 2, 60000.5, ALERTS, suffix).release()


def test_file_tells_whose_alerts_it_has_and_which(tmp_path) -> None:
    _write(tmp_path, UNDERWAY, visit=2025060900001)
    (path,) = underway_files(tmp_path)
    file = AlertFile.claim(path)
    assert file is not None
    assert (file.visit, file.detector, file.processed_mjd, len(file)) == (2025060900001, 2, 60000.5, 5)
    assert list(file) == ALERTS
    file.release()


@pytest.mark.parametrize("size", [100, 5000, 7680])
def test_file_is_complete_on_disk_before_the_apdb_is_written(tmp_path, size) -> None:
    # With 7680 bytes the end of the archive is in Python's buffer until it is flushed.
    file = AlertFile.write(tmp_path, 1, 2, 60000.5, [Alert(1, bytes(size))], UNDERWAY)
    written = file.path.read_bytes()
    file.release()
    assert written
    assert file.path.read_bytes() == written


def test_visit_goes_on_without_a_copy_on_disk_and_says_so(tmp_path, caplog) -> None:
    processed = pd.Series([60000.5, 60000.5])
    assert write_underway(tmp_path, 1, 2, processed[:0], ALERTS) is None
    assert caplog.text == ""
    (tmp_path / "file").touch()
    assert write_underway(tmp_path / "file", 1, 2, processed, ALERTS) is None
    assert "alerts of visit 1, detector 2 are sent without a copy on disk" in caplog.text
    file = write_underway(tmp_path / "kept", 1, 2, processed, ALERTS)
    assert file is not None
    assert file.processed_mjd == 60000.5
    file.remove()


def test_folder_that_does_not_exist_has_no_alerts(tmp_path) -> None:
    assert kept_files(tmp_path / "none") == underway_files(tmp_path / "none") == []
    settle_underway(tmp_path / "none", _never)


def test_file_is_one_processs_at_a_time(tmp_path) -> None:
    held = AlertFile.write(tmp_path, 1, 2, 60000.5, ALERTS, KEPT)
    assert AlertFile.claim(held.path) is None
    held.release()
    again = AlertFile.claim(held.path)
    assert again is not None
    again.remove()
    assert AlertFile.claim(held.path) is None


def test_file_that_is_cut_off_is_refused_by_name(tmp_path, broker) -> None:
    _write(tmp_path / "kept", KEPT)
    (path,) = kept_files(tmp_path / "kept")
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(AlertFileError, match=path.name):
        AlertFile.claim(path)
    assert resend_kept_alerts(_settings(tmp_path, broker)).sent == 0
    assert path.exists()


def test_what_cannot_be_written_is_not_there_at_all(tmp_path) -> None:
    def fails():
        yield ALERTS[0]
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        AlertFile.write(tmp_path, 1, 2, 60000.5, fails(), UNDERWAY)
    assert list(tmp_path.iterdir()) == []


def test_alerts_stay_until_the_apdb_tells_whether_they_are_to_be_sent(tmp_path, caplog) -> None:
    _write(tmp_path, UNDERWAY)
    settle_underway(tmp_path, _away)
    assert len(underway_files(tmp_path)) == 1
    assert "The APDB is away" in caplog.text


def test_half_a_file_of_a_dead_worker_is_removed_and_that_of_a_living_one_stays(tmp_path) -> None:
    with AlertFile.write(tmp_path, 1, 2, 60000.5, ALERTS, UNDERWAY)._file as file:
        (path,) = underway_files(tmp_path)
        path.rename(path.with_name(path.name + ".part"))
        (tmp_path / "1_3.abcdefgh.underway.part").write_bytes(b"half")
        settle_underway(tmp_path, _never)
        assert [one.name for one in tmp_path.iterdir()] == [f"{path.name}.part"]
        assert not file.closed


def test_unsent_alerts_move_to_the_store_and_are_sent_from_there(tmp_path, broker) -> None:
    settings = _settings(tmp_path, broker)
    _write(settings.keep_directory, KEPT)
    move_to_store(settings)
    assert list(settings.keep_directory.iterdir()) == []
    (stored,) = (tmp_path / "store").iterdir()
    assert list(read_alerts(stored)) == ALERTS
    assert resend_kept_alerts(settings, _never).sent == 0
    assert resend_stored_alerts(settings, _never).sent == 5
    assert list((tmp_path / "store").iterdir()) == []


def test_what_the_broker_does_not_take_stays_in_the_store(tmp_path) -> None:
    settings = _settings(tmp_path, "127.0.0.1:9", timeout=0.5)
    _write(settings.keep_directory, KEPT)
    move_to_store(settings)
    assert resend_stored_alerts(settings, _never).kept == 5
    (stored,) = (tmp_path / "store").iterdir()
    assert list(read_alerts(stored)) == ALERTS


def test_what_a_killed_worker_left_is_judged_in_the_store_too(tmp_path, broker) -> None:
    settings = _settings(tmp_path, broker)
    _write(settings.keep_directory, UNDERWAY)
    move_to_store(settings)
    assert resend_stored_alerts(settings, _away).sent == 0
    assert len(list((tmp_path / "store").iterdir())) == 1


def test_store_that_is_away_leaves_the_alerts_where_they_are(tmp_path, caplog) -> None:
    (tmp_path / "file").touch()
    settings = replace(_settings(tmp_path), keep_store=str(tmp_path / "file" / "store"))
    _write(settings.keep_directory, KEPT)
    move_to_store(settings)
    assert len(kept_files(settings.keep_directory)) == 1
    assert "5 alerts of visit 1, detector 2 stay in" in caplog.text


def test_broker_that_takes_nothing_is_asked_once(tmp_path, caplog) -> None:
    settings = _settings(tmp_path, "127.0.0.1:9", timeout=0.5)
    for visit in range(3):
        _write(settings.keep_directory, KEPT, visit)
    report = resend_kept_alerts(settings)
    assert (report.sent, report.kept, report.last_acknowledged) == (0, 15, None)
    paths = kept_files(settings.keep_directory)
    assert len(paths) == 3
    assert caplog.text.count("did not accept") == 1
    for path in paths:
        claimed = AlertFile.claim(path)
        assert claimed is not None, "the lock was not released"
        claimed.release()


def test_report_adds_up_the_files_that_are_sent(tmp_path, broker) -> None:
    settings = _settings(tmp_path, broker)
    before = time.time()
    for visit in range(3):
        _write(settings.keep_directory, KEPT, visit)
    report = resend_kept_alerts(settings)
    assert (report.sent, report.kept, report.lost) == (15, 0, 0)
    assert report.last_acknowledged is not None
    assert before <= report.last_acknowledged <= time.time()


def test_only_what_the_broker_refused_stays_in_the_store(tmp_path, broker) -> None:
    settings = _settings(tmp_path, broker)
    huge = Alert(99, bytes(3_000_000))
    AlertFile.write(settings.keep_directory, 1, 2, 60000.5, [*ALERTS, huge], KEPT).release()
    move_to_store(settings)
    report = resend_stored_alerts(settings, _never)
    assert (report.sent, report.kept) == (5, 1)
    (stored,) = (tmp_path / "store").iterdir()
    assert list(read_alerts(stored)) == [huge]


def test_without_a_store_nothing_is_moved_or_sent_from_it(tmp_path, broker) -> None:
    settings = replace(_settings(tmp_path, broker), keep_store=None)
    _write(settings.keep_directory, KEPT)
    move_to_store(settings)
    assert len(kept_files(settings.keep_directory)) == 1
    report = resend_stored_alerts(settings, _never)
    assert (report.sent, report.kept) == (0, 0)


@pytest.mark.parametrize("committed", [True, False])
def test_alerts_of_a_killed_worker_are_sent_exactly_if_the_apdb_has_their_sources(
    tmp_path, broker, monkeypatch, committed
) -> None:
    asked = []

    def was_committed(apdb, visit: int, detector: int, processed_mjd: float) -> bool:
        asked.append((apdb, visit, detector, processed_mjd))
        return committed

    monkeypatch.setattr(resending, "was_committed", was_committed)
    settings = _settings(tmp_path, broker)
    _write(settings.keep_directory, UNDERWAY, visit=7)
    report = resend_kept_alerts(settings, lambda: "apdb")
    assert report.sent == (5 if committed else 0)
    assert list(settings.keep_directory.iterdir()) == []
    _write(settings.keep_directory, UNDERWAY, visit=8)
    move_to_store(settings)
    report = resend_stored_alerts(settings, lambda: "apdb")
    assert report.sent == (5 if committed else 0)
    assert list((tmp_path / "store").iterdir()) == []
    assert asked == [("apdb", 7, 2, 60000.5), ("apdb", 8, 2, 60000.5)]


def test_file_that_was_replaced_before_it_was_locked_is_not_used(tmp_path, monkeypatch) -> None:
    """Another process sent and removed it, and a new file has its name."""
    _write(tmp_path, KEPT)
    (path,) = kept_files(tmp_path)
    lock = fcntl.flock

    def replaced(file, operation: int) -> None:
        path.rename(tmp_path / "sent")
        path.write_bytes((tmp_path / "sent").read_bytes())
        lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", replaced)
    assert AlertFile.claim(path) is None


@pytest.mark.parametrize(
    ("failure", "stays"),
    [
        (RetriableError("the APDB was away before the commit"), False),
        (NonRetriableError("the APDB refuses the rows", "useless"), False),
        (AlreadyInApdbError(1, 2), False),
        (NonRetriableError("the connection broke during the commit", "unsafe"), True),
        (OSError("the connection broke"), True),
        (KeyboardInterrupt(), True),
    ],
)
def test_alerts_stay_exactly_where_their_commit_may_have_happened(
    tmp_path: Path, failure: BaseException, stays: bool
) -> None:
    file = AlertFile.write(tmp_path, 1, 2, 60000.5, ALERTS, UNDERWAY)
    file.judge(failure)
    assert underway_files(tmp_path) == ([file.path] if stays else [])
    if stays:
        claimed = AlertFile.claim(file.path)
        assert claimed is not None, "nobody else could ever settle it"
        claimed.release()
