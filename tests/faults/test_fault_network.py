"""Connections that are cut, swallowed or slow."""

from __future__ import annotations

import os
import time

import pytest
from fault_books import balance
from fault_servers import APDB_NAMESPACE, Servers
from fault_world import FaultWorld

pytestmark = pytest.mark.services

LONG = os.environ.get("PROMPT_FAULTS") == "long"
STAGES = ("preload", "ingest", "pipeline", "apdb", "export", "copied", "exported")
CUTS = [("s3", "export"), ("postgresql", "pipeline"), ("redis", "pipeline")]
if LONG:
    CUTS = [(name, stage) for name in ("s3", "postgresql", "redis") for stage in STAGES]


@pytest.mark.parametrize(("name", "stage"), CUTS)
def test_connections_that_are_cut_are_made_anew(
    fault_world: FaultWorld, servers: Servers, name: str, stage: str
) -> None:
    visit = fault_world.stream_visit(fault_world.visit())
    fault_world.put_raw(visit)
    fault_world.close(stage)
    fault_world.start_stream_worker()
    fault_world.await_gate(stage)
    servers.proxies[name].cut()
    fault_world.open(stage)
    (outcome,) = fault_world.await_outcomes()
    assert outcome["status"] == "processed", fault_world.logs()
    balance(fault_world)


def test_connection_that_is_cut_within_the_transaction_leaves_no_half_of_it(
    fault_world: FaultWorld, servers: Servers
) -> None:
    visit = fault_world.stream_visit(fault_world.visit())
    fault_world.put_raw(visit)
    fault_world.close("apdb")
    fault_world.start_stream_worker()
    fault_world.await_gate("apdb")
    with servers.postgresql.connect(fault_world.database) as blocker:
        # Readers pass, the transaction that writes stands still in its middle.
        blocker.execute(f'LOCK TABLE {APDB_NAMESPACE}."DiaSource" IN EXCLUSIVE MODE')
        fault_world.open("apdb")
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        with servers.postgresql.connect(fault_world.database) as observer:
            fault_world.wait_until(
                lambda: bool((observer.execute(waiting).fetchone() or (0,))[0]), "nobody waits for the lock"
            )
        servers.proxies["postgresql"].cut()
    (outcome,) = fault_world.await_outcomes()
    assert outcome["status"] == "processed" or outcome["retry"] == "unsafe"
    balance(fault_world)


def test_slow_bucket_costs_time_and_nothing_else(fault_world: FaultWorld, servers: Servers) -> None:
    servers.proxies["s3"].delay = 0.3
    visit = fault_world.stream_visit(fault_world.visit())
    fault_world.put_raw(visit)
    fault_world.start_stream_worker()
    (outcome,) = fault_world.await_outcomes()
    assert outcome["status"] == "processed"
    servers.proxies["s3"].flow()
    balance(fault_world)


@pytest.mark.skipif(not LONG, reason="takes minutes: PROMPT_FAULTS=long")
def test_worker_whose_database_swallows_everything_gives_its_visit_to_another(
    fault_world: FaultWorld, servers: Servers
) -> None:
    visit = fault_world.stream_visit(fault_world.visit())
    fault_world.put_raw(visit)
    fault_world.close("pipeline")
    stuck = fault_world.start_stream_worker(WORKER_TIMEOUT="10")
    fault_world.await_gate("pipeline")
    servers.proxies["postgresql"].stall()
    fault_world.open("pipeline")
    fault_world.wait_until(lambda: not stuck.runs, "the worker is stuck", 120.0)
    assert stuck.process.poll() == 70
    servers.proxies["postgresql"].cut()
    servers.proxies["postgresql"].flow()
    time.sleep(1.0)
    fault_world.start_stream_worker()
    fault_world.await_outcomes()
    balance(fault_world)
