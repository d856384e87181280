"""The APDB in a schema of a PostgreSQL database, with several writers."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from apdb_rows import write
from lsst.dax.apdb import Apdb
from psycopg.sql import SQL, Identifier
from real_central import use_environment
from sqlalchemy import event

from prompt_processing.apdb.preloaded_catalogs import open_apdb
from prompt_processing.apdb.write import AlreadyInApdbError
from prompt_processing.archive.export import export_night
from prompt_processing.archive.nights import NightInterval
from prompt_processing.domain.errors import NonRetriableError, RetriableError
from prompt_processing.services.postgresql import PostgreSql

pytestmark = pytest.mark.services

VISIT, DETECTOR = 2026112100001, 94


class RealApdb:
    """An APDB made by the command that makes them, in a schema of its own."""

    def __init__(self, server: PostgreSql, database: str, namespace: str, config: str) -> None:
        self.server, self.database, self.namespace, self.config = server, database, namespace, config
        self._open: list[Apdb] = []

    def open(self) -> Apdb:
        """As each worker process does it."""
        self._open.append(open_apdb(self.config))
        return self._open[-1]

    def close(self) -> None:
        for apdb in self._open:
            apdb._engine.dispose()

    def count(self, table: str, schema: str | None = None) -> int:
        name = Identifier(schema or self.namespace, table)
        with self.server.connect(self.database) as connection:
            row = connection.execute(SQL("SELECT count(*) FROM {}").format(name)).fetchone()
        assert row is not None
        return int(row[0])

    def run(self, statement: Any) -> list[Any]:
        with self.server.connect(self.database) as connection:
            return connection.execute(statement).fetchall()


@pytest.fixture
def apdb(
    postgresql: PostgreSql, new_name: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RealApdb]:
    use_environment(monkeypatch, postgresql)
    name = new_name("apdb").replace("-", "_")
    url = postgresql.create_database(name)
    program = Path(sys.executable).with_name("apdb-cli")
    config = str(tmp_path / "apdb.yaml")
    subprocess.run([program, "create-sql", "--namespace=prompt", url, config], check=True, timeout=120)
    assert postgresql.password not in Path(config).read_text()
    found = RealApdb(postgresql, name, "prompt", config)
    yield found
    found.close()


@contextmanager
def held(apdb: Apdb) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Let the APDB's writes stop before their last table until told to go on."""
    reached, go_on = threading.Event(), threading.Event()

    def wait(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT") and "DiaForcedSource" in statement:
            reached.set()
            assert go_on.wait(60)

    event.listen(apdb._engine, "before_cursor_execute", wait)
    try:
        yield reached, go_on
    finally:
        go_on.set()
        event.remove(apdb._engine, "before_cursor_execute", wait)


def outcome(writing: Future[bool]) -> str:
    error = writing.exception(timeout=90)
    return "written" if error is None else type(error).__name__


def test_rows_are_in_the_schema_and_are_read_back(apdb: RealApdb) -> None:
    writer = apdb.open()
    assert write(writer, VISIT, DETECTOR, 1) is True
    assert [apdb.count(table) for table in ("DiaObject", "DiaSource", "DiaForcedSource")] == [3, 3, 3]
    assert apdb.run("SELECT 1 FROM information_schema.tables WHERE table_schema = 'public' "
                    "AND table_name = 'DiaSource'") == []  # fmt: skip
    assert apdb.run('SELECT DISTINCT "validityEndMjdTai" FROM prompt."DiaObject"') == [(None,)]
    reader = apdb.open()
    assert reader.containsVisitDetector(VISIT, DETECTOR)
    assert not reader.containsVisitDetector(VISIT, DETECTOR + 1)


def test_second_writer_waits_for_the_first_and_then_refuses(apdb: RealApdb) -> None:
    first, second = apdb.open(), apdb.open()
    with ThreadPoolExecutor(2) as pool, held(first) as (reached, go_on):
        one = pool.submit(write, first, VISIT, DETECTOR, 1)
        assert reached.wait(60)
        # Both have looked before either has written; no key of theirs is the same.
        other = pool.submit(write, second, VISIT, DETECTOR, 1000)
        with pytest.raises(TimeoutError):
            other.result(timeout=1.0)
        go_on.set()
        assert [outcome(one), outcome(other)] == ["written", AlreadyInApdbError.__name__]
    assert apdb.count("DiaSource") == 3
    assert apdb.count("DiaObject") == 3


def test_other_detectors_do_not_wait(apdb: RealApdb) -> None:
    first, second = apdb.open(), apdb.open()
    with ThreadPoolExecutor(1) as pool, held(first) as (reached, go_on):
        one = pool.submit(write, first, VISIT, DETECTOR, 1)
        assert reached.wait(60)
        assert write(second, VISIT, DETECTOR + 1, 1000) is True
        go_on.set()
        assert outcome(one) == "written"
    assert apdb.count("DiaSource") == 6


def test_of_many_writers_at_once_one_writes(apdb: RealApdb) -> None:
    writers = [apdb.open() for _ in range(6)]
    start = threading.Barrier(len(writers))

    def race(number: int) -> bool:
        start.wait(60)
        return write(writers[number], VISIT, DETECTOR, 1000 * number)

    with ThreadPoolExecutor(len(writers)) as pool:
        outcomes = [outcome(writing) for writing in [pool.submit(race, n) for n in range(len(writers))]]
    assert sorted(outcomes) == sorted(["written"] + [AlreadyInApdbError.__name__] * 5)
    assert apdb.count("DiaSource") == 3


def test_connection_that_is_cut_in_the_write_leaves_nothing_and_lets_the_next_in(apdb: RealApdb) -> None:
    first, second = apdb.open(), apdb.open()
    with ThreadPoolExecutor(1) as pool, held(first) as (reached, go_on):
        one = pool.submit(write, first, VISIT, DETECTOR, 1)
        assert reached.wait(60)
        assert apdb.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'"
        ) == [(True,)]
        go_on.set()
        assert outcome(one) == RetriableError.__name__
    assert apdb.count("DiaObject") == 0
    assert write(second, VISIT, DETECTOR, 1000) is True


def test_rows_that_the_database_refuses_are_not_tried_again(apdb: RealApdb) -> None:
    writer = apdb.open()
    with apdb.server.connect(apdb.database) as connection:
        connection.execute('ALTER TABLE prompt."DiaSource" ALTER COLUMN "ra" TYPE integer')
        connection.execute('ALTER TABLE prompt."DiaSource" DROP COLUMN "dec"')
    with pytest.raises(NonRetriableError, match="refuses"):
        write(writer, VISIT, DETECTOR, 1)
    assert apdb.count("DiaObject") == 0


def test_night_of_a_namespace_is_archived(apdb: RealApdb, tmp_path: Path) -> None:
    write(apdb.open(), VISIT, DETECTOR, 100)
    night = NightInterval.of("2026-11-20")
    report = export_night(tmp_path / "archive", night, apdb.open(), hats=False)
    assert report.problems == []
    assert {name: report.rows[name] for name in ("DiaSource", "DiaForcedSource", "DiaObject")} == {
        "DiaSource": 3,
        "DiaForcedSource": 3,
        "DiaObject": 3,
    }
    write(apdb.open(), VISIT, DETECTOR + 1, 200)
    assert export_night(tmp_path / "archive", night, apdb.open(), hats=False).new["DiaSource"] == 3
    assert apdb.server.password not in (tmp_path / "archive" / "manifests" / "20261120.json").read_text()
