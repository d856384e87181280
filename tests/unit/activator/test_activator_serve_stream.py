"""What a stream worker does with its visits, on a stream that stands in for Redis."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from prompt_processing.activator.services.serve_stream import MAX_DELIVERIES, ServeStream
from prompt_processing.activator.storage.visit_stream import StreamEntry, StreamUnavailableError
from prompt_processing.activator.stream_worker import load_settings
from prompt_processing.domain.outcome import Outcome, Status
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.settings.environment import SettingsError
from prompt_processing.telemetry.health import Heartbeat
from prompt_processing.telemetry.logs import LogContext


def entry(number: int = 1, deliveries: int = 1, **fields: str) -> StreamEntry:
    visit = FannedOutVisit.parse(
        {
            "groupId": f"group {number}",
            "instrument": "LSSTCam",
            "detector": 94,
            "coordinateSystem": 2,
            "position": [150.0, 2.0],
            "startTime": 0.0,
            "rotationSystem": 2,
            "cameraAngle": 0.0,
            "filters": "r_57",
            "duration": 30.0,
            "nimages": 1,
            "survey": "s",
            "salIndex": 1,
            "private_sndStamp": 0.0,
        }
    )
    return StreamEntry(f"{number}-0", {**visit.to_stream_entry(), **fields}, deliveries)


class FakeStream:
    """Gives out what is dead before what is new, and notes what becomes of it."""

    def __init__(self, new: list[StreamEntry], dead: list[StreamEntry] | None = None, failures: int = 0):
        self.new, self.dead = list(new), list(dead or [])
        self.failures = failures
        self.opened = 0
        self.told: list[Any] = []
        self.idle: Callable[[], None] = lambda: None

    def open(self) -> None:
        self._maybe_fail()
        self.opened += 1

    def claim(self) -> StreamEntry | None:
        assert self.opened == 1
        return self.dead.pop(0) if self.dead else None

    def read(self, seconds: float) -> StreamEntry | None:
        assert self.opened == 1
        if not self.new:
            self.idle()
            return None
        return self.new.pop(0)

    @contextmanager
    def held(self, held: StreamEntry) -> Iterator[None]:
        self.told.append(("hold", held.id))
        yield
        self.told.append(("release", held.id))

    def acknowledge(self, done: StreamEntry) -> bool:
        self._maybe_fail()
        self.told.append(("acknowledge", done.id))
        return True

    def give_back(self, given: StreamEntry, after: float, *, tried: bool) -> bool:
        self.told.append(("give back", given.id, after, tried))
        return True

    def _maybe_fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise StreamUnavailableError("away")


class FakeProcess:
    def __init__(self, status: Status = Status.PROCESSED) -> None:
        self.status = status
        self.visits: list[str] = []
        self.recorded: list[Outcome] = []
        self.before: Callable[[], None] = lambda: None

    def process(self, visit: FannedOutVisit) -> Outcome:
        self.before()
        self.visits.append(visit.groupId)
        return Outcome(self.status, "reason")

    def record(self, outcome: Outcome, visit: FannedOutVisit | None = None) -> None:
        self.recorded.append(outcome)


def serve(stream: FakeStream, process: FakeProcess, max_visits: int = 0, stop: Any = None) -> int:
    stop = stop or threading.Event()
    stream.idle = stop.set
    return ServeStream(stream, process, 60.0, max_visits, retry_delay=0.01).run(stop)


def test_visit_is_acknowledged_after_its_outcome() -> None:
    stream, process = FakeStream([entry()]), FakeProcess()
    assert serve(stream, process) == 1
    assert process.visits == ["group 1"]
    assert stream.told == [("hold", "1-0"), ("release", "1-0"), ("acknowledge", "1-0")]


@pytest.mark.parametrize(
    "status", [Status.FAILED, Status.STALE, Status.SKIPPED, Status.INVALID, Status.PROCESSED]
)
def test_final_outcomes_take_the_visit_off_the_stream(status: Status) -> None:
    stream = FakeStream([entry()])
    serve(stream, FakeProcess(status))
    assert stream.told[-1] == ("acknowledge", "1-0")


def test_visit_that_failed_for_a_passing_reason_is_tried_again_later() -> None:
    stream = FakeStream([entry()])
    serve(stream, FakeProcess(Status.RETRIABLE))
    assert stream.told[-1] == ("give back", "1-0", 30.0, True)


def test_visit_is_not_tried_for_ever() -> None:
    stream, process = FakeStream([], [entry(deliveries=MAX_DELIVERIES)]), FakeProcess(Status.RETRIABLE)
    serve(stream, process)
    assert stream.told[-1] == ("acknowledge", "1-0")
    # Retriable is no end; this is the one that is counted.
    (outcome,) = process.recorded
    assert (outcome.status, outcome.retry) == (Status.FAILED, None)
    assert "reason" in outcome.reason


def test_visit_that_brings_workers_down_is_reported_and_not_processed() -> None:
    stream, process = FakeStream([], [entry(deliveries=MAX_DELIVERIES + 1)]), FakeProcess()
    serve(stream, process)
    assert process.visits == []
    assert [outcome.status for outcome in process.recorded] == [Status.FAILED]
    assert stream.told == [("acknowledge", "1-0")]


def test_visits_of_dead_workers_come_first() -> None:
    process = FakeProcess()
    serve(FakeStream([entry(1)], [entry(2, deliveries=2)]), process)
    assert process.visits == ["group 2", "group 1"]


def test_interrupted_visit_is_another_workers_at_once() -> None:
    stop = threading.Event()
    stream, process = FakeStream([entry(1), entry(2)]), FakeProcess(Status.RETRIABLE)
    process.before = stop.set
    assert serve(stream, process, stop=stop) == 1
    assert stream.told[-1] == ("give back", "1-0", 0.0, False)


def test_visit_that_comes_while_stopping_is_not_begun() -> None:
    stop = threading.Event()
    stream, process = FakeStream([entry()]), FakeProcess()
    stream.read = lambda _: (stop.set(), entry())[1]  # type: ignore[method-assign,assignment]
    serve(stream, process, stop=stop)
    assert process.visits == []
    assert stream.told == [("give back", "1-0", 0.0, False)]


@pytest.mark.parametrize("fields", [{"detector": "many"}, {"position": "[1"}, {"position": "nowhere"}])
def test_what_is_no_visit_is_reported_and_taken_off(fields: dict[str, str]) -> None:
    stream, process = FakeStream([entry(**fields)]), FakeProcess()
    serve(stream, process)
    assert [outcome.status for outcome in process.recorded] == [Status.MALFORMED]
    assert stream.told == [("acknowledge", "1-0")]


def test_worker_ends_after_its_share_of_visits() -> None:
    process = FakeProcess()
    assert serve(FakeStream([entry(number) for number in range(5)]), process, max_visits=2) == 2
    assert len(process.visits) == 2


def test_worker_ends_if_no_visit_comes() -> None:
    now = [0.0]

    def pass_time() -> None:
        now[0] += 1.0

    stream = FakeStream([entry()])
    stream.idle = pass_time
    service = ServeStream(stream, FakeProcess(), 10.0, 0, 0.01, monotonic=lambda: now[0])
    assert service.run(threading.Event()) == 1
    assert 10.0 < now[0] < 13.0


def test_redis_that_is_away_is_waited_for_before_and_after_a_visit() -> None:
    stream = FakeStream([entry()], failures=2)
    process = FakeProcess()
    process.before = lambda: setattr(stream, "failures", 2)
    serve(stream, process)
    assert process.visits == ["group 1"]
    assert stream.told[-1] == ("acknowledge", "1-0")


def test_missing_redis_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_STREAM_HOST", raising=False)
    required = {
        "RUBIN_INSTRUMENT": "LSSTCam",
        "SKYMAP": "s",
        "CENTRAL_REPO": "r",
        "IMAGE_BUCKET": "b",
        "KAFKA_CLUSTER": "k",
        "BUCKET_TOPIC": "t",
        "PREPROCESSING_PIPELINES_CONFIG": "- pipelines: []",
        "MAIN_PIPELINES_CONFIG": "- pipelines: []",
        "CONFIG_APDB": "a",
    }
    for name, value in required.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match="REDIS_STREAM_HOST: not set"):
        load_settings()
    monkeypatch.setenv("REDIS_STREAM_HOST", "redis:6379")
    assert load_settings().redis_stream_claim_idle == 60.0


def test_worker_whose_visit_does_not_end_gives_up() -> None:
    """Its signs of life go on: nobody else would ever get the visit."""
    stream, process, given_up = FakeStream([entry()]), FakeProcess(), threading.Event()
    process.before = lambda: given_up.wait(10.0) or None
    stop = threading.Event()
    stream.idle = stop.set
    worker = ServeStream(stream, process, 60.0, 0, retry_delay=0.01, stuck_after=0.1, give_up=given_up.set)
    worker.run(stop)
    assert given_up.is_set()


def test_last_message_of_a_worker_that_gives_up_names_the_visit() -> None:
    context, named, given_up = LogContext("LSSTCam"), [], threading.Event()

    def give_up() -> None:
        named.append(context.as_dict().get("group"))
        given_up.set()

    stream, process = FakeStream([entry(7)]), FakeProcess()
    process.before = lambda: given_up.wait(10.0) or None
    ServeStream(
        stream, process, 60.0, 1, 0.01,
        stuck_after=0.05, give_up=give_up, naming=lambda visit: context.visit(visit, 0.0),
    ).run(threading.Event())  # fmt: skip
    assert named == ["group 7"]


def test_worker_whose_visit_ends_does_not_give_up() -> None:
    stream, given_up = FakeStream([entry()]), threading.Event()
    stop = threading.Event()
    stream.idle = stop.set
    ServeStream(stream, FakeProcess(), 60.0, 0, retry_delay=0.01, stuck_after=0.2, give_up=given_up.set).run(
        stop
    )
    assert not given_up.wait(0.5)


def test_each_turn_of_the_loop_is_a_beat() -> None:
    now = [0.0]
    heartbeat = Heartbeat(60.0, lambda: now[0])
    stream, stop = FakeStream([]), threading.Event()
    turns = iter((50.0, 100.0, 150.0))

    def idle() -> None:
        now[0] = next(turns, 150.0)
        assert heartbeat.beats()
        if now[0] == 150.0:
            stop.set()

    stream.idle = idle
    ServeStream(stream, FakeProcess(), 600.0, 0, 0.0, heartbeat=heartbeat).run(stop)
    now[0] = 211.0
    assert not heartbeat.beats()
