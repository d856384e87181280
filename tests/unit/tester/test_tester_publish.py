import io
import json
import time
from typing import Any

import fastavro
import pytest
from confluent_kafka import KafkaError

from prompt_processing.domain.clock import utc_to_tai
from prompt_processing.domain.notices import parse_notices
from prompt_processing.domain.visit import CoordinateSystem, NextVisit, RotationSystem
from prompt_processing.tester.publish import Announcer, ArrivalNotices, PublishError, make_next_visit
from prompt_processing.transport.schema_registry import unframe


class FakeProducer:
    def __init__(self, error: KafkaError | None = None, left: int = 0) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self._error, self._left = error, left

    def produce(self, topic: str, value: bytes, on_delivery: Any) -> None:
        self.messages.append((topic, value))
        on_delivery(self._error, None)

    def flush(self, timeout: float) -> int:
        return self._left


class FakeRegistry:
    def __init__(self) -> None:
        self.subject = ""
        self.schemas: dict[int, Any] = {}

    def register(self, subject: str, schema: dict[str, Any]) -> int:
        self.subject = subject
        self.schemas[17] = schema
        return 17


def visit(**fields: Any) -> NextVisit:
    return make_next_visit(
        **{
            "instrument": "LSSTCam",
            "group": "2025-06-10T01:02:40.456",
            "sal_index": 999,
            "ra": 320.6,
            "dec": -17.9,
            "rotation": 30.0,
            "physical_filter": "r_57",
            "survey": "SURVEY",
            "n_snaps": 1,
            "start": 1_749_517_323.0,
            "duration": 20.0,
        }
        | fields
    )


def test_announcement_is_in_icrs_and_tai() -> None:
    made = visit()
    assert made.coordinateSystem is CoordinateSystem.ICRS
    assert made.rotationSystem is RotationSystem.SKY
    assert made.position == (320.6, -17.9)
    assert made.startTime == utc_to_tai(1_749_517_323.0)
    assert abs(made.age(time.time())) < 5


def test_visit_without_pointing_is_announced_without() -> None:
    made = visit(ra=None, dec=None, rotation=None)
    assert made.coordinateSystem is CoordinateSystem.NONE
    assert made.rotationSystem is RotationSystem.NONE


def test_announcement_is_json_without_a_registry() -> None:
    producer = FakeProducer()
    Announcer(producer, "next-visit-topic", None).publish(visit())
    ((topic, value),) = producer.messages
    fields = json.loads(value)
    assert topic == "next-visit-topic"
    assert fields["private_efdStamp"] == pytest.approx(time.time(), abs=5)
    assert {"scriptSalIndex", "totalCheckpoints", "private_identity", "private_seqNum"} <= set(fields)
    assert NextVisit.parse(value) == visit(start=1_749_517_323.0).model_copy(
        update={"private_sndStamp": fields["private_sndStamp"]}
    )


def test_announcement_is_framed_avro_with_a_registry() -> None:
    producer, registry = FakeProducer(), FakeRegistry()
    Announcer(producer, "next-visit-topic", registry).publish(visit())  # type: ignore[arg-type]
    schema_id, datum = unframe(producer.messages[0][1])
    assert (schema_id, registry.subject) == (17, "next-visit-topic-value")
    fields = fastavro.schemaless_reader(io.BytesIO(datum), registry.schemas[17], None)
    assert NextVisit.parse(fields).groupId == "2025-06-10T01:02:40.456"


@pytest.mark.parametrize("key", ["LSSTCam/20250609/a/a_R22_S11.fits", "HSC/5/a+b c%20d/0/1/HSC-R2/x.fits"])
def test_notice_names_the_key_for_whoever_reads_it(key: str) -> None:
    producer = FakeProducer()
    ArrivalNotices(producer, "bucket-topic").publish("images", key, 12)
    ((topic, value),) = producer.messages
    (notice,) = parse_notices(value)
    assert topic == "bucket-topic"
    assert key in notice.keys
    assert notice.arrival == pytest.approx(time.time(), abs=5)


def test_refused_message_is_an_error_that_names_the_topic() -> None:
    error = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    with pytest.raises(PublishError, match="bucket-topic"):
        ArrivalNotices(FakeProducer(error), "bucket-topic").publish("images", "k", 1)


def test_message_that_is_never_taken_is_an_error() -> None:
    with pytest.raises(PublishError, match="next-visit-topic"):
        Announcer(FakeProducer(left=1), "next-visit-topic", None).publish(visit())
