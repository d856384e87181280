"""What testers publish: announcements of visits and, where the store is silent, notices of arrivals."""

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

__all__ = ["Announcer", "ArrivalNotices", "PublishError", "make_next_visit"]

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
    """Kafka did not take a message; the message names the topic."""


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
    """Make the announcement of a visit, published now.

    Parameters
    ----------
    instrument, group, physical_filter, survey : `str`
        As they will be in the raws' headers.
    sal_index : `int`
        Script queue; chooses the detectors of a test group.
    ra, dec, rotation : `float` or `None`
        ICRS position and angle on the sky, degrees; None announces a visit without.
    n_snaps : `int`
        Images that will follow.
    start : `float`
        Expected start of the first exposure, Unix seconds, UTC.
    duration : `float`
        Of the whole visit, seconds.
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
    """Publishes announcements, as Avro where there is a schema registry and as JSON where there is none.

    Parameters
    ----------
    producer : `confluent_kafka.Producer`
        Connected to the observatory's event stream.
    topic : `str`
        The topic of announcements.
    registry : `SchemaRegistry` or `None`
        Where the schema is registered.
    """

    def __init__(self, producer: Producer, topic: str, registry: SchemaRegistry | None) -> None:
        self._producer = producer
        self._topic = topic
        self._registry = registry

    def publish(self, visit: NextVisit) -> None:
        """Publish a visit and wait until it is taken.

        Raises
        ------
        PublishError
            Kafka did not take it.
        SchemaRegistryError
            The registry did not take the schema.
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
    """Publishes what a store would when an object was put, for stores that do not.

    Parameters
    ----------
    producer : `confluent_kafka.Producer`
        Connected to the cluster of the notices.
    topic : `str`
        The topic of the notices.
    now : callable, optional
        Unix seconds, UTC.
    """

    def __init__(self, producer: Producer, topic: str, now: Callable[[], float] = time.time) -> None:
        self._producer = producer
        self._topic = topic
        self._now = now

    def publish(self, bucket: str, key: str, size: int) -> None:
        """Publish that an object was created, its key encoded as AWS does it.

        Raises
        ------
        PublishError
            Kafka did not take it.
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
        raise PublishError(f"Kafka does not take messages for {topic}: {error}") from error
    if failures:
        raise PublishError(f"Kafka did not take a message for {topic}: {failures[0].str()}")
    if left:
        raise PublishError(f"Kafka did not take a message for {topic} within {_FLUSH_S:.0f} s.")
