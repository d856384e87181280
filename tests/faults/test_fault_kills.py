"""Workers that end at any stage of a visit, all at once or because they are told to."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from fault_books import alerts_kept, alerts_sent, balance
from fault_pipeline import N_SOURCES
from fault_world import FaultWorld

pytestmark = pytest.mark.services

BEFORE_THE_APDB = ("preload", "wait", "ingest", "pipeline", "apdb")
AFTER_THE_APDB = ("alerts", "sending", "export", "copied", "exported")
LONG = os.environ.get("PROMPT_FAULTS") == "long"
TOLD_AT = (*BEFORE_THE_APDB, *AFTER_THE_APDB) if LONG else ("preload", "apdb", "sending", "copied")


@pytest.mark.parametrize("gate", [*BEFORE_THE_APDB, *AFTER_THE_APDB])
def test_visit_of_a_killed_worker_ends_once(fault_world: FaultWorld, gate: str) -> None:
    visit = fault_world.stream_visit(fault_world.visit())
    fault_world.put_raw(visit)
    fault_world.close(gate)
    dying = fault_world.start_stream_worker()
    fault_world.await_gate(gate)
    dying.kill()
    fault_world.open(gate)
    fault_world.start_stream_worker()
    (outcome,) = fault_world.await_outcomes()
    if gate in BEFORE_THE_APDB:
        assert outcome["status"] == "processed"
    else:
        assert (outcome["status"], outcome["retry"]) == ("failed", "unsafe")
        # The next worker sends what the dead one had no time for.
        fault_world.wait_until(lambda: not alerts_kept(fault_world), "alerts are still unsent")
        assert len(alerts_sent(fault_world)) == N_SOURCES
    balance(fault_world)


def test_visit_that_is_queued_behind_a_killed_worker_is_processed(fault_world: FaultWorld) -> None:
    fault_world.close("pipeline")
    visits = [fault_world.stream_visit(fault_world.visit()) for _ in range(2)]
    for visit in visits:
        fault_world.put_raw(visit)
    dying = fault_world.start_stream_worker()
    fault_world.await_gate("pipeline")
    dying.kill()
    fault_world.open("pipeline")
    fault_world.start_stream_worker()
    outcomes = fault_world.await_outcomes(2)
    assert [outcome["status"] for outcome in outcomes] == ["processed", "processed"]
    balance(fault_world)


@pytest.mark.parametrize("gate", TOLD_AT)
def test_visit_of_a_worker_that_is_told_to_end_ends_once(fault_world: FaultWorld, gate: str) -> None:
    visit = fault_world.stream_visit(fault_world.visit())
    fault_world.put_raw(visit)
    fault_world.close(gate)
    ending = fault_world.start_stream_worker(WORKER_GRACE_PERIOD="20")
    fault_world.await_gate(gate)
    ending.process.send_signal(15)
    if gate in ("export", "copied", "exported"):
        # What is nearly done is finished within the grace period.
        fault_world.open(gate)
    assert ending.process.wait(40) == 0, fault_world.logs()
    fault_world.open(gate)
    if gate in BEFORE_THE_APDB:
        assert not fault_world.final_outcomes()
        fault_world.start_stream_worker()
    (outcome,) = fault_world.await_outcomes()
    if gate in ("alerts", "sending"):
        assert (outcome["status"], outcome["retry"]) == ("failed", "unsafe")
        # Half of them may have been acknowledged before.
        assert N_SOURCES // 2 <= len(alerts_kept(fault_world)) <= N_SOURCES
    else:
        assert outcome["status"] == "processed"
    balance(fault_world)


@pytest.mark.parametrize(
    ("gate", "retry", "answer"),
    [("pipeline", False, "unreachable"), ("pipeline", True, "200"), ("sending", True, "500")],
)
def test_visit_whose_connection_dies_is_sent_again_or_counted_by_the_sender(
    make_world: Callable[..., FaultWorld], gate: str, retry: bool, answer: str
) -> None:
    """Nobody takes such a visit over; if it is not sent again, the count of the fan-out is its record."""
    fault_world = make_world(through_writer=False)
    worker = fault_world.start_web_worker()
    first = fault_world.visit()
    fault_world.put_raw(first)
    fault_world.close(gate)
    fault_world.post_visit(first, worker, retry=retry)
    fault_world.await_gate(gate)
    # The process that has the visit, as the kernel ends it when there is no memory left.
    (busy,) = {record["process"] for record in worker.records() if record.get("group") == first.groupId}
    os.kill(busy, 9)
    fault_world.open(gate)
    fault_world.await_answers()
    assert fault_world.answers[first.groupId, first.detector] == [answer]
    second = fault_world.visit()
    fault_world.put_raw(second)
    fault_world.post_visit(second, worker)
    fault_world.await_answers()
    assert fault_world.answers[second.groupId, second.detector] == ["200"]
    balance(fault_world)
