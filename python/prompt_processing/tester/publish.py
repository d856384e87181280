"""Publish announcements of visits and, for stores that publish none, arrival notices."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus

import fastavro
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from prompt_processing.domain.clock import utc_to_tai
from prompt_processing.domain.visit import CoordinateSystem, Dome, NextVisit, RotationSystem
from prompt_processing.transport.schema_registry import SchemaRegistry, frame

__all__ = ["Announcer", "ArrivalNotices", "PublishError", "make_next_visit", "publish_message"]

_FLUSH_S = 15.0

_ADDED_BY_SUMMIT: dict[str, Any] = {
    "private_efdStamp": 0.0,
    "private_kafkaStamp": 0.0,
    "private_rcvStamp": 0.0,
    "private_identity": "tester",
    "private_revCode": "",
    "private_origin": 0,
    "private_seqNum": 0,
}


def _avro_field(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, list):
        return {"name": name, "type": {"type": "array", "items": "double"}}
    kinds: dict[type, str] = {int: "long", float: "double", str: "string"}
    return {"name": name, "type": kinds[type(value)]}


class PublishError(RuntimeError):
    """Kafka did not accept a message; the error names the topic."""


def make_next_visit(
    *,
    instrument: str,
    group: str,
    sal_index: int,
    ra: float | None,
    dec: float | None,
    rotation: float | None,
    physical_filter: str,
    survey: str,
    n_snaps: int,
    start: float,
    duration: float,
) -> NextVisit:
    """Return the announcement of a visit, to be published now.

    Parameters
    ----------
    instrument, group, physical_filter, survey
        Values that the raws' headers will have.
    sal_index
        Index of the script queue; selects the detectors of a test group.
    ra, dec, rotation
        ICRS position and angle on the sky, degrees; `None` to announce a visit without them.
    n_snaps
        Number of images of the visit.
    start
        Expected start of the first exposure, Unix seconds, UTC.
    duration
        Duration of the whole visit, seconds.
    """
    known = ra is not None and dec is not None
    return NextVisit(
        salIndex=sal_index,
        scriptSalIndex=sal_index,
        groupId=group,
        coordinateSystem=CoordinateSystem.ICRS if known else CoordinateSystem.NONE,
        position=(ra, dec) if ra is not None and dec is not None else (0.0, 0.0),
        startTime=utc_to_tai(start),
        rotationSystem=RotationSystem.NONE if rotation is None else RotationSystem.SKY,
        cameraAngle=rotation or 0.0,
        filters=physical_filter,
        dome=Dome.OPEN,
        duration=duration,
        nimages=n_snaps,
        instrument=instrument,
        survey=survey,
        totalCheckpoints=1,
        private_sndStamp=utc_to_tai(time.time()),
    )


class Announcer:
    """Publisher of announcements, as Avro with a schema registry and as JSON without.

    Parameters
    ----------
    producer
        Producer of the observatory's event stream.
    topic
        Topic of announcements.
    registry
        Registry for the schema.
    """

    def __init__(self, producer: Producer, topic: str, registry: SchemaRegistry | None) -> None:
        self._producer = producer
        self._topic = topic
        self._registry = registry

    def publish(self, visit: NextVisit) -> None:
        """Publish a visit and wait until Kafka accepts it.

        Raises
        ------
        PublishError
            Raised if Kafka does not accept the visit.
        SchemaRegistryError
            Raised if the registry does not accept the schema.
        """
        fields = visit.model_dump(mode="json") | _ADDED_BY_SUMMIT
        fields["private_efdStamp"] = time.time()
        _produce(self._producer, self._topic, [self._encode(fields)])

    def _encode(self, fields: dict[str, Any]) -> bytes:
        if self._registry is None:
            return json.dumps(fields).encode()
        schema = {
            "type": "record",
            "name": "logevent_nextVisit",
            "namespace": "lsst.sal.ScriptQueue",
            "fields": [_avro_field(name, value) for name, value in fields.items()],
        }
        schema_id = self._registry.register(f"{self._topic}-value", schema)
        datum = io.BytesIO()
        fastavro.schemaless_writer(datum, fastavro.parse_schema(schema), fields)
        return frame(schema_id, datum.getvalue())


class ArrivalNotices:
    """Publisher of arrival notices, for stores that publish none.

    Parameters
    ----------
    producer
        Producer of the notices' cluster.
    topic
        Topic of the notices.
    now
        Returns the time, Unix seconds, UTC.
    """

    def __init__(self, producer: Producer, topic: str, now: Callable[[], float] = time.time) -> None:
        self._producer = producer
        self._topic = topic
        self._now = now

    def publish(self, bucket: str, key: str, size: int) -> None:
        """Publish that an object was created, with its key encoded as by AWS.

        Raises
        ------
        PublishError
            Raised if Kafka does not accept the notice.
        """
        event = {
            "Records": [
                {
                    "eventVersion": "2.2",
                    "eventSource": "aws:s3",
                    "eventTime": datetime.fromtimestamp(self._now(), UTC).isoformat(timespec="milliseconds"),
                    "eventName": "ObjectCreated:Put",
                    "s3": {
                        "s3SchemaVersion": "1.0",
                        "bucket": {"name": bucket, "arn": f"arn:aws:s3:::{bucket}"},
                        "object": {"key": quote_plus(key, safe="/"), "size": size},
                    },
                }
            ]
        }
        _produce(self._producer, self._topic, [json.dumps(event).encode()])


def publish_message(producer: Producer, topic: str, message: bytes) -> None:
    """Publish one message as it is, and wait until Kafka accepts it.

    Raises
    ------
    PublishError
        Raised if Kafka does not accept the message.
    """
    _produce(producer, topic, [message])


def _produce(producer: Producer, topic: str, values: list[bytes]) -> None:
    failures: list[KafkaError] = []

    def note(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failures.append(error)

    try:
        for value in values:
            producer.produce(topic, value, on_delivery=note)
        left = producer.flush(_FLUSH_S)
    except (BufferError, KafkaException) as error:
        raise PublishError(f"Kafka does not accept messages for {topic}: {error}") from error
    if failures:
        raise PublishError(f"Kafka did not accept a message for {topic}: {failures[0].str()}")
    if left:
        raise PublishError(f"Kafka did not accept a message for {topic} within {_FLUSH_S:.0f} s.")
