"""The fan-out between a consumer and an HTTP server that stand in for Kafka and Knative."""

import asyncio
import json
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from prompt_processing.domain.clock import utc_to_tai
from prompt_processing.fanout.config import DetectorMap, FanOutSettings
from prompt_processing.fanout.destinations import KnativeServices
from prompt_processing.fanout.metrics import FanOutMetrics
from prompt_processing.fanout.offsets import OffsetTracker
from prompt_processing.fanout.service import FanOutService


def visit_fields(**fields: object) -> dict[str, Any]:
    return {
        "salIndex": 1,
        "scriptSalIndex": 2,
        "groupId": "2025-06-09T01:02:03.456",
        "coordinateSystem": 2,
        "position": [150.0, 2.0],
        "startTime": utc_to_tai(time.time()),
        "rotationSystem": 2,
        "cameraAngle": 10.0,
        "filters": "r_57",
        "dome": 2,
        "duration": 20.0,
        "nimages": 1,
        "instrument": "LSSTCam",
        "survey": "SURVEY",
        "totalCheckpoints": 1,
        "private_sndStamp": utc_to_tai(time.time()),
        "private_efdStamp": 0.0,
        "private_identity": "summit",
    } | fields


class FakeMessage:
    def __init__(self, value: bytes | None, offset: int) -> None:
        self._value, self._offset = value, offset

    def error(self) -> None:
        return None

    def topic(self) -> str:
        return "next-visit-topic"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def value(self) -> bytes | None:
        return self._value


class FakeConsumer:
    """Gives out its messages one by one, then nothing."""

    def __init__(self, values: list[bytes | None]) -> None:
        self.waiting = [FakeMessage(value, offset) for offset, value in enumerate(values)]
        self.committed: list[int] = []
        self.closed = False
        self.paused = False

    def poll(self, timeout: float) -> FakeMessage | None:
        if self.waiting and not self.paused:
            return self.waiting.pop(0)
        time.sleep(0.01)
        return None

    def assignment(self) -> list[Any]:
        return ["all"]

    def pause(self, partitions: list[Any]) -> None:
        self.paused = True

    def resume(self, partitions: list[Any]) -> None:
        self.paused = False

    def commit(self, *, offsets: list[Any], asynchronous: bool) -> None:
        self.committed += [position.offset for position in offsets]

    def close(self) -> None:
        assert not self.closed
        self.closed = True


class Receiver:
    """What a Knative service has seen; `answer` decides what it says."""

    def __init__(self) -> None:
        self.events: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.answer: Callable[[dict[str, Any]], tuple[int, dict[str, str]]] = lambda _: (200, {})
        self.now = 0
        self.most_at_once = 0
        self.lock = threading.Lock()
        self.url = ""

    @contextmanager
    def running(self) -> Iterator["Receiver"]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with receiver.lock:
                    receiver.events.append(({k.lower(): v for k, v in self.headers.items()}, body))
                    receiver.now += 1
                    receiver.most_at_once = max(receiver.most_at_once, receiver.now)
                status, headers = receiver.answer(body)
                with receiver.lock:
                    receiver.now -= 1
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            # A whole focal plane connects at once; of five at a time the others would try again for long.
            request_queue_size = 256

        server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}/next-visit"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().running() as running:
        yield running


def settings(**fields: object) -> FanOutSettings:
    return FanOutSettings.model_validate(
        {
            "supported_instruments": "LSSTCam",
            "instrument_config_file": Path("unused.yaml"),
            "kafka_cluster": "unused",
            "consumer_group": "unused",
        }
        | fields
    )


def fan_out(
    receiver: Receiver,
    values: list[bytes | None],
    until: Callable[[FakeConsumer, FanOutMetrics], bool],
    n_detectors: int = 3,
    standing: dict[int, int] | None = None,
    **fields: object,
) -> tuple[FakeConsumer, FanOutMetrics]:
    """Run the service until a condition holds (at most 20 s), then stop it."""
    chosen = settings(**fields)
    consumer, metrics = FakeConsumer(values), FanOutMetrics()

    async def run() -> None:
        detectors = DetectorMap.model_validate(
            {
                "detectors": {"LSSTCam": dict.fromkeys(range(n_detectors), True) | {188: False}},
                "knative-urls": {"LSSTCam": receiver.url},
            }
        )
        destination = KnativeServices(
            detectors.knative_urls,
            "next-visit-topic",
            chosen.max_fan_out_messages,
            chosen.retry_knative_requests,
            chosen.message_expiration,
            metrics,
        )
        service = FanOutService(chosen, detectors, consumer, destination, None, metrics, standing)
        stop = asyncio.Event()
        work: Awaitable[None] = asyncio.create_task(service.run(stop))
        deadline = time.monotonic() + 20
        while not until(consumer, metrics):
            assert time.monotonic() < deadline, "condition not reached"
            await asyncio.sleep(0.02)
        stop.set()
        await work

    asyncio.run(run())
    return consumer, metrics


def message(**fields: object) -> bytes:
    return json.dumps(visit_fields(**fields)).encode()


def committed(offset: int) -> Callable[[FakeConsumer, FanOutMetrics], bool]:
    return lambda consumer, _: bool(consumer.committed) and consumer.committed[-1] == offset


def count(metrics: FanOutMetrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


def test_each_active_detector_gets_a_cloud_event(receiver: Receiver) -> None:
    consumer, metrics = fan_out(receiver, [message()], committed(1))
    assert sorted(body["detector"] for _, body in receiver.events) == [0, 1, 2]
    headers, body = receiver.events[0]
    assert headers["ce-type"] == "com.example.kafka"
    assert headers["ce-source"] == "next-visit-topic"
    assert headers["ce-specversion"] == "1.0"
    assert len({headers["ce-id"] for headers, _ in receiver.events}) == 3
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


def test_unreachable_service_does_not_stop_the_fan_out(receiver: Receiver) -> None:
    receiver.url = "http://127.0.0.1:9/next-visit"
    _, metrics = fan_out(receiver, [message(), message()], committed(2))
    assert count(metrics, "fan_out_answers_total", instrument="LSSTCam", status="unreachable") == 6


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
        released.wait(10)
        return 200, {}

    receiver.answer = never
    start = time.monotonic()
    fan_out(receiver, [message()], lambda *_: len(receiver.events) == 3, shutdown_grace_s=0.2)
    assert time.monotonic() - start < 5
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


def test_offsets_are_committed_only_up_to_the_first_unfinished_message() -> None:
    tracker = OffsetTracker()
    first, second, third = (tracker.begin(FakeMessage(b"", offset)) for offset in (4, 5, 9))
    assert tracker.finish(second) == []
    assert [p.offset for p in tracker.finish(first)] == [6]
    assert [p.offset for p in tracker.finish(third)] == [10]
    assert tracker.finish(third) == []
