import io
import time

import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from prompt_processing.alerts import sender
from prompt_processing.alerts.connection import AlertConnection
from prompt_processing.alerts.files import KEPT, UNDERWAY, AlertFile, kept_files, read_alerts
from prompt_processing.alerts.packets import Alert
from prompt_processing.alerts.resending import resend_kept_alerts
from prompt_processing.alerts.sender import (
    AlertsOnDemand,
    send_alerts,
)
from prompt_processing.alerts.stream_settings import AlertStreamSettings
from prompt_processing.cli.main import run
from prompt_processing.transport.kafka import KafkaSettings

TOPIC = "alerts-simulated"
ALERTS = [Alert(number, b"\0\0\0\x04\x4d" + bytes([number]) * 1000) for number in range(20)]


@pytest.fixture
def broker():
    """librdkafka's own cluster; lives as long as the client that made it."""
    host = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "none"})
    metadata = host.list_topics(timeout=10)
    return host, ",".join(f"{node.host}:{node.port}" for node in metadata.brokers.values())


def _settings(server: str, directory, timeout: float = 10.0) -> AlertStreamSettings:
    broker = KafkaSettings(bootstrap_servers=server) if server else None
    return AlertStreamSettings(broker, TOPIC, directory, timeout)


def _kept(directory) -> list[Alert]:
    alerts = (alert for path in kept_files(directory) for alert in read_alerts(path))
    return sorted(alerts, key=lambda alert: alert.dia_source_id)


def _consume(server: str, n: int) -> list[bytes]:
    return [message.value() for message in _messages(server, n)]


def _messages(server: str, n: int) -> list[Message]:
    consumer = Consumer({"bootstrap.servers": server, "group.id": "test", "auto.offset.reset": "earliest"})
    partitions = consumer.list_topics(TOPIC, timeout=10).topics[TOPIC].partitions
    consumer.assign([TopicPartition(TOPIC, number, 0) for number in partitions])
    messages: list[Message] = []
    deadline = time.monotonic() + 15
    while len(messages) < n and time.monotonic() < deadline:
        message = consumer.poll(0.2)
        if message is not None and message.error() is None:
            messages.append(message)
    consumer.close()
    return messages


def test_every_alert_reaches_the_topic_and_none_is_kept(broker, tmp_path) -> None:
    _, server = broker
    before = time.time()
    report = send_alerts(_settings(server, tmp_path), 1, 2, ALERTS)
    assert (report.sent, report.kept, report.lost) == (20, 0, 0)
    assert before <= report.last_acknowledged <= time.time()
    assert sorted(_consume(server, 20)) == sorted(alert.message for alert in ALERTS)
    assert _kept(tmp_path) == []


def test_visits_of_a_process_share_a_producer(broker, tmp_path) -> None:
    _, server = broker
    settings, connection = _settings(server, tmp_path), AlertConnection()
    assert settings.broker is not None
    reports = [send_alerts(settings, visit, 2, ALERTS, connection) for visit in (1, 2)]
    assert [(report.sent, report.kept) for report in reports] == [(20, 0), (20, 0)]
    used = []
    for _ in range(2):
        with connection.producer(settings.broker, settings.timeout_seconds) as ours:
            used.append(ours.producer)
            ours.sound = True
    assert used[0] is used[1]


def test_producer_that_was_not_answered_is_used_no_more(tmp_path) -> None:
    settings, connection = _settings("127.0.0.1:9", tmp_path, timeout=0.5), AlertConnection()
    assert settings.broker is not None
    with connection.producer(settings.broker, settings.timeout_seconds) as ours:
        first, ours.sound = ours.producer, True
    assert send_alerts(settings, 1, 2, ALERTS, connection).kept == 20
    with connection.producer(settings.broker, settings.timeout_seconds) as ours:
        assert ours.producer is not first


def test_without_a_broker_alerts_are_kept_and_the_log_says_where(tmp_path, caplog) -> None:
    report = send_alerts(_settings("", tmp_path), 2025060900001, 94, ALERTS)
    assert (report.sent, report.kept, report.last_acknowledged) == (0, 20, None)
    (path,) = kept_files(tmp_path)
    assert path.name.startswith("2025060900001_94.")
    assert _kept(tmp_path) == ALERTS
    assert str(tmp_path) in caplog.text
    assert "AP_KAFKA_SERVER" in caplog.text


def test_unreachable_broker_costs_its_timeout_and_no_alert(tmp_path, caplog) -> None:
    start = time.monotonic()
    report = send_alerts(_settings("127.0.0.1:9", tmp_path, timeout=1.0), 1, 2, ALERTS)
    assert time.monotonic() - start < 6
    assert (report.sent, report.kept, report.lost) == (0, 20, 0)
    assert "did not accept 20 alerts" in caplog.text


def test_alert_that_the_client_refuses_is_kept_and_others_are_sent(broker, tmp_path, caplog) -> None:
    _, server = broker
    huge = Alert(99, bytes(3_000_000))
    report = send_alerts(_settings(server, tmp_path), 1, 2, [huge, *ALERTS])
    assert (report.sent, report.kept) == (20, 1)
    assert _kept(tmp_path) == [huge]
    assert "MSG_SIZE_TOO_LARGE" in caplog.text


def test_messages_carry_the_time_at_which_they_were_produced(broker, tmp_path) -> None:
    _, server = broker
    before = time.time()
    send_alerts(_settings(server, tmp_path), 1, 2, ALERTS[:1])
    (message,) = _messages(server, 1)
    ((name, value),) = message.headers()
    assert name == "producer_timestamp"
    assert 1000 * before <= float(value) <= 1000 * time.time()


def test_alerts_in_flight_are_bounded_and_all_arrive(broker, tmp_path, monkeypatch) -> None:
    _, server = broker
    monkeypatch.setattr(sender, "_MAXIMUM_WAITING_BYTES", 1500)
    made = []

    def make():
        for alert in ALERTS:
            made.append(len(_delivered))
            yield alert

    _delivered: list[int] = []
    answered = sender._Delivery.on_delivery

    def on_delivery(self, alert, error, message):
        _delivered.append(alert.dia_source_id)
        answered(self, alert, error, message)

    monkeypatch.setattr(sender._Delivery, "on_delivery", on_delivery)
    assert send_alerts(_settings(server, tmp_path), 1, 2, make()).sent == 20
    # Each message has 1 kB: at most two are unanswered while the third is made.
    assert all(number - answers <= 2 for number, answers in enumerate(made))


def test_broker_that_does_not_keep_up_is_given_up_at_the_deadline(tmp_path, monkeypatch, caplog) -> None:
    monkeypatch.setattr(sender, "_MAXIMUM_WAITING_BYTES", 1500)
    made = []

    def make():
        for alert in ALERTS:
            made.append(alert)
            yield alert

    settings = _settings("127.0.0.1:9", tmp_path, timeout=0.5)
    assert send_alerts(settings, 1, 2, AlertsOnDemand(make)).kept == 20
    # The third is the first that has to wait. After that, all are made again to be kept.
    assert len(made) == 3 + 20
    assert _kept(tmp_path) == ALERTS
    assert "the broker is too slow" in caplog.text


def test_directory_that_cannot_be_written_loses_alerts_but_raises_nothing(tmp_path, caplog) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    report = send_alerts(_settings("", blocked), 1, 2, ALERTS[:2])
    assert (report.kept, report.lost) == (0, 2)
    assert "2 alerts of visit 1, detector 2 are lost" in caplog.text


def test_kept_alerts_are_resent_once_and_removed(broker, tmp_path) -> None:
    _, server = broker
    send_alerts(_settings("", tmp_path), 1, 2, ALERTS[:3])
    send_alerts(_settings("", tmp_path), 1, 3, ALERTS[3:5])
    report = resend_kept_alerts(_settings(server, tmp_path))
    assert (report.sent, report.kept) == (5, 0)
    assert sorted(_consume(server, 5)) == sorted(alert.message for alert in ALERTS[:5])
    assert _kept(tmp_path) == []
    assert resend_kept_alerts(_settings(server, tmp_path)).sent == 0


def test_alerts_that_cannot_be_resent_stay(tmp_path) -> None:
    send_alerts(_settings("", tmp_path), 1, 2, ALERTS[:3])
    report = resend_kept_alerts(_settings("127.0.0.1:9", tmp_path, timeout=0.5))
    assert (report.sent, report.kept) == (0, 3)
    assert len(_kept(tmp_path)) == 3


def test_resending_without_a_broker_says_what_is_missing(tmp_path) -> None:
    with pytest.raises(ValueError, match="AP_KAFKA_SERVER"):
        resend_kept_alerts(_settings("", tmp_path))


def test_alerts_are_made_while_others_are_on_their_way(broker, tmp_path) -> None:
    _, server = broker
    made = io.StringIO()

    def slowly():
        for alert in ALERTS[:3]:
            made.write(".")
            yield alert

    assert send_alerts(_settings(server, tmp_path), 1, 2, slowly()).sent == 3
    assert made.getvalue() == "..."


def test_resend_command_empties_the_directory_and_its_status_tells(broker, tmp_path, monkeypatch) -> None:
    _, server = broker
    send_alerts(_settings("", tmp_path), 1, 2, ALERTS[:2])
    monkeypatch.delenv("AP_KAFKA_SERVER", raising=False)
    assert run("alerts", "resend", str(tmp_path)) == 2
    monkeypatch.setenv("AP_KAFKA_SERVER", "127.0.0.1:9")
    monkeypatch.setenv("AP_KAFKA_TOPIC", TOPIC)
    assert run("alerts", "resend", str(tmp_path), "--timeout", "0.5") == 1
    monkeypatch.setenv("AP_KAFKA_SERVER", server)
    assert run("alerts", "resend", str(tmp_path)) == 0
    assert _kept(tmp_path) == []


class WorkerEndsError(BaseException):
    """As `activator.services.interruption.Interrupted` is one."""


@pytest.mark.parametrize("n_made", [0, 7, 19])
def test_worker_that_has_to_end_keeps_what_has_no_answer(tmp_path, n_made) -> None:
    ends = iter([True, False])

    def make():
        interrupted = next(ends)
        for number, alert in enumerate(ALERTS):
            if interrupted and number == n_made:
                raise WorkerEndsError
            yield alert

    with pytest.raises(WorkerEndsError):
        send_alerts(_settings("127.0.0.1:9", tmp_path), 1, 2, AlertsOnDemand(make))
    assert _kept(tmp_path) == ALERTS


def test_worker_that_has_to_end_keeps_nothing_that_was_acknowledged(broker, tmp_path) -> None:
    _, server = broker
    ends = iter([True, False])

    def make():
        interrupted = next(ends)
        yield from ALERTS[:10]
        if interrupted:
            time.sleep(4.0)  # The acknowledgements have come; nobody has read them yet.
        yield ALERTS[10]
        if interrupted:
            raise WorkerEndsError
        yield from ALERTS[11:]

    with pytest.raises(WorkerEndsError):
        send_alerts(_settings(server, tmp_path), 1, 2, AlertsOnDemand(make))
    kept = {alert.dia_source_id for alert in _kept(tmp_path)}
    assert set(range(11, 20)) <= kept <= set(range(10, 20))


def test_file_of_alerts_is_removed_when_the_broker_has_them(broker, tmp_path) -> None:
    _, server = broker
    file = AlertFile.write(tmp_path, 1, 2, 60000.5, ALERTS, UNDERWAY)
    assert send_alerts(_settings(server, tmp_path), 1, 2, file, file=file).sent == 20
    assert list(tmp_path.iterdir()) == []


def test_file_of_alerts_that_nobody_takes_is_kept_whole(tmp_path) -> None:
    file = AlertFile.write(tmp_path, 1, 2, 60000.5, ALERTS, UNDERWAY)
    report = send_alerts(_settings("127.0.0.1:9", tmp_path, timeout=0.5), 1, 2, file, file=file)
    assert (report.sent, report.kept, report.lost) == (0, 20, 0)
    assert [path.name.endswith(KEPT) for path in tmp_path.iterdir()] == [True]
    assert _kept(tmp_path) == ALERTS


def test_of_a_file_only_what_has_no_answer_is_kept(broker, tmp_path) -> None:
    _, server = broker
    huge = Alert(99, bytes(3_000_000))
    file = AlertFile.write(tmp_path, 1, 2, 60000.5, [*ALERTS, huge], UNDERWAY)
    report = send_alerts(_settings(server, tmp_path), 1, 2, file, file=file)
    assert (report.sent, report.kept, report.lost) == (20, 1, 0)
    assert len(list(tmp_path.iterdir())) == 1
    assert _kept(tmp_path) == [huge]


def test_without_room_for_what_has_no_answer_the_whole_file_is_kept(broker, tmp_path, monkeypatch) -> None:
    _, server = broker
    huge = Alert(99, bytes(3_000_000))
    file = AlertFile.write(tmp_path, 1, 2, 60000.5, [*ALERTS, huge], UNDERWAY)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert send_alerts(_settings(server, tmp_path), 1, 2, file, file=file).kept == 1
    assert len(list(tmp_path.iterdir())) == 1
    assert len(_kept(tmp_path)) == 21
