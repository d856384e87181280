"""Arrival notices over Kafka's own protocol."""

from __future__ import annotations

import json
import time

import pytest
from broker_process import BrokerProcess

from prompt_processing.transport.arrival_notices import ArrivalNotices, NoticesUnavailableError
from prompt_processing.transport.kafka import KafkaSettings, make_producer

pytestmark = pytest.mark.integration
TOPIC = "notices"


@pytest.fixture(scope="module")
def kafka(tmp_path_factory):
    with BrokerProcess(tmp_path_factory.mktemp("broker"), TOPIC, "--partitions=4") as broker:
        yield KafkaSettings(bootstrap_servers=broker.address)


@pytest.fixture
def publish(kafka):
    producer = make_producer(kafka, linger_ms=0)

    def publish(*keys, raw=None):
        for key in keys:
            record = {"eventName": "ObjectCreated:Put", "s3": {"object": {"key": key}}}
            producer.produce(TOPIC, json.dumps({"Records": [record]}).encode())
        if raw is not None:
            producer.produce(TOPIC, raw)
        assert producer.flush(10) == 0

    publish("before/everything")
    return publish


@pytest.fixture
def notices(kafka, publish):
    skipped = []
    notices = ArrivalNotices(kafka, TOPIC, on_undecodable=skipped.append)
    notices.skipped = skipped
    yield notices
    notices.close()


def keys(notices, expected, seconds=10.0):
    """Poll until a number of notices has come."""
    found = []
    deadline = time.monotonic() + seconds
    while len(found) < expected and time.monotonic() < deadline:
        found += [notice.keys[0] for notice in notices.poll(0.2)]
    return found


def test_what_comes_after_the_start_is_seen_even_if_nobody_looks_for_a_while(notices, publish):
    publish("too/early")
    notices.start()
    publish("a", "b")
    time.sleep(0.3)
    publish("c")
    # Partitions keep no order among themselves.
    assert set(keys(notices, 3)) == {"a", "b", "c"}


def test_the_next_visit_does_not_see_the_notices_between(notices, publish):
    notices.start()
    notices.stop()
    publish("between")
    notices.start()
    publish("after")
    assert keys(notices, 1) == ["after"]
    assert notices.poll(0.2) == []


def test_every_worker_sees_every_notice(kafka, notices, publish):
    other = ArrivalNotices(kafka, TOPIC)
    for worker in (notices, other):
        worker.start()
    publish("for/all")
    assert keys(notices, 1) == keys(other, 1) == ["for/all"]
    other.close()


def test_earliest_begins_at_the_beginning(kafka, publish):
    notices = ArrivalNotices(kafka, TOPIC, offset_reset="earliest")
    notices.start()
    assert "before/everything" in keys(notices, 10, seconds=2.0)
    notices.close()


def test_a_message_that_cannot_be_read_is_logged_counted_and_skipped(notices, publish, caplog):
    notices.start()
    publish(raw=b"\x00\xffnonsense")
    publish("good")
    assert keys(notices, 1) == ["good"]
    assert notices.skipped == [TOPIC]
    (record,) = [record for record in caplog.records if "Skipping" in record.message]
    assert f"{TOPIC}[" in record.message
    assert "@" in record.message


def test_an_unreachable_cluster_is_told_within_seconds():
    notices = ArrivalNotices(KafkaSettings(bootstrap_servers="127.0.0.1:1"), TOPIC, timeout=1.0)
    start = time.monotonic()
    with pytest.raises(NoticesUnavailableError):
        notices.start()
    assert time.monotonic() - start < 5.0
    notices.poll(0.5)
    assert not notices.connected
    notices.close()
