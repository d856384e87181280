"""Read alerts back from their topic in a separate process, and decode them afterwards."""

from __future__ import annotations

import argparse
import io
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro
from confluent_kafka import Consumer
from lsst.alert.packet import Schema, get_path_to_latest_schema

from prompt_processing.settings.alerts import AlertSettings
from prompt_processing.transport.kafka import make_consumer
from prompt_processing.transport.schema_registry import SchemaRegistry, unframe

_FETCH_BYTES = 16 * 2**20

__all__ = ["AlertSummary", "UnreadableAlertError", "decode_alert", "main", "read_alerts"]


class UnreadableAlertError(ValueError):
    """An alert does not follow its schema; the message names the alert and the reason."""


@dataclass(frozen=True, slots=True)
class AlertSummary:
    """The parts of an alert that the demo counts.

    Attributes
    ----------
    path : `~pathlib.Path`
        The file that holds it.
    dia_source_id, visit, detector : `int`
        Its DiaSource, and where that was detected.
    n_previous, n_forced : `int`
        Previous DiaSources and forced sources of the object.
    n_cutouts : `int`
        Number of cutouts.
    """

    path: Path
    dia_source_id: int
    visit: int
    detector: int
    n_previous: int
    n_forced: int
    n_cutouts: int


def decode_alert(message: bytes) -> dict[str, Any]:
    """Decode an alert with the alert package and with plain Avro, and compare the two.

    Parameters
    ----------
    message : `bytes`
        The framed message from the topic.

    Raises
    ------
    UnreadableAlertError
        It is not framed, its schema is not the newest, or the two readings differ.
    """
    return _Decoder(None).decode(message)


def read_alerts(folder: Path, registry_url: str | None = None) -> Iterator[AlertSummary]:
    """Decode all alerts that were written to a folder.

    Parameters
    ----------
    folder : `~pathlib.Path`
        Of the files.
    registry_url : `str`, optional
        Schema registry with the alerts' schema; the default is the alert package's own schema.

    Raises
    ------
    UnreadableAlertError
        One of them cannot be read.
    """
    decoder = _Decoder(registry_url)
    for path in sorted(folder.glob("*.avro")):
        try:
            alert = decoder.decode(path.read_bytes())
        except UnreadableAlertError as error:
            raise UnreadableAlertError(f"{path}: {error}") from error
        source = alert["diaSource"]
        yield AlertSummary(
            path=path,
            dia_source_id=int(source["diaSourceId"]),
            visit=int(source["visit"]),
            detector=int(source["detector"]),
            n_previous=len(alert.get("prvDiaSources") or ()),
            n_forced=len(alert.get("prvDiaForcedSources") or ()),
            n_cutouts=sum(
                alert.get(f"cutout{kind}") is not None for kind in ("Science", "Template", "Difference")
            ),
        )


class _Decoder:
    def __init__(self, registry_url: str | None) -> None:
        self._schema = Schema.from_file()
        self._schema_id = self._schema.get_schema_id()
        # Independent of the package's own assembly of the schema: from the registry, or from the files.
        self._plain_schema = (
            SchemaRegistry(registry_url).schema(self._schema_id)
            if registry_url
            else fastavro.schema.load_schema(get_path_to_latest_schema())
        )

    def decode(self, message: bytes) -> dict[str, Any]:
        try:
            schema_id, datum = unframe(message)
            if schema_id != self._schema_id:
                raise UnreadableAlertError(f"schema {schema_id} is not {self._schema_id}")
            alert: dict[str, Any] = self._schema.deserialize(datum)
            rest = io.BytesIO(datum)
            plain = fastavro.schemaless_reader(rest, self._plain_schema, None)
        except (ValueError, EOFError, IndexError, KeyError) as error:
            raise UnreadableAlertError(f"does not follow the alert schema: {error}") from error
        if rest.read(1):
            raise UnreadableAlertError("bytes follow the alert")
        # As text, because NaN is not equal to itself.
        if not isinstance(plain, dict) or repr(plain["diaSource"]) != repr(alert["diaSource"]):
            raise UnreadableAlertError("two readers of the same bytes disagree")
        return alert


def main(arguments: Sequence[str] | None = None) -> int:
    """Write each alert to a file until a signal arrives; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m prompt_processing.demo.alerts",
        description="Read alerts from a Kafka topic, from its beginning, and write each to a file.",
        epilog="AP_KAFKA_PRODUCER_USERNAME, AP_KAFKA_PRODUCER_PASSWORD, AP_KAFKA_SECURITY_PROTOCOL and "
        "AP_KAFKA_CA_FILE, where set, are used to read.",
    )
    parser.add_argument("broker", help="bootstrap servers, host:port")
    parser.add_argument("topic")
    parser.add_argument("folder", type=Path, help="where the files go")
    options = parser.parse_args(arguments)
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: stopped.append(received))
    options.folder.mkdir(parents=True, exist_ok=True)
    broker = AlertSettings.load(
        ap_kafka_server=options.broker, ap_kafka_topic=options.topic
    ).alert_stream.broker
    assert broker is not None, "it is on the command line"
    consumer = make_consumer(
        broker,
        f"alert-reader-{time.time_ns()}",
        auto_offset_reset="earliest",
        fetch_wait_max_ms=50,
        # All alerts of a visit arrive at once.
        fetch_message_max_bytes=_FETCH_BYTES,
        fetch_max_bytes=4 * _FETCH_BYTES,
        receive_message_max_bytes=5 * _FETCH_BYTES,
        queued_max_messages_kbytes=1_000_000,
    )
    consumer.subscribe([options.topic])
    try:
        _write(consumer, options.folder, stopped)
    finally:
        consumer.close()
    return 0


def _write(consumer: Consumer, folder: Path, stopped: list[int]) -> None:
    while not stopped:
        for message in consumer.consume(200, timeout=0.2):
            if message.error() is None:
                path = folder / f"{message.partition()}-{message.offset():08d}.avro"
                # Renamed when complete: another process counts the files.
                partial = path.with_suffix(".part")
                partial.write_bytes(message.value())
                partial.rename(path)


if __name__ == "__main__":
    sys.exit(main())
