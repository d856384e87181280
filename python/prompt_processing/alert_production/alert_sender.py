"""Send alerts to the broker, and keep what it does not take."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from pydantic import SecretStr

from ..transport.kafka import KafkaSettings
from .alert_connection import AlertConnection
from .alert_packets import Alert

_LOG = logging.getLogger("lsst.prompt_processing.alerts")

_MAXIMUM_WAITING_BYTES = 256 * 2**20
_SUFFIX = ".avro"


@dataclass(frozen=True, slots=True)
class AlertStreamSettings:
    """Where alerts go.

    Attributes
    ----------
    broker : `KafkaSettings` or `None`
        `None` if there is no broker.
    topic : `str`
        Topic of the alerts.
    keep_directory : `~pathlib.Path`
        Where unsent alerts stay.
    timeout_seconds : `float`
        How long a visit's alerts may take to be acknowledged.
    """

    broker: KafkaSettings | None
    topic: str
    keep_directory: Path
    timeout_seconds: float = 15.0

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str], timeout_seconds: float = 15.0
    ) -> AlertStreamSettings:
        """Read ``AP_KAFKA_*``, ``ALERT_KEEP_DIR`` and ``LOCAL_REPOS``.

        A server without a topic is as good as none, and says so in the log.
        """
        server = environment.get("AP_KAFKA_SERVER", "")
        topic = environment.get("AP_KAFKA_TOPIC", "")
        broker = None
        if server and topic:
            username = environment.get("AP_KAFKA_PRODUCER_USERNAME")
            password = environment.get("AP_KAFKA_PRODUCER_PASSWORD")
            broker = KafkaSettings(
                bootstrap_servers=server,
                username=SecretStr(username) if username else None,
                password=SecretStr(password) if password else None,
            )
        elif server:
            _LOG.error("AP_KAFKA_SERVER is set but AP_KAFKA_TOPIC is not: alerts cannot be sent.")
        local = Path(environment.get("LOCAL_REPOS") or "/tmp") / "unsent-alerts"
        return cls(broker, topic, Path(environment.get("ALERT_KEEP_DIR") or local), timeout_seconds)


@dataclass(slots=True)
class SendReport:
    """What became of alerts.

    Attributes
    ----------
    sent, kept, lost : `int`
        Acknowledged by the broker; left in the directory; neither.
    last_acknowledged : `float` or `None`
        Unix time (UTC, seconds) of the last acknowledgement.
    """

    sent: int = 0
    kept: int = 0
    lost: int = 0
    last_acknowledged: float | None = None


@dataclass(frozen=True, slots=True)
class AlertsOnDemand:
    """Alerts that are made anew each time somebody goes through them.

    An iterator that was interrupted while it made one gives no more.

    Attributes
    ----------
    make : callable
        Makes them, in the same order each time.
    """

    make: Callable[[], Iterator[Alert]]

    def __iter__(self) -> Iterator[Alert]:
        return self.make()


@dataclass(frozen=True, slots=True)
class KeptAlerts:
    """Directory of unsent alerts: ``<visit>_<detector>/<diaSourceId>.avro``, framed as for Kafka.

    Attributes
    ----------
    directory : `~pathlib.Path`
        Made when the first alert comes.
    """

    directory: Path

    def keep(self, group: str, alert: Alert) -> None:
        """Write an alert; it is there whole or not at all.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        folder = self.directory / group
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{alert.dia_source_id}{_SUFFIX}"
        unfinished = path.with_suffix(f".{os.getpid()}.part")
        unfinished.write_bytes(alert.message)
        unfinished.replace(path)

    def __iter__(self) -> Iterator[Path]:
        """Go through the files of kept alerts, in order of name."""
        return iter(sorted(self.directory.glob(f"*/*{_SUFFIX}")))


@dataclass(slots=True)
class _Delivery:
    """Counts answers of the broker and hands on what it refused."""

    kept: KeptAlerts
    group: str
    report: SendReport = field(default_factory=SendReport)
    unanswered: dict[int, Alert] = field(default_factory=dict)
    met: set[int] = field(default_factory=set)
    waiting_bytes: int = 0
    first_error: str | None = None

    def on_delivery(self, alert: Alert, error: KafkaError | None, _message: Message) -> None:
        if self.unanswered.pop(alert.dia_source_id, None) is None:
            return
        self.waiting_bytes -= len(alert.message)
        if error is None:
            self.report.sent += 1
            self.report.last_acknowledged = time.time()
        else:
            self.keep(alert, error.str())

    def keep_rest(self, alerts: Iterable[Alert], why: str) -> None:
        """Keep what has no answer, and those of the alerts that were not even tried."""
        while self.unanswered:
            self.keep(self.unanswered.popitem()[1], why)
        for alert in alerts:
            if alert.dia_source_id not in self.met:
                self.keep(alert, why)

    def keep(self, alert: Alert, why: str) -> None:
        self.met.add(alert.dia_source_id)
        self.first_error = self.first_error or why
        try:
            self.kept.keep(self.group, alert)
        except OSError as exc:
            # The visit is done and in the APDB: an alert that cannot even be kept must not undo that.
            self.report.lost += 1
            _LOG.error("Alert %d is lost: %s; %s", alert.dia_source_id, why, exc)
        else:
            self.report.kept += 1


def send_alerts(
    settings: AlertStreamSettings,
    visit: int,
    detector: int,
    alerts: Iterable[Alert],
    connection: AlertConnection | None = None,
) -> SendReport:
    """Send the alerts of one visit-detector.

    Never fails for the broker's sake: what is not acknowledged in time is
    kept. An alert in flight when the time runs out may have arrived all the
    same, so that consumers can see it twice (with the same diaSourceId).

    Parameters
    ----------
    settings : `AlertStreamSettings`
        Where to.
    visit, detector : `int`
        Whose alerts these are.
    alerts : iterable of `Alert`
        Made while others are already on their way. An `AlertsOnDemand` lets
        those be kept too that were not made yet when the worker has to end.
    connection : `~prompt_processing.alert_production.alert_connection.AlertConnection`, optional
        Of the visits of this process; by default one for these alerts alone.

    Returns
    -------
    report : `SendReport`
    """
    delivery = _Delivery(KeptAlerts(settings.keep_directory), f"{visit}_{detector}")
    if settings.broker is None:
        for alert in alerts:
            delivery.keep(alert, "there is no broker")
        _LOG.warning(
            "No broker is configured (AP_KAFKA_SERVER): %d alerts of visit %d, detector %d are kept in %s.",
            delivery.report.kept,
            visit,
            detector,
            settings.keep_directory,
        )
        return delivery.report
    connection = connection or AlertConnection()
    with connection.producer(settings.broker, settings.timeout_seconds) as ours:
        _produce(ours.producer, settings, delivery, alerts)
        ours.sound = not (delivery.report.kept or delivery.report.lost)
    if not ours.sound:
        _LOG.error(
            "The broker %s did not take %d alerts of visit %d, detector %d (%s); %d are kept in %s, from "
            "where prompt-resend-alerts sends them.",
            settings.broker.bootstrap_servers,
            delivery.report.kept + delivery.report.lost,
            visit,
            detector,
            ours.refusal or delivery.first_error,
            delivery.report.kept,
            settings.keep_directory,
        )
    return delivery.report


def resend_kept_alerts(settings: AlertStreamSettings) -> SendReport:
    """Send what is kept, and remove what the broker acknowledges.

    Returns
    -------
    report : `SendReport`
        ``kept`` counts what stays.

    Raises
    ------
    ValueError
        If there is no broker.
    """
    if settings.broker is None:
        raise ValueError("There is no broker to send to: AP_KAFKA_SERVER or AP_KAFKA_TOPIC is not set.")
    total = SendReport()
    kept = KeptAlerts(settings.keep_directory)
    by_group: dict[str, list[Path]] = {}
    for path in kept:
        by_group.setdefault(path.parent.name, []).append(path)
    with AlertConnection().producer(settings.broker, settings.timeout_seconds) as ours:
        for group, paths in by_group.items():
            delivery = _Delivery(kept, group)
            acknowledged: set[int] = set()
            alerts = (Alert(int(path.stem), path.read_bytes()) for path in paths)
            _produce(ours.producer, settings, delivery, alerts, acknowledged)
            for path in paths:
                if int(path.stem) in acknowledged:
                    path.unlink()
            total.sent += delivery.report.sent
            total.kept += delivery.report.kept
            total.lost += delivery.report.lost
            total.last_acknowledged = delivery.report.last_acknowledged or total.last_acknowledged
    if ours.refusal:
        _LOG.error("The broker %s takes no alerts: %s.", settings.broker.bootstrap_servers, ours.refusal)
    return total


def _produce(
    producer: Producer,
    settings: AlertStreamSettings,
    delivery: _Delivery,
    alerts: Iterable[Alert],
    acknowledged: set[int] | None = None,
) -> None:
    try:
        _produce_until_answered(producer, settings, delivery, alerts, acknowledged)
    except BaseException:
        # The worker is told to end, or the visit's time is over. The APDB has the sources by now, and nobody
        # will make these alerts again. One that is in flight may arrive all the same.
        producer.poll(0)
        producer.purge()
        delivery.keep_rest(alerts, "the worker had to end")
        _LOG.error("Interrupted: %d alerts are sent, %d kept.", delivery.report.sent, delivery.report.kept)
        raise


def _produce_until_answered(
    producer: Producer,
    settings: AlertStreamSettings,
    delivery: _Delivery,
    alerts: Iterable[Alert],
    acknowledged: set[int] | None,
) -> None:
    deadline: float | None = None
    for alert in alerts:
        # The clock starts with the first alert: making them is not the broker's time.
        deadline = deadline or time.monotonic() + settings.timeout_seconds
        while delivery.waiting_bytes > _MAXIMUM_WAITING_BYTES and time.monotonic() < deadline:
            producer.poll(0.1)
        if time.monotonic() >= deadline and delivery.waiting_bytes > _MAXIMUM_WAITING_BYTES:
            delivery.keep(alert, "the broker is too slow")
            continue
        _produce_one(producer, settings.topic, delivery, alert, acknowledged)
        producer.poll(0)
    if deadline is None:
        return
    if producer.flush(max(deadline - time.monotonic(), 0.1)):
        producer.purge()
        producer.flush(5.0)
    delivery.keep_rest((), "no answer in time")


def _produce_one(
    producer: Producer, topic: str, delivery: _Delivery, alert: Alert, acknowledged: set[int] | None
) -> None:
    def answer(error: KafkaError | None, message: Message) -> None:
        if error is None and acknowledged is not None:
            acknowledged.add(alert.dia_source_id)
        delivery.on_delivery(alert, error, message)

    delivery.met.add(alert.dia_source_id)
    delivery.unanswered[alert.dia_source_id] = alert
    delivery.waiting_bytes += len(alert.message)
    headers = [("producer_timestamp", str(time.time() * 1000).encode())]
    try:
        producer.produce(topic, alert.message, headers=headers, on_delivery=answer)
    except (KafkaException, BufferError) as exc:
        delivery.waiting_bytes -= len(alert.message)
        del delivery.unanswered[alert.dia_source_id]
        delivery.keep(alert, str(exc))
