"""Visits and notices that come twice, in another order, or too late; clocks that are wrong."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from fault_books import balance
from fault_servers import Servers
from fault_world import FaultWorld

from prompt_processing.domain.clock import utc_to_tai
from prompt_processing.instruments.raw_key import format_raw_key
from prompt_processing.services.kafka import NOTICES_TOPIC
from prompt_processing.transport.kafka import make_producer

pytestmark = pytest.mark.services


def publish_notices(servers: Servers, *keys: str) -> None:
    producer = make_producer(servers.kafka.plain)
    for key in keys:
        record = {"eventName": "s3:ObjectCreated:Put", "s3": {"object": {"key": key}}}
        producer.produce(NOTICES_TOPIC, json.dumps({"Records": [record]}).encode())
    assert producer.flush(20) == 0


@pytest.mark.parametrize("gate", ["preload", "apdb"])
def test_same_visit_at_two_workers_at_once_is_written_once(fault_world: FaultWorld, gate: str) -> None:
    visit = fault_world.visit()
    fault_world.put_raw(visit)
    fault_world.close(gate)
    workers = []
    for _ in range(2):
        fault_world.stream_visit(visit)
        (fault_world.gates / f"at-{gate}").unlink(missing_ok=True)
        workers.append(fault_world.start_stream_worker())
        fault_world.await_gate(gate)
    fault_world.open(gate)
    outcomes = fault_world.await_outcomes(2)
    assert sorted(outcome["status"] for outcome in outcomes) == ["failed", "processed"]
    assert {outcome["retry"] for outcome in outcomes} == {None, "unsafe"}
    balance(fault_world)


def test_same_visit_at_two_services_at_once_is_written_once(make_world: Callable[..., FaultWorld]) -> None:
    fault_world = make_world(through_writer=False)
    workers = [fault_world.start_web_worker() for _ in range(2)]
    visit = fault_world.visit()
    fault_world.put_raw(visit)
    fault_world.post_visit(visit, *workers)
    fault_world.await_answers()
    fault_world.sent.append(visit)
    assert sorted(fault_world.answers[visit.groupId, visit.detector]) == ["200", "500"]
    balance(fault_world)


def test_notices_that_come_again_or_in_another_order_change_nothing(
    fault_world: FaultWorld, servers: Servers
) -> None:
    visits = [fault_world.stream_visit(fault_world.visit(duration=4.0)) for _ in range(2)]
    fault_world.close("wait")
    fault_world.start_stream_worker()
    fault_world.await_gate("wait")
    # The image of the visit that comes second is there first.
    exposures = [fault_world.put_raw(visit) for visit in reversed(visits)]
    keys = [format_raw_key("LSSTCam", visits[0].detector, exposure).key for exposure in exposures]
    publish_notices(servers, *keys, *reversed(keys), *keys)
    fault_world.open("wait")
    outcomes = fault_world.await_outcomes(2)
    assert [outcome["status"] for outcome in outcomes] == ["processed", "processed"]
    assert sorted(outcome["exposures"] for outcome in outcomes) == sorted([one] for one in exposures)
    balance(fault_world)


def test_image_after_the_timeout_is_nobodys(fault_world: FaultWorld, servers: Servers) -> None:
    late = fault_world.stream_visit(fault_world.visit())
    fault_world.start_stream_worker(IMAGE_TIMEOUT="2")
    (outcome,) = fault_world.await_outcomes()
    assert (outcome["status"], outcome["retry"]) == ("failed", "useless")
    exposure = fault_world.put_raw(late)
    following = fault_world.stream_visit(fault_world.visit(duration=5.0))
    publish_notices(servers, format_raw_key("LSSTCam", late.detector, exposure).key)
    fault_world.put_raw(following)
    outcomes = fault_world.await_outcomes(2)
    assert outcomes[-1]["status"] == "processed"
    assert outcomes[-1]["exposures"] == [exposure + 1]
    balance(fault_world)


@pytest.mark.parametrize(
    "stamps",
    [
        pytest.param(lambda now: {"private_sndStamp": now}, id="UTC for TAI"),
        pytest.param(lambda now: {"private_sndStamp": utc_to_tai(now) + 37.0}, id="37 s fast"),
        pytest.param(lambda now: {"private_sndStamp": utc_to_tai(now) - 37.0 - 37.0}, id="74 s slow"),
    ],
)
def test_clock_that_is_wrong_by_the_leap_seconds_loses_no_visit(
    fault_world: FaultWorld, stamps: Callable[[float], dict[str, Any]]
) -> None:
    visit = fault_world.stream_visit(fault_world.visit(**stamps(time.time())))
    fault_world.put_raw(visit)
    fault_world.start_stream_worker()
    (outcome,) = fault_world.await_outcomes()
    assert outcome["status"] == "processed"
    assert outcome["stages"]["queue"] >= 0.0
    balance(fault_world)
