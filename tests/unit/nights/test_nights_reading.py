"""Queries of pages: right, bounded, and harmless whatever the messages say."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from night_messages import NIGHT, START, a_visit, announced, began, ended
from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError

from prompt_processing.domain.errors import MalformedMessageError
from prompt_processing.domain.outcome import Status
from prompt_processing.domain.outcome_message import LARGEST_MESSAGE, OutcomeMessage
from prompt_processing.nights.reading import Nights, NightsUnavailableError
from prompt_processing.nights.records import State
from prompt_processing.nights.store import NightStore

HOSTILE = "<script>alert(1)</script>'\"; DROP TABLE visits; -- ../../etc/passwd \x00\x1b[31m \ud800"


def test_visit_counts_its_detectors_by_state(store: NightStore, nights: Nights) -> None:
    visits = [a_visit(detector=detector) for detector in range(4)]
    failed = ended(visits[1], status=Status.FAILED, reason="No template.")
    store.write([announced(visits[0], (0, 1, 2, 3)), ended(visits[0]), failed, began(visits[2])], {})
    (visit,) = nights.visits(NIGHT).rows
    counts = {state: n for state, n in visit.states.items() if n}
    assert counts == {State.DONE: 1, State.FAILED: 1, State.PROCESSING: 1, State.WAITING: 1}
    (night,) = nights.nights().rows
    assert night.states == visit.states
    assert (night.n_alerts, night.n_sources) == (10, 12)
    assert [one.reason for one in nights.errors(NIGHT).rows] == ["No template."]


def test_unsettled_detector_is_late_when_a_visit_has_had_its_time(store: NightStore, database: Path) -> None:
    store.write([announced(a_visit(), (94, 95)), ended(a_visit())], {})
    with Nights(database, late_after=300, now=lambda: START + 301) as nights:
        assert [one.state for one in nights.detectors("2026-05-31T05:00:01")] == [State.DONE, State.LATE]
        assert nights.visits(NIGHT).rows[0].states[State.LATE] == 1
        assert nights.nights().rows[0].states[State.LATE] == 1


def test_messages_that_come_again_change_nothing(store: NightStore, nights: Nights) -> None:
    messages = [announced(a_visit(), (94,)), began(a_visit()), ended(a_visit())]
    store.write(messages, {})
    before = nights.visits(NIGHT), nights.timeline(NIGHT), nights.freshness().cursor
    store.write(messages, {})
    assert (nights.visits(NIGHT), nights.timeline(NIGHT), nights.freshness().cursor) == before


def test_page_after_page_gives_every_visit_once(store: NightStore, nights: Nights) -> None:
    # Two have the same time.
    store.write([ended(a_visit(number, announced=START + number // 2)) for number in range(1, 8)], {})
    found, after = [], None
    while True:
        page = nights.visits(NIGHT, 2, after=after)
        found += [one.group for one in page.rows]
        if (after := page.next) is None:
            break
    assert len(found) == len(set(found)) == 7
    assert nights.visits(NIGHT, after="no;such:cursor'").rows == []


def test_changes_are_read_once_each_in_order(store: NightStore, nights: Nights) -> None:
    store.write([began(a_visit(1)), began(a_visit(2))], {})
    first = nights.changed_since(0, limit=1)
    second = nights.changed_since(first.cursor)
    assert (len(first.rows), first.more, len(second.rows), second.more) == (1, True, 1, False)
    store.write([ended(a_visit(1))], {})
    assert [one.state for one in nights.changed_since(second.cursor).rows] == [State.DONE]


def test_neighbours_are_the_visits_before_and_after(store: NightStore, nights: Nights) -> None:
    store.write([ended(a_visit(number, announced=START + number)) for number in (1, 2, 3)], {})
    middle = nights.visit("2026-05-31T05:00:02")
    assert middle is not None
    before, after = nights.neighbours(middle)
    assert before is not None
    assert after is not None
    assert (before.group[-2:], after.group[-2:]) == ("01", "03")


def test_latencies_are_percentiles_of_what_was_processed(store: NightStore, nights: Nights) -> None:
    messages = [ended(a_visit(detector=number), at=START + 40) for number in range(20)]
    store.write([*messages, ended(a_visit(detector=21), status=Status.FAILED)], {})
    found = nights.latencies(NIGHT)
    assert list(found)[-1] == "arrival_to_alert"
    assert found["pipeline"].n == 20
    assert found["pipeline"].p95 == pytest.approx(9.0, rel=0.03)
    assert nights.latency_by_visit(NIGHT)[0].p50["wait"] == pytest.approx(20.0, rel=0.03)


def test_timeline_counts_by_minute(store: NightStore, nights: Nights) -> None:
    store.write([announced(a_visit(), (94, 95)), ended(a_visit(), at=START + 130)], {})
    first, second = nights.timeline(NIGHT)
    assert (first.announced, first.done) == (2, 0)
    assert (second.start, second.done, second.alerts) == (START + 120, 1, 10)


QUERIES: dict[str, Callable[[Nights], object]] = {
    "nights": lambda nights: nights.nights(10),
    "nights of an instrument": lambda nights: nights.nights(10, instrument="LSSTCam"),
    "visits": lambda nights: nights.visits(NIGHT, 10, after=f"{NIGHT}:{START + 20}:7"),
    "latest": lambda nights: nights.latest(10, instrument="LSSTCam"),
    "visit": lambda nights: nights.visit("2026-05-31T05:00:05"),
    "visit by exposure": lambda nights: nights.visit(2026053100105),
    "detectors": lambda nights: nights.detectors(2026053100105),
    "outcome": lambda nights: nights.outcome(2026053100105, 3),
    "errors": lambda nights: nights.errors(NIGHT, 10),
    "history": lambda nights: nights.history("LSSTCam", 3, 10),
    "timeline": lambda nights: nights.timeline(NIGHT),
    "latencies": lambda nights: nights.latencies(NIGHT, last=10),
    "in time": lambda nights: nights.in_time(NIGHT),
    "changes": lambda nights: nights.changed_since(30, 10),
    "freshness": lambda nights: nights.freshness(),
}


@contextmanager
def statements(nights: Nights) -> Iterator[list[tuple[str, object]]]:
    seen: list[tuple[str, object]] = []
    with nights._engine.connect():  # the check of the version is not part of a query
        nights.freshness()

    def note(_c: object, _k: object, statement: str, parameters: object, *_: object) -> None:
        seen.append((statement, parameters))

    event.listen(nights._engine, "before_cursor_execute", note)
    yield seen
    event.remove(nights._engine, "before_cursor_execute", note)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nights]:
    """Forty visits of four detectors, half of them with a problem."""
    path = tmp_path_factory.mktemp("many") / "night.db"
    store = NightStore(path)
    for number in range(40):
        visits = [a_visit(number, detector, START + 60 * number) for detector in range(4)]
        states = (Status.PROCESSED, Status.FAILED) * 2
        store.write(
            [
                ended(one, status=status, at=START + 60 * number)
                for one, status in zip(visits, states, strict=True)
            ],
            {},
        )
    store.close()
    with Nights(path) as nights:
        yield nights


@pytest.mark.parametrize("name", QUERIES)
def test_query_is_one_statement_that_scans_no_table(many: Nights, name: str) -> None:
    with statements(many) as seen:
        QUERIES[name](many)
    ((statement, parameters),) = seen
    with many._engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
    scans = [row.detail for row in plan if re.match(r"SCAN (visits|detectors|minutes)", row.detail)]
    # In the order of an index, a scan ends at the limit.
    assert [one for one in scans if "USING INDEX" not in one] == []
    assert not [row.detail for row in plan if "TEMP B-TREE" in row.detail and name != "detectors"]


@pytest.mark.parametrize("name", QUERIES)
def test_query_reads_no_more_rows_than_its_limit(many: Nights, name: str) -> None:
    rows = 0

    def count(query: object) -> list[object]:
        nonlocal rows
        found = original(query)
        rows += len(found)
        return found

    original = many._rows  # type: ignore[assignment]
    many._rows = count  # type: ignore[assignment, method-assign]
    try:
        QUERIES[name](many)
    finally:
        del many._rows  # type: ignore[method-assign]
    assert rows <= {"timeline": 40, "freshness": 4}.get(name, 11)


def test_hostile_texts_are_kept_as_texts_and_short(store: NightStore, nights: Nights) -> None:
    visit = a_visit(groupId=HOSTILE[:60].replace("\ud800", ""), filters=HOSTILE, survey=HOSTILE)
    message = ended(visit, status=Status.FAILED, reason=HOSTILE + "x" * 10_000_000)
    data = message.encode()
    assert len(data) < 10_000
    store.write([OutcomeMessage.parse(data)], {})
    (problem,) = nights.errors(NIGHT).rows
    assert problem.reason.startswith("<script>alert(1)</script>'\"; DROP TABLE visits")
    assert len(problem.reason) == 1000
    assert not re.search("[\x00-\x1f\ud800-\udfff]", problem.reason)
    assert nights.detectors(problem.group) == [problem]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[" * 60_000,
        b"\xff\xfe",
        b'{"type": "visit-outcome", "version": 2}',
        b"x" * (LARGEST_MESSAGE + 1),
    ],
)
def test_what_is_no_message_is_refused_without_repeating_it(data: bytes) -> None:
    with pytest.raises(MalformedMessageError) as caught:
        OutcomeMessage.parse(data)
    assert len(caught.value.reason) < 1000


def test_message_with_too_many_numbers_still_fits() -> None:
    visit = a_visit()
    metrics = {f"task{'x' * 90}{number}": 1.0 for number in range(5000)} | {"nan": float("nan")}
    message = OutcomeMessage.of_visit(
        "ended", START, visit, (1,), metrics=metrics, counts=metrics, tasks=metrics
    )
    parsed = OutcomeMessage.parse(message.encode())
    assert len(parsed.metrics) <= 150


def test_numbers_that_no_database_holds_are_left_out() -> None:
    visit = a_visit()
    numbers = {
        "inf": float("inf"),
        "nan": float("nan"),
        "large": 10**400,
        "text": "1",
        "good": 2.5,
        "true": True,
    }
    message = OutcomeMessage.of_visit("ended", START, visit, (1,), counts=numbers)
    assert dict(message.counts) == {"good": 2.5, "true": 1}


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5
)


@given(changes=st.dictionaries(st.sampled_from(sorted(OutcomeMessage.model_fields)), VALUES, max_size=4))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_message_with_any_values_is_refused_or_kept(
    store: NightStore, nights: Nights, changes: dict[str, object]
) -> None:
    whole = ended(a_visit()).model_dump(mode="json") | changes
    try:
        message = OutcomeMessage.parse(json.dumps(whole).encode())
    except MalformedMessageError:
        return
    store.write([OutcomeMessage.parse(message.encode())], {})
    for detector in message.detectors:
        assert nights.outcome(message.group, detector, instrument=message.instrument) is not None
    nights.visits(message.night)
    nights.latencies(message.night)


def test_missing_database_is_reported_and_not_made(tmp_path: Path) -> None:
    with Nights(tmp_path / "none.db") as nights, pytest.raises(NightsUnavailableError):
        nights.nights()
    assert list(tmp_path.iterdir()) == []


def test_database_that_appears_later_is_read(database: Path) -> None:
    with Nights(database) as nights:
        with pytest.raises(NightsUnavailableError):
            nights.freshness()
        NightStore(database).close()
        assert nights.freshness().cursor == 0


def test_pages_cannot_write(nights: Nights) -> None:
    with nights._engine.connect() as connection, pytest.raises(SQLAlchemyError, match=r"readonly|read-only"):
        connection.exec_driver_sql("DELETE FROM visits")


def test_last_nights_of_a_detector_are_bounded_in_nights_and_visits(
    store: NightStore, nights: Nights
) -> None:
    day = 86_400.0
    for number in range(40):
        at = START + number * day
        for again in range(3):
            visit = a_visit(1, announced=at + 40 * again, groupId=f"g{number}-{again:02d}")
            store.write([ended(visit, at=at + 40 * again + 40)], {})
    newest = nights.nights().rows[0].night
    found = nights.nights_of_detector("LSSTCam", 94, newest, n_nights=30, per_night=2)
    assert len(found) == 60
    assert len({one.night for one in found}) == 30
    assert max(one.night for one in found) == newest
    # Of each night, its last visits.
    assert {one.group[-2:] for one in found} == {"01", "02"}
    assert nights.nights_of_detector("LSSTCam", 95, newest) == []
    assert nights.nights_of_detector("HSC", 94, newest) == []
