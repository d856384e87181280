"""Servers that pause, and servers that are killed and come back, at a stage of a visit."""

from __future__ import annotations

import os
import time

import pytest
from fault_books import balance
from fault_servers import Servers
from fault_worker import GATES
from fault_world import FaultWorld

from prompt_processing.services.kafka import Kafka
from prompt_processing.services.object_store import ObjectStore
from prompt_processing.services.postgresql import PostgreSql
from prompt_processing.services.redis_server import RedisServer
from prompt_processing.services.service import Service

pytestmark = pytest.mark.services

LONG = os.environ.get("PROMPT_FAULTS") == "long"
KINDS: dict[str, type[Service]] = {
    "kafka": Kafka,
    "s3": ObjectStore,
    "postgresql": PostgreSql,
    "redis": RedisServer,
}

PAUSES: list[tuple[str, str, float]] = [
    ("kafka", "alerts", 5.0),
    ("s3", "ingest", 5.0),
    ("postgresql", "apdb", 5.0),
    ("redis", "exported", 5.0),
]
KILLS: list[tuple[str, str, float]] = [
    ("kafka", "copied", 5.0),
    ("s3", "export", 5.0),
    ("postgresql", "preload", 5.0),
    ("redis", "pipeline", 5.0),
]
if LONG:
    PAUSES = [(name, stage, seconds) for name in KINDS for stage in GATES for seconds in (5.0, 60.0)]
    KILLS = list(PAUSES)


def _prepare(world: FaultWorld, stage: str, seconds: float) -> None:
    visit = world.stream_visit(world.visit(duration=4.0))
    if stage not in ("preload", "wait"):
        world.put_raw(visit)
    world.close(stage)
    # Three attempts in a row must not all fall into the time without the server.
    world.start_stream_worker(REDIS_STREAM_CLAIM_IDLE=f"{max(3.0, seconds / 2 + 3.0)}")
    world.await_gate(stage)
    if stage in ("preload", "wait"):
        world.put_raw(visit)


def _conclude(world: FaultWorld) -> None:
    (outcome,) = world.await_outcomes(seconds=240.0)
    # Which of them depends on what was under way; that the books balance does not.
    assert outcome["status"] == "processed" or outcome["retry"] == "unsafe", world.logs()
    following = world.stream_visit(world.visit())
    world.put_raw(following)
    outcomes = world.await_outcomes(2, seconds=240.0)
    assert outcomes[-1]["status"] == "processed", world.logs()
    balance(world)


@pytest.mark.parametrize(("name", "stage", "seconds"), PAUSES)
def test_server_that_pauses(
    fault_world: FaultWorld, servers: Servers, name: str, stage: str, seconds: float
) -> None:
    server = servers.stack.server(KINDS[name])
    _prepare(fault_world, stage, seconds)
    server.pause()
    try:
        fault_world.open(stage)
        time.sleep(seconds)
    finally:
        server.resume()
    _conclude(fault_world)


@pytest.mark.parametrize(("name", "stage", "seconds"), KILLS)
def test_server_that_is_killed_and_comes_back(
    fault_world: FaultWorld, servers: Servers, name: str, stage: str, seconds: float
) -> None:
    server = servers.stack.server(KINDS[name])
    _prepare(fault_world, stage, seconds)
    server.kill()
    try:
        fault_world.open(stage)
        time.sleep(seconds)
    finally:
        server.start()
        server.wait_ready(90.0)
    _conclude(fault_world)
