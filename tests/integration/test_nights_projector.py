"""Outcomes from the worker's publisher through Kafka or files to the database of nights, and its readers."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from broker_process import BrokerProcess
from night_messages import NIGHT, a_visit, announced, began, ended
from sqlalchemy.exc import SQLAlchemyError

from prompt_processing.domain.outcome import Outcome, Status
from prompt_processing.nights.publishing import OutcomePublisher, TopicSink
from prompt_processing.nights.reading import Nights, NightsUnavailableError
from prompt_processing.nights.records import State
from prompt_processing.nights.store import NightStore
from prompt_processing.services.postgresql import PostgreSql
from prompt_processing.transport.kafka import KafkaSettings, make_producer

TOPIC = "prompt-outcomes"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    with BrokerProcess(tmp_path / "kafka", TOPIC) as running:
        yield running


@contextmanager
def projector(broker: BrokerProcess, database: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        "KAFKA_CLUSTER": broker.address,
        "OUTCOME_TOPIC": TOPIC,
        "NIGHTS_DATABASE": str(database),
        "PATH": "/usr/bin:/bin",
    }
    command = [sys.executable, "-m", "prompt_processing", "nights", "project"]
    process = subprocess.Popen(command, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            if condition():
                return
        except NightsUnavailableError:
            # The projector has not made it yet.
            pass
        assert time.monotonic() < deadline, "condition not reached"
        time.sleep(0.1)


def n_done(nights: Nights) -> int:
    return sum(one.states[State.DONE] for one in nights.latest().rows)


def test_outcomes_reach_pages_through_kafka_and_none_is_lost_by_a_killed_projector(
    broker: BrokerProcess, tmp_path: Path
) -> None:
    database = tmp_path / "nights.db"
    kafka = KafkaSettings(bootstrap_servers=broker.address)
    publisher = OutcomePublisher(TopicSink(kafka, TOPIC))
    foreign = make_producer(kafka)
    with Nights(database) as nights:
        with projector(broker, database):
            publisher.begin(a_visit(1)).end(Outcome(Status.PROCESSED, "Done."))
            foreign.produce(TOPIC, b"\x00 no outcome")
            foreign.flush(10)
            wait_for(lambda: n_done(nights) == 1 and nights.freshness().n_malformed == 1)
        # Killed. What comes meanwhile is read by the next one, and what it has read is not read again.
        publisher.begin(a_visit(2)).end(Outcome(Status.PROCESSED, "Done."))
        publisher.close(10)
        with projector(broker, database) as process:
            wait_for(lambda: n_done(nights) == 2)
            assert nights.freshness().n_malformed == 1
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0


@pytest.mark.services
def test_postgresql_keeps_nights_like_sqlite(
    postgresql: PostgreSql, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LSST_DB_AUTH", str(postgresql.auth_file))
    messages = [
        announced(a_visit(), (93, 94, 95)),
        began(a_visit()),
        ended(a_visit()),
        ended(a_visit(detector=95), status=Status.FAILED, reason="<b>'No' template</b> \x00"),
    ]
    found = []
    for place in (tmp_path / "nights.db", postgresql.create_database("nights")):
        store = NightStore(place)
        store.write(messages, {"topic[0]": 7})
        store.write(messages, {"topic[0]": 4})
        assert store.positions(["topic[0]", "topic[1]"]) == {"topic[0]": 4}
        store.close()
        with Nights(place, late_after=1e12) as nights:
            found.append(
                (
                    nights.nights(),
                    nights.visits(NIGHT, problems=True),
                    nights.detectors(2026053100101),
                    nights.outcome(2026053100101, 95),
                    nights.errors(NIGHT),
                    nights.timeline(NIGHT),
                    nights.latencies(NIGHT),
                    nights.in_time(NIGHT),
                    nights.history("LSSTCam", 94),
                    nights.changed_since(0),
                    nights.visit("\x00 \ud800 no such group"),
                )
            )
            with nights._engine.connect() as connection, pytest.raises(SQLAlchemyError, match=r"read.?only"):
                connection.exec_driver_sql("DELETE FROM visits")
    assert found[0] == found[1]
