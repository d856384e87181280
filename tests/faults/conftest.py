"""Fixtures of the tests that break things."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fault_servers import Servers, make_servers
from fault_world import FaultWorld
from file_costs import counted
from real_services import started

from prompt_processing.services.kafka import Kafka
from prompt_processing.services.object_store import ObjectStore
from prompt_processing.services.postgresql import PostgreSql
from prompt_processing.services.redis_server import RedisServer
from prompt_processing.services.stack import ServiceStack


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Servers of these tests alone: nobody else's should be killed."""
    folder = tmp_path_factory.mktemp("faults")
    with ServiceStack(folder / "services") as stack, pytest.MonkeyPatch.context() as patch:
        for kind in (Kafka, PostgreSql, RedisServer, ObjectStore):
            started(stack, kind)
        made = make_servers(stack, folder, patch)
        with counted(made.nursery.pid):
            yield made
        made.nursery.close()
        for proxy in made.proxies.values():
            proxy.close()


@pytest.fixture
def make_world(servers: Servers, tmp_path: Path) -> Iterator[Callable[..., FaultWorld]]:
    """Make worlds; whatever runs in them is ended."""
    made: list[FaultWorld] = []

    def make(*, through_writer: bool = True) -> FaultWorld:
        folder = tmp_path / f"world-{len(made)}"
        folder.mkdir()
        made.append(FaultWorld(servers, folder, through_writer=through_writer))
        return made[-1]

    yield make
    for world in made:
        world.stop()


@pytest.fixture
def fault_world(make_world: Callable[..., FaultWorld]) -> FaultWorld:
    """A world whose outputs go through the writer."""
    return make_world()
