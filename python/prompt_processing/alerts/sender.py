"""Send alerts to the broker, and keep those that it does not acknowledge."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from .connection import AlertConnection
from .files import KEPT, AlertFile
from .folder import write_alert_file
from .packets import Alert
from .stream_settings import AlertStreamSettings

_LOG = logging.getLogger("lsst.prompt_processing.alerts")

_MAXIMUM_WAITING_BYTES = 256 * 2**20


@dataclass(slots=True)
class SendReport:
    """Numbers of alerts sent, kept and lost.

    Attributes
    ----------
    sent, kept, lost : `int`
        Alerts acknowledged by the broker; left in the directory; neither.
    last_acknowledged : `float` or `None`
        Unix time (UTC, seconds) of the last acknowledgement.
    """

    sent: int = 0
    kept: int = 0
    lost: int = 0
    last_acknowledged: float | None = None


@dataclass(frozen=True, slots=True)
class AlertsOnDemand:
    """Alerts that are made again for each iteration.

    An iterator that was interrupted while it made an alert yields no more.

    Attributes
    ----------
    make : callable
        Makes the alerts, always in the same order.
    """

    make: Callable[[], Iterator[Alert]]

    def __iter__(self) -> Iterator[Alert]:
        return self.make()


@dataclass(slots=True)
class _Delivery:
    """Answers of the broker so far."""

    acknowledged: set[int] = field(default_factory=set)
    waiting_bytes: int = 0
    last_acknowledged: float | None = None
    first_error: str | None = None

    def on_delivery(self, alert: Alert, error: KafkaError | None, _message: Message) -> None:
        self.waiting_bytes -= len(alert.message)
        if error is None:
            self.acknowledged.add(alert.dia_source_id)
            self.last_acknowledged = time.time()
        else:
            self.refuse(error.str())

    def refuse(self, why: str) -> None:
        self.first_error = self.first_error or why


def send_alerts(
    settings: AlertStreamSettings,
    visit: int,
    detector: int,
    alerts: Iterable[Alert],
    connection: AlertConnection | None = None,
    file: AlertFile | None = None,
) -> SendReport:
    """Send the alerts of one visit-detector.

    A failing broker raises nothing: alerts that are not acknowledged in time
    are kept. An alert in flight at that moment may still arrive, so that
    consumers can see it twice (with the same diaSourceId).

    Parameters
    ----------
    settings : `AlertStreamSettings`
        Broker and directory.
    visit, detector : `int`
        Ids of the alerts' visit and detector.
    alerts : iterable of `Alert`
        Alerts that can be iterated over again, as `AlertsOnDemand` can, to
        keep those without an answer.
    connection : `~prompt_processing.alerts.connection.AlertConnection`, optional
        Connection shared by the visits of this process; by default a new one.
    file : `~prompt_processing.alerts.files.AlertFile`, optional
        File of the same alerts on disk. It is removed when all are
        acknowledged; otherwise the rest is kept, even after an interruption.

    Returns
    -------
    report : `SendReport`
        Numbers of alerts.
    """
    delivery = _Delivery()
    if settings.broker is None and settings.folder is not None:
        return _write_to_folder(settings, settings.folder, visit, detector, alerts, file)
    if settings.broker is None:
        report = _settle(settings, visit, detector, alerts, delivery, file)
        _LOG.warning(
            "No broker is configured (AP_KAFKA_SERVER): %d alerts of visit %d, detector %d are kept in %s.",
            report.kept,
            visit,
            detector,
            settings.keep_directory,
        )
        return report
    connection = connection or AlertConnection()
    with connection.producer(settings.broker, settings.timeout_seconds) as ours:
        try:
            _produce_until_answered(ours.producer, settings, delivery, alerts)
        except BaseException:
            # The worker is asked to end, or the visit's time is over. The APDB has the sources by now, so
            # these alerts are never made again. One that is in flight may still arrive.
            ours.producer.poll(0)
            ours.producer.purge()
            report = _settle(settings, visit, detector, alerts, delivery, file)
            _LOG.error("Interrupted: %d alerts are sent, %d kept.", report.sent, report.kept)
            raise
        report = _settle(settings, visit, detector, alerts, delivery, file)
        ours.sound = not (report.kept or report.lost)
    if not ours.sound:
        _LOG.error(
            "The broker %s did not accept %d alerts of visit %d, detector %d (%s); %d are kept in %s, from "
            "where prompt alerts resend sends them.",
            settings.broker.bootstrap_servers,
            report.kept + report.lost,
            visit,
            detector,
            ours.refusal or delivery.first_error or "no answer in time",
            report.kept,
            settings.keep_directory,
        )
    return report


def _write_to_folder(
    settings: AlertStreamSettings,
    folder: Path,
    visit: int,
    detector: int,
    alerts: Iterable[Alert],
    file: AlertFile | None,
) -> SendReport:
    """Write the alerts into the folder; keep them if that fails."""
    try:
        number, finished = write_alert_file(folder, visit, detector, alerts)
    except OSError as error:
        report = _settle(settings, visit, detector, alerts, _Delivery(), file)
        _LOG.error("Cannot write alerts into %s (%s); %d are kept.", folder, error, report.kept)
        return report
    if file is not None:
        file.remove()
    return SendReport(sent=number, last_acknowledged=finished if number else None)


def _settle(
    settings: AlertStreamSettings,
    visit: int,
    detector: int,
    alerts: Iterable[Alert],
    delivery: _Delivery,
    file: AlertFile | None,
) -> SendReport:
    """Keep the alerts that are not acknowledged, and count them."""
    report = SendReport(sent=len(delivery.acknowledged), last_acknowledged=delivery.last_acknowledged)
    if file is not None:
        report.kept = len(file) - report.sent
        if not report.kept:
            file.remove()
        elif not report.sent:
            file.keep()
        else:
            file.keep_without(delivery.acknowledged)
        return report

    def counted() -> Iterator[Alert]:
        for alert in alerts:
            if alert.dia_source_id not in delivery.acknowledged:
                report.kept += 1
                yield alert

    rest = counted()
    first = next(rest, None)
    if first is None:
        return report
    try:
        directory = settings.keep_directory
        AlertFile.write(directory, visit, detector, 0.0, chain([first], rest), KEPT).release()
    except OSError as exc:
        # The visit is in the APDB: alerts that cannot be kept must not make it fail.
        for _ in rest:
            pass
        report.lost, report.kept = report.kept, 0
        _LOG.error("%d alerts of visit %d, detector %d are lost: %s", report.lost, visit, detector, exc)
    return report


def _produce_until_answered(
    producer: Producer, settings: AlertStreamSettings, delivery: _Delivery, alerts: Iterable[Alert]
) -> None:
    deadline: float | None = None
    for alert in alerts:
        # The broker's time starts with the first alert, which excludes the time to make it.
        deadline = deadline or time.monotonic() + settings.timeout_seconds
        while delivery.waiting_bytes > _MAXIMUM_WAITING_BYTES and time.monotonic() < deadline:
            producer.poll(0.1)
        if time.monotonic() >= deadline and delivery.waiting_bytes > _MAXIMUM_WAITING_BYTES:
            delivery.refuse("the broker is too slow")
            break
        _produce_one(producer, settings.topic, delivery, alert)
        producer.poll(0)
    if deadline is None:
        return
    if producer.flush(max(deadline - time.monotonic(), 0.1)):
        producer.purge()
        producer.flush(5.0)


def _produce_one(producer: Producer, topic: str, delivery: _Delivery, alert: Alert) -> None:
    delivery.waiting_bytes += len(alert.message)
    headers = [("producer_timestamp", str(time.time() * 1000).encode())]
    try:
        producer.produce(
            topic, alert.message, headers=headers, on_delivery=partial(delivery.on_delivery, alert)
        )
    except (KafkaException, BufferError) as exc:
        delivery.waiting_bytes -= len(alert.message)
        delivery.refuse(str(exc))
