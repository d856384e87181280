"""Which visits the fan-out takes from the topic, and when it is through with them."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import pytest
from fan_out_fakes import FakeConsumer, FakeMessage, Receiver, committed, count, fan_out, message

from prompt_processing.fanout.metrics import FanOutMetrics
from prompt_processing.fanout.offsets import OffsetTracker


def test_undecodable_messages_are_told_once_counted_and_passed_over(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    bad: list[bytes | None] = [b"\x00\x00\x00\x00\x01xyz", b"{", b"[]", b'{"groupId": 3}', b"", None]
    _, metrics = fan_out(receiver, [*bad, message()], committed(len(bad) + 1))
    assert len(receiver.events) == 3
    assert count(metrics, "next_visit_undecodable_messages_total") == len(bad)
    told = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert len(told) == len(bad)
    assert "next-visit-topic[0]@0" in told[0]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"instrument": ""}, "no-instrument"),
        ({"instrument": "DECam"}, "unsupported-instrument"),
        ({"private_sndStamp": 1.0e9}, "stale"),
    ],
)
def test_visits_for_nobody_are_skipped(receiver: Receiver, fields: dict[str, object], reason: str) -> None:
    _, metrics = fan_out(receiver, [message(**fields)], committed(1))
    assert receiver.events == []
    assert count(metrics, "next_visit_skipped_visits_total", reason=reason) == 1


def test_visits_that_are_sent_are_announced_with_their_detectors(receiver: Receiver) -> None:
    announced: list[tuple[str, list[int]]] = []
    values: list[bytes | None] = [message(instrument="DECam"), message(groupId="sent"), b"{"]
    fan_out(receiver, values, committed(3), announced=announced)
    assert announced == [("sent", [0, 1, 2])]


def test_next_visit_does_not_wait_for_the_last_ones_answer(receiver: Receiver) -> None:
    released = threading.Event()

    def hold_the_first(body: dict[str, Any]) -> tuple[int, dict[str, str]]:
        if body["groupId"] == "first":
            released.wait(10)
        return 200, {}

    receiver.answer = hold_the_first
    held: list[list[int]] = []

    def second_is_answered(consumer: FakeConsumer, metrics: FanOutMetrics) -> bool:
        if count(metrics, "fan_out_answers_total", instrument="LSSTCam", status="200") < 3:
            return False
        if not held:
            held.append(list(consumer.committed))
            released.set()
        return consumer.committed[-1:] == [2]

    fan_out(receiver, [message(groupId="first"), message(groupId="second")], second_is_answered)
    # While the first was underway nothing was committed, though the second had been dealt with.
    assert held == [[]]


def test_stopping_commits_what_is_underway_and_awaits_its_answers(receiver: Receiver) -> None:
    def slow(_: dict[str, Any]) -> tuple[int, dict[str, str]]:
        time.sleep(0.5)
        return 200, {}

    receiver.answer = slow
    consumer, metrics = fan_out(receiver, [message()], lambda *_: len(receiver.events) == 3)
    assert consumer.committed == [1]
    assert count(metrics, "fan_out_answers_total", instrument="LSSTCam", status="200") == 3


def test_stopping_gives_up_after_the_grace_period(receiver: Receiver) -> None:
    released = threading.Event()

    def never(_: dict[str, Any]) -> tuple[int, dict[str, str]]:
        released.wait(60)
        return 200, {}

    receiver.answer = never
    fan_out(receiver, [message()], lambda *_: len(receiver.events) == 3, shutdown_grace_s=0.2)
    # Nobody has been answered, and it has ended all the same.
    assert receiver.now == 3
    released.set()


def test_no_further_visit_is_taken_while_enough_are_waiting(receiver: Receiver) -> None:
    released = threading.Event()
    receiver.answer = lambda _: (200 if released.wait(10) else 500, {})
    taken: list[int] = []

    def all_answered(consumer: FakeConsumer, metrics: FanOutMetrics) -> bool:
        if len(receiver.events) == 5 and consumer.paused and not released.is_set():
            time.sleep(0.1)
            taken.append(10 - len(consumer.waiting))
            released.set()
        return consumer.committed[-1:] == [10]

    _, metrics = fan_out(receiver, [message()] * 10, all_answered, max_fan_out_messages=5)
    # Three detectors each: the second visit reaches the limit, and is sent as far as the limit goes.
    assert taken == [2]
    assert len(receiver.events) == 30
    assert count(metrics, "fan_out_waiting_visit_detectors") == 0


def test_visit_that_is_not_out_when_it_stops_is_left_to_the_next(receiver: Receiver) -> None:
    released = threading.Event()
    receiver.answer = lambda _: (200 if released.wait(10) else 500, {})
    # One request at a time: the second detector waits for its turn.
    consumer, _ = fan_out(
        receiver,
        [message()],
        lambda *_: len(receiver.events) == 1,
        max_fan_out_messages=1,
        shutdown_grace_s=0.3,
    )
    released.set()
    assert consumer.committed == []


def test_standing_queue_is_passed_over(receiver: Receiver) -> None:
    values: list[bytes | None] = [message(groupId="old"), b"rubbish", message(groupId="new")]
    _, metrics = fan_out(receiver, values, committed(3), standing={0: 2, 1: 7})
    assert {body["groupId"] for _, body in receiver.events} == {"new"}
    assert count(metrics, "next_visit_skipped_visits_total", reason="standing-queue") == 2


def test_offsets_are_committed_only_up_to_the_first_unfinished_message() -> None:
    tracker = OffsetTracker()
    first, second, third = (tracker.begin(FakeMessage(b"", offset)) for offset in (4, 5, 9))
    assert tracker.finish(second) == []
    assert [p.offset for p in tracker.finish(first)] == [6]
    assert [p.offset for p in tracker.finish(third)] == [10]
    assert tracker.finish(third) == []
