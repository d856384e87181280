"""What arrival notices report about a cluster that stands in for Kafka, and what they read from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, TopicPartition

from prompt_processing.transport import arrival_notices
from prompt_processing.transport.arrival_notices import ArrivalNotices, NoticesUnavailableError
from prompt_processing.transport.kafka import KafkaSettings

DOWN = KafkaError(KafkaError._ALL_BROKERS_DOWN, "all brokers are down")
WRONG = KafkaError(KafkaError._AUTHENTICATION, "refused")
END = KafkaError(KafkaError._PARTITION_EOF, "end of partition")


class Message:
    def __init__(self, value: bytes | None = None, error: KafkaError | None = None) -> None:
        self._value, self._error = value, error

    def value(self) -> bytes | None:
        return self._value

    def error(self) -> KafkaError | None:
        return self._error

    def topic(self) -> str:
        return "notices"

    def partition(self) -> int:
        return 1

    def offset(self) -> int:
        return 7


def notice(key: str) -> Message:
    record = {"eventName": "ObjectCreated:Put", "s3": {"object": {"key": key}}}
    return Message(json.dumps({"Records": [record]}).encode())


class Consumer:
    def __init__(self, on_error: Callable[[KafkaError], None]) -> None:
        self.on_error = on_error
        self.messages: list[Message] = []
        self.failure: KafkaError | None = None
        self.topic_error: KafkaError | None = None
        self.assigned: list[TopicPartition] | None = None

    def list_topics(self, topic: str, timeout: float) -> Any:
        if self.failure is not None:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "timed out"))
        about = SimpleNamespace(error=self.topic_error, partitions={0: None, 1: None})
        return SimpleNamespace(topics={topic: about})

    def get_watermark_offsets(self, partition: TopicPartition, timeout: float) -> tuple[int, int]:
        return 3, 100 + partition.partition

    def assign(self, positions: list[TopicPartition]) -> None:
        self.assigned = positions

    def unassign(self) -> None:
        self.assigned = None

    def poll(self, seconds: float) -> Message | None:
        if self.failure is not None:
            self.on_error(self.failure)
        return self.messages.pop(0) if self.messages else None


@pytest.fixture
def consumers(monkeypatch: pytest.MonkeyPatch) -> list[Consumer]:
    made: list[Consumer] = []

    def make(settings: KafkaSettings, group: str, *, on_error: Callable[[KafkaError], None], **_: Any) -> Any:
        made.append(Consumer(on_error))
        return made[-1]

    monkeypatch.setattr(arrival_notices, "make_consumer", make)
    return made


def make_notices(**options: Any) -> ArrivalNotices:
    return ArrivalNotices(
        KafkaSettings(bootstrap_servers="k", credentials_from="SASL_PASSWORD"), "notices", **options
    )


def test_lost_connection_is_logged_once_and_the_next_notice_ends_it(
    consumers: list[Consumer], caplog: pytest.LogCaptureFixture
) -> None:
    notices = make_notices()
    (consumer,) = consumers
    assert notices.connected
    for _ in range(2):
        consumer.messages = [Message(error=DOWN)]
        assert notices.poll(0.0) == []
        assert not notices.connected
    assert len(caplog.records) == 1
    consumer.messages = [notice("a"), notice("b")]
    assert [one.keys[0] for one in notices.poll(0.0)] == ["a", "b"]
    assert notices.connected


def test_end_of_a_partition_is_no_lost_connection(consumers: list[Consumer]) -> None:
    notices = make_notices()
    consumers[0].messages = [Message(error=END), notice("a")]
    assert len(notices.poll(0.0)) == 1
    assert notices.connected


def test_refused_credentials_are_no_connection_until_a_notice_comes(consumers: list[Consumer]) -> None:
    notices = make_notices()
    (consumer,) = consumers
    consumer.on_error(WRONG)
    assert not notices.connected
    consumer.messages = [notice("a")]
    notices.poll(0.0)
    assert notices.connected


@pytest.mark.parametrize("value", [None, b"", b"{", b'{"Records": 1}'])
def test_message_that_cannot_be_read_is_counted_and_skipped(
    consumers: list[Consumer], value: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    skipped: list[str] = []
    notices = make_notices(on_undecodable=skipped.append)
    consumers[0].messages = [Message(value), notice("a")]
    assert [one.keys[0] for one in notices.poll(0.0)] == ["a"]
    assert skipped == ["notices"]
    assert "Skipping message notices[1]@7" in caplog.text


@pytest.mark.parametrize(
    ("reset", "offsets"), [("latest", [100, 101]), ("earliest", [OFFSET_BEGINNING, OFFSET_BEGINNING])]
)
def test_all_partitions_are_read_from_their_ends_or_from_the_beginning(
    consumers: list[Consumer], reset: str, offsets: list[int]
) -> None:
    notices = make_notices(offset_reset=reset)
    notices.start()
    assigned = consumers[0].assigned
    assert assigned is not None
    assert [(one.topic, one.partition, one.offset) for one in assigned] == [
        ("notices", number, offset) for number, offset in enumerate(offsets)
    ]
    notices.stop()
    assert consumers[0].assigned is None


def test_missing_topic_is_reported_by_name(consumers: list[Consumer]) -> None:
    notices = make_notices()
    consumers[0].topic_error = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, "unknown topic")
    with pytest.raises(NoticesUnavailableError, match="Kafka topic notices: unknown topic"):
        notices.start()


@pytest.mark.parametrize(("failure", "reason"), [(WRONG, "SASL_PASSWORD"), (DOWN, "timed out")])
@pytest.mark.parametrize("call", ["start", "reconnect"])
def test_cluster_that_does_not_answer_is_reported_with_its_reason_and_may_come_back(
    consumers: list[Consumer], call: str, failure: KafkaError, reason: str
) -> None:
    notices = make_notices()
    (consumer,) = consumers
    consumer.failure = failure
    with pytest.raises(NoticesUnavailableError, match=rf"Kafka topic notices: .*{reason}"):
        getattr(notices, call)()
    assert not notices.connected
    consumer.failure = None
    getattr(notices, call)()
    assert notices.connected


@pytest.mark.parametrize(("breaks", "works"), [(2, True), (100, False)])
def test_request_whose_connection_breaks_off_is_made_again_until_its_time_is_over(
    consumers: list[Consumer], breaks: int, works: bool
) -> None:
    notices = make_notices(timeout=0.4)
    consumer, left = consumers[0], [breaks]
    answer = consumer.list_topics

    def list_topics(topic: str, timeout: float) -> Any:
        if left[0]:
            left[0] -= 1
            raise KafkaException(KafkaError(KafkaError._TRANSPORT, "broke off"))
        return answer(topic, timeout)

    consumer.list_topics = list_topics  # type: ignore[method-assign]
    if works:
        notices.start()
        assert consumer.assigned is not None
        assert notices.connected
    else:
        with pytest.raises(NoticesUnavailableError, match="broke off"):
            notices.start()
        assert 2 < breaks - left[0] < 10
