"""Reads alerts back from their topic, in a process of its own, and decodes them afterwards."""

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
    """An alert is not of its schema; the message says which and why."""


@dataclass(frozen=True, slots=True)
class AlertSummary:
    """What a consumer sees at first sight of an alert.

    Attributes
    ----------
    path : `~pathlib.Path`
        The file of its bytes.
    dia_source_id, visit, detector : `int`
        Which DiaSource it is about.
    n_previous, n_forced : `int`
        Previous DiaSources and forced sources of the object.
    n_cutouts : `int`
        How many cutouts it has.
    """

    path: Path
    dia_source_id: int
    visit: int
    detector: int
    n_previous: int
    n_forced: int
    n_cutouts: int


def decode_alert(message: bytes) -> dict[str, Any]:
    """Decode an alert twice, with the alert package's code and with plain Avro, and compare.

    Parameters
    ----------
    message : `bytes`
        As it was on the topic, framed.

    Raises
    ------
    UnreadableAlertError
        It is not framed, not of the newest schema, or the two readings differ.
    """
    return _Decoder(None).decode(message)


def read_alerts(folder: Path, registry_url: str | None = None) -> Iterator[AlertSummary]:
    """Decode all alerts that were written to a folder.

    Parameters
    ----------
    folder : `~pathlib.Path`
        Of the files.
    registry_url : `str`, optional
        Schema registry that has the alerts' schema; without, it is that of the alert package.

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
        # From where consumers get it, or from the files: the other has been put together by the package.
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
            raise UnreadableAlertError(f"not of the alert schema: {error}") from error
        if rest.read(1):
            raise UnreadableAlertError("bytes are left over after the alert")
        # As text, because NaN is not equal to itself.
        if not isinstance(plain, dict) or repr(plain["diaSource"]) != repr(alert["diaSource"]):
            raise UnreadableAlertError("two readers of the same bytes disagree")
        return alert


def main(arguments: Sequence[str] | None = None) -> int:
    """Write alerts to files, one each, until told to stop; returns the exit status."""
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
        # A visit's alerts come all at once.
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
                # Under another name until it is whole: somebody may be counting.
                partial = path.with_suffix(".part")
                partial.write_bytes(message.value())
                partial.rename(path)


if __name__ == "__main__":
    sys.exit(main())
