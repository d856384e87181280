"""What the fan-out sends to the workers, and what it does with their answers."""

from __future__ import annotations

import time
from typing import Any

import pytest
from fan_out_fakes import Receiver, committed, count, fan_out, message


def test_each_active_detector_gets_a_cloud_event(receiver: Receiver) -> None:
    consumer, metrics = fan_out(receiver, [message()], committed(1))
    assert sorted(body["detector"] for _, body in receiver.events) == [0, 1, 2]
    event, body = receiver.events[0]
    assert event["content-type"] == "application/cloudevents+json"
    assert event["type"] == "com.example.kafka"
    assert event["source"] == "next-visit-topic"
    assert event["specversion"] == "1.0"
    assert len({event["id"] for event, _ in receiver.events}) == 3
    assert body["groupId"] == "2025-06-09T01:02:03.456"
    assert body["position"] == [150.0, 2.0]
    assert "private_sndStamp" in body
    assert not {"private_efdStamp", "private_identity"} & set(body)
    assert consumer.closed
    assert count(metrics, "fan_out_answers_total", instrument="LSSTCam", status="200") == 3


def test_no_more_requests_at_once_than_allowed(receiver: Receiver) -> None:
    def slow(_: dict[str, Any]) -> tuple[int, dict[str, str]]:
        time.sleep(0.05)
        return 200, {}

    receiver.answer = slow
    fan_out(receiver, [message()], committed(1), n_detectors=20, max_fan_out_messages=4)
    assert len(receiver.events) == 20
    assert 2 <= receiver.most_at_once <= 4


def test_refused_for_now_is_sent_again_where_wanted(receiver: Receiver) -> None:
    seen: list[int] = []

    def first_refuse(body: dict[str, Any]) -> tuple[int, dict[str, str]]:
        seen.append(body["detector"])
        return (503, {"Retry-After": "0"}) if seen.count(body["detector"]) == 1 else (200, {})

    receiver.answer = first_refuse
    _, metrics = fan_out(receiver, [message()], committed(1), retry_knative_requests=True)
    assert sorted(seen) == [0, 0, 1, 1, 2, 2]
    assert count(metrics, "fan_out_retries_total", instrument="LSSTCam") == 3


def test_refused_for_now_is_left_where_retries_are_off(receiver: Receiver) -> None:
    receiver.answer = lambda _: (503, {"Retry-After": "0"})
    fan_out(receiver, [message()], committed(1))
    assert len(receiver.events) == 3


def test_no_retry_that_would_come_too_late(receiver: Receiver) -> None:
    receiver.answer = lambda _: (503, {"Retry-After": "30"})
    fan_out(receiver, [message()], committed(1), retry_knative_requests=True, message_expiration=20)
    assert len(receiver.events) == 3


@pytest.mark.parametrize("status", [400, 422, 500])
def test_other_failures_are_final(receiver: Receiver, status: int) -> None:
    receiver.answer = lambda _: (status, {})
    fan_out(receiver, [message()], committed(1), retry_knative_requests=True)
    assert len(receiver.events) == 3


def test_unreachable_service_does_not_stop_the_fan_out(receiver: Receiver) -> None:
    receiver.url = "http://127.0.0.1:9/next-visit"
    _, metrics = fan_out(receiver, [message(), message()], committed(2))
    assert count(metrics, "fan_out_answers_total", instrument="LSSTCam", status="unreachable") == 6


def test_service_that_is_away_is_tried_again_where_retries_are_on(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prompt_processing.fanout.destinations._UNREACHABLE_PAUSE_S", 0.05)
    receiver.url = "http://127.0.0.1:9/next-visit"
    consumer, _ = fan_out(
        receiver,
        [message()],
        lambda _, metrics: count(metrics, "fan_out_retries_total", instrument="LSSTCam") > 5,
        retry_knative_requests=True,
        shutdown_grace_s=0.2,
    )
    # Nothing was out, so whoever comes next begins with it.
    assert consumer.committed == []


def test_visit_of_a_worker_that_dies_is_sent_again_where_retries_are_on(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prompt_processing.fanout.destinations._UNREACHABLE_PAUSE_S", 0.05)
    seen: list[int] = []

    def die_with_the_first(body: dict[str, Any]) -> tuple[int, dict[str, str]]:
        seen.append(body["detector"])
        if seen.count(body["detector"]) == 1:
            raise ConnectionAbortedError  # The connection closes without an answer.
        return 200, {}

    receiver.answer = die_with_the_first
    _, metrics = fan_out(receiver, [message()], committed(1), retry_knative_requests=True)
    assert sorted(seen) == [0, 0, 1, 1, 2, 2]
    assert count(metrics, "fan_out_answers_total", instrument="LSSTCam", status="unreachable") == 3
    assert count(metrics, "fan_out_answers_total", instrument="LSSTCam", status="200") == 3


def test_time_until_the_last_message_is_out_is_measured(receiver: Receiver) -> None:
    _, metrics = fan_out(receiver, [message()], committed(1), n_detectors=188)
    assert len(receiver.events) == 188
    assert count(metrics, "fan_out_seconds_count", instrument="LSSTCam") == 1
