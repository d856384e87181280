"""Streams of visits on real Redis: what KEDA counts, and what may be removed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fan_out_processes import announcement

from prompt_processing.activator.storage.visit_stream import VisitStream
from prompt_processing.fanout.destinations import RedisStreams
from prompt_processing.fanout.metrics import FanOutMetrics
from prompt_processing.fanout.streams import StreamMetrics, look_at_streams, trim_streams
from prompt_processing.services.redis_server import RedisServer
from prompt_processing.transport.redis_streams import consumer_group

pytestmark = pytest.mark.integration

GROUP = consumer_group("LSSTCam")


@pytest.fixture
def stream(new_name: Callable[[str], str]) -> str:
    return new_name("instrument:lsstcam")


def send(server: RedisServer, stream: str, n: int) -> None:
    async def send_all() -> None:
        destination = RedisStreams({"LSSTCam": stream}, server.host, 3600.0, FanOutMetrics())
        visit = announcement("a")
        statuses = await asyncio.gather(*(destination.send(visit.for_detector(one)) for one in range(n)))
        assert statuses == ["accepted"] * n
        await destination.close()

    asyncio.run(send_all())


def counted(server: RedisServer, stream: str) -> tuple[int, int | None]:
    """Pending and lag, as KEDA's scaler asks for them."""
    with server.client() as client:
        (about,) = client.xinfo_groups(stream)
        assert about["name"] == GROUP
        return about["pending"], about["lag"]


def length(server: RedisServer, stream: str) -> int:
    with server.client() as client:
        found: Any = client.xlen(stream)
        return int(found)


def test_visits_are_counted_before_there_is_a_worker(redis_server: RedisServer, stream: str) -> None:
    send(redis_server, stream, 3)
    assert counted(redis_server, stream) == (0, 3)


def test_consumer_group_comes_back_with_the_next_visit_after_redis_lost_its_data(
    redis_server: RedisServer, stream: str
) -> None:
    send(redis_server, stream, 1)
    with redis_server.client() as client:
        client.delete(stream)
    send(redis_server, stream, 2)
    assert counted(redis_server, stream) == (0, 2)


def test_visits_after_an_idle_hour_are_counted(redis_server: RedisServer, stream: str) -> None:
    """A group whose last entry was deleted has no lag in Redis: no worker would ever start."""
    send(redis_server, stream, 2)
    worker = VisitStream(redis_server.host, stream, GROUP, 60.0)
    worker.open()
    for _ in range(2):
        entry = worker.read(1.0)
        assert entry is not None
        assert worker.acknowledge(entry)
    assert counted(redis_server, stream) == (0, 0)
    assert length(redis_server, stream) == 0
    send(redis_server, stream, 1)
    assert counted(redis_server, stream) == (0, 1)
    worker.close()


def test_pending_and_unread_visits_stay_when_others_are_done(redis_server: RedisServer, stream: str) -> None:
    send(redis_server, stream, 4)
    worker = VisitStream(redis_server.host, stream, GROUP, 60.0)
    worker.open()
    entries = [entry for entry in (worker.read(1.0) for _ in range(3)) if entry is not None]
    assert worker.acknowledge(entries[1])
    assert length(redis_server, stream) == 4
    assert worker.acknowledge(entries[0])
    assert length(redis_server, stream) == 2
    assert counted(redis_server, stream) == (1, 1)
    assert worker.acknowledge(entries[2])
    assert counted(redis_server, stream) == (0, 1)
    worker.close()


def test_trimming_removes_what_other_workers_left_and_nothing_else(
    redis_server: RedisServer, stream: str
) -> None:
    send(redis_server, stream, 4)
    with redis_server.client() as client:
        client.xgroup_create(stream, "slow readers", id="0")
        read: Any = client.xreadgroup(GROUP, "a worker", {stream: ">"}, count=3)
        identifiers = [identifier for identifier, _ in read[0][1]]
        # Acknowledged, and left on the stream.
        client.xack(stream, GROUP, *identifiers[:2])
        assert trim_streams(client, stream) == {stream: 0}
        client.xgroup_destroy(stream, "slow readers")
        assert trim_streams(client, stream) == {stream: 2}
    assert length(redis_server, stream) == 2
    assert counted(redis_server, stream) == (1, 1)


def test_stream_without_a_group_is_not_trimmed(redis_server: RedisServer, stream: str) -> None:
    with redis_server.client() as client:
        client.xadd(stream, {"groupId": "a"})
        assert trim_streams(client, stream) == {stream: 0}
        assert client.xlen(stream) == 1


def test_streams_are_exported_until_they_are_gone(redis_server: RedisServer, stream: str) -> None:
    send(redis_server, stream, 3)
    metrics = StreamMetrics()
    labels = {"stream": stream, "group": GROUP}
    with redis_server.client() as client:
        client.xreadgroup(GROUP, "a worker", {stream: ">"}, count=1)
        metrics.update(look_at_streams(client, stream))
        assert metrics.registry.get_sample_value("prompt_stream_length", {"stream": stream}) == 3
        assert metrics.registry.get_sample_value("prompt_stream_pending", labels) == 1
        assert metrics.registry.get_sample_value("prompt_stream_lag", labels) == 2
        client.delete(stream)
        metrics.update(look_at_streams(client, stream))
    assert metrics.registry.get_sample_value("prompt_stream_lag", labels) is None
