"""Visits on real Redis: one worker holds each, and another takes it over when its claim grows old."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from prompt_processing.activator.storage.visit_stream import (
    StreamEntry,
    StreamUnavailableError,
    VisitStream,
)
from prompt_processing.services.redis_server import RedisServer

pytestmark = pytest.mark.integration

GROUP = "workers"
IDLE = 60.0
"""Seconds after which a claim is old; the tests make it older themselves."""


class World:
    """A stream, and what is in it."""

    def __init__(self, server: RedisServer, name: str) -> None:
        self.server = server
        self.name = name

    def worker(self, claim_idle: float = IDLE) -> VisitStream:
        stream = VisitStream(self.server.host, self.name, GROUP, claim_idle)
        stream.open()
        return stream

    def add(self, **fields: str) -> str:
        with self.server.client() as client:
            return str(client.xadd(self.name, {"groupId": "g", **fields}))  # type: ignore[arg-type]

    def content(self) -> tuple[int, int]:
        """Number of entries, and of those that a worker holds."""
        with self.server.client() as client:
            pending: Any = client.xpending(self.name, GROUP)
            length: Any = client.xlen(self.name)
        return length, pending["pending"]

    def claim_of(self, identifier: str) -> dict[str, Any]:
        with self.server.client() as client:
            (about,) = client.xpending_range(self.name, GROUP, identifier, identifier, 1)
        return dict(about)

    def age(self, identifier: str) -> None:
        """Let the claim look as if it had not been refreshed in time."""
        consumer = self.claim_of(identifier)["consumer"]
        with self.server.client() as client:
            client.xclaim(self.name, GROUP, consumer, 0, [identifier], idle=int(IDLE * 1000), justid=True)

    def consumers(self) -> int:
        with self.server.client() as client:
            (group,) = client.xinfo_groups(self.name)
        return int(group["consumers"])


@pytest.fixture
def world(redis_server: RedisServer, new_name: Callable[[str], str]) -> World:
    return World(redis_server, new_name("visits"))


def taken(entry: StreamEntry | None) -> StreamEntry:
    assert entry is not None
    return entry


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_visit_is_read_once_and_gone_when_it_is_acknowledged(world: World) -> None:
    identifier = world.add(detector="94")
    # The visits that KEDA started this worker for were there before it.
    one, two = world.worker(), world.worker()
    entry = taken(one.read(5.0))
    assert entry == StreamEntry(identifier, {"groupId": "g", "detector": "94"}, 1)
    assert two.read(0.01) is None
    assert world.content() == (1, 1)
    assert one.acknowledge(entry)
    assert world.content() == (0, 0)
    assert not one.acknowledge(entry)


def test_each_reading_takes_one_visit(world: World) -> None:
    first, second = world.add(), world.add()
    worker = world.worker()
    assert taken(worker.read(5.0)).id == first
    assert world.content() == (2, 1)
    assert taken(worker.read(5.0)).id == second


def test_visit_of_a_dead_worker_is_another_workers_when_its_claim_is_old(world: World) -> None:
    world.add()
    dead, other = world.worker(), world.worker()
    entry = taken(dead.read(5.0))
    assert other.claim() is None
    world.age(entry.id)
    again = taken(other.claim())
    assert (again.id, again.fields, again.deliveries) == (entry.id, entry.fields, 2)
    # It was not dead after all; what it reports no longer counts.
    assert not dead.acknowledge(entry)
    assert not dead.give_back(entry, 0.0, tried=True)
    assert world.content() == (1, 1)
    assert other.acknowledge(again)


def test_visit_of_a_dead_worker_is_found_behind_those_of_many_busy_ones(world: World) -> None:
    busy, other = world.worker(), world.worker()
    *_, last = (world.add(detector=str(number)) for number in range(35))
    while busy.read(0.01) is not None:
        pass
    assert other.claim() is None
    world.age(last)
    assert taken(other.claim()).id == last


def test_claim_is_refreshed_while_a_visit_is_held_and_that_is_no_delivery(world: World) -> None:
    world.add()
    one, other = world.worker(claim_idle=0.6), world.worker()
    entry = taken(one.read(5.0))
    with one.held(entry):
        for _ in range(2):
            world.age(entry.id)
            eventually(lambda: world.claim_of(entry.id)["time_since_delivered"] < IDLE * 1000)
        assert world.claim_of(entry.id)["times_delivered"] == 1
    # The claim is refreshed no more, and the next worker is the second.
    world.age(entry.id)
    time.sleep(0.3)
    assert taken(other.claim()).deliveries == 2


def test_worker_notices_that_its_visit_was_taken_over(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.add()
    one = world.worker(claim_idle=0.6)
    entry = taken(one.read(5.0))
    with one.held(entry):
        with world.server.client() as client:
            client.xclaim(world.name, GROUP, "other", 0, [entry.id])
        eventually(lambda: "was taken over by another worker" in caplog.text)
    assert entry.id in caplog.text
    assert world.claim_of(entry.id)["consumer"] == "other"


@pytest.mark.parametrize(("tried", "deliveries"), [(True, 2), (False, 1)])
def test_visit_that_is_given_back_is_taken_at_once_and_counts_as_said(
    world: World, tried: bool, deliveries: int
) -> None:
    world.add()
    one, other = world.worker(), world.worker()
    assert one.give_back(taken(one.read(5.0)), 0.0, tried=tried)
    assert taken(other.claim()).deliveries == deliveries


def test_visit_that_is_given_back_for_later_waits_but_not_longer_than_a_claim(world: World) -> None:
    world.add()
    worker = world.worker()
    entry = taken(worker.read(5.0))
    for after, idle in ((45.0, 15.0), (100.0, 0.0)):
        assert worker.give_back(entry, after, tried=True)
        assert worker.claim() is None
        assert idle * 1000 <= world.claim_of(entry.id)["time_since_delivered"] < (idle + 14.0) * 1000


def test_worker_without_visits_leaves_the_group_and_one_with_a_visit_stays(world: World) -> None:
    world.add()
    world.add()
    idle, busy = world.worker(), world.worker()
    assert idle.acknowledge(taken(idle.read(5.0)))
    taken(busy.read(5.0))
    assert world.consumers() == 2
    idle.close()
    assert world.consumers() == 1
    busy.close()
    assert world.consumers() == 1
    assert world.content() == (1, 1)


def test_redis_that_is_down_is_reported_with_the_stream(caplog: pytest.LogCaptureFixture) -> None:
    stream = VisitStream("127.0.0.1:9", "instrument:lsstcam", GROUP, IDLE)
    assert str(stream) == "instrument:lsstcam"
    for ask in (stream.open, stream.claim, lambda: stream.read(0.01)):
        with pytest.raises(StreamUnavailableError, match="Redis, stream instrument:lsstcam: "):
            ask()
        assert not stream.answers
    caplog.set_level("INFO")
    stream.close()
    assert "Cannot leave the stream" in caplog.text


def test_stream_that_was_lost_is_made_again(world: World, caplog: pytest.LogCaptureFixture) -> None:
    worker = world.worker()
    assert worker.answers
    with world.server.client() as client:
        client.delete(world.name)
    with pytest.raises(StreamUnavailableError):
        worker.read(0.01)
    assert "has lost its consumer group" in caplog.text
    world.add()
    assert taken(worker.read(5.0)).deliveries == 1


def test_key_of_another_type_is_an_error(world: World) -> None:
    with world.server.client() as client:
        client.set(world.name, "no stream")
    with pytest.raises(StreamUnavailableError, match="WRONGTYPE"):
        world.worker()
