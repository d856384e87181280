"""The page of the board: its content, its headers, and what it does without a database."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from night_messages import START, a_visit, announced, began, ended

from prompt_processing.board import serve
from prompt_processing.board.app import _Views, make_app
from prompt_processing.board.snapshot import Choice, Snapshot, SnapshotReader
from prompt_processing.board.view import ELEMENTS
from prompt_processing.domain.outcome import Status
from prompt_processing.instruments.camera import load_camera
from prompt_processing.nights.reading import Nights
from prompt_processing.nights.store import NightStore

HOSTILE = "<img src=x onerror=alert(1)> %{x} </script><a href='javascript:1'>"


class Clock:
    """A clock that moves when a test says so."""

    def __init__(self) -> None:
        self.time = START + 60

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "night.db"


@pytest.fixture
def store(database: Path, clock: Clock) -> Iterator[NightStore]:
    opened = NightStore(database, clock)
    yield opened
    opened.close()


@pytest.fixture
def nights(database: Path, clock: Clock) -> Iterator[Nights]:
    with Nights(database, now=clock) as opened:
        yield opened


@pytest.fixture
def client(nights: Nights, clock: Clock) -> FlaskClient:
    return make_app(nights, "/board", now=clock).test_client()


def view(client: FlaskClient, query: str = "") -> dict[str, Any]:
    answer = client.get(f"/board/_view{query}")
    assert answer.status_code == 200
    assert answer.json is not None
    names = [name for name, _ in ELEMENTS]
    return dict(zip(names, answer.json["content"], strict=True)) | {"current": answer.json["current"]}


def a_night(store: NightStore, reason: str = "No template.") -> None:
    visits = [a_visit(1, detector) for detector in (93, 94, 95)]
    failed = ended(visits[2], status=Status.FAILED, reason=reason)
    store.write([announced(visits[0], (92, 93, 94, 95)), began(visits[0]), ended(visits[1]), failed], {})


def test_view_shows_states_times_visits_and_failures(client: FlaskClient, store: NightStore) -> None:
    a_night(store)
    shown = view(client)
    text = json.dumps(shown)
    assert shown["heading"] == "LSSTCam 2026-05-31"
    assert "No template." in text
    assert "2026053100101" in text
    assert shown["notice"] is None
    figure = shown["focal-plane-0"]
    others, *of_states = figure["data"]
    # Those that the visit does not use are there, but empty.
    assert len(others["x"]) == len(load_camera("LSSTCam").detectors) - 4
    placed = {trace["name"]: len(trace["x"]) for trace in of_states}
    assert placed == {"waiting": 1, "processing": 1, "late": 0, "done": 1, "skipped": 0, "failed": 1}
    # R22_S11 is in the middle of the camera.
    (done,) = [trace for trace in of_states if trace["name"] == "done"]
    assert (done["x"], done["y"]) == ([0.0], [0.0])
    outstanding = next(line for line in shown["progress"]["data"] if line["name"] == "outstanding")
    assert outstanding["y"][-1] == 2


def test_each_state_has_a_symbol_of_its_own(client: FlaskClient, store: NightStore) -> None:
    a_night(store)
    symbols = [trace["marker"]["symbol"] for trace in view(client)["focal-plane-0"]["data"][1:]]
    assert len(set(symbols)) == len(symbols) == 6


def test_texts_of_messages_are_never_markup(client: FlaskClient, store: NightStore) -> None:
    a_night(store, HOSTILE)
    shown = view(client)
    hovers = [text for trace in shown["focal-plane-0"]["data"][1:] for text in trace["text"]]
    assert not [text for text in hovers if "<img" in text or "<a" in text or "%{" in text]
    # React shows a child that is a string as text.
    assert HOSTILE in json.dumps(shown["errors"])
    assert '"dangerouslySetInnerHTML"' not in json.dumps(shown)


def test_unknown_camera_is_shown_in_a_grid(client: FlaskClient, store: NightStore) -> None:
    store.write([announced(a_visit(instrument="../../etc"), (1, 2, 3, 4))], {})
    (waiting, *_) = view(client)["focal-plane-0"]["data"]
    assert len(set(zip(waiting["x"], waiting["y"], strict=True))) == 4


def test_view_that_a_browser_has_is_not_sent_again(client: FlaskClient, store: NightStore) -> None:
    a_night(store)
    first = client.get("/board/_view", headers={"Accept-Encoding": "gzip"})
    again = client.get("/board/_view", headers={"If-None-Match": first.headers["ETag"]})
    assert (first.headers["Content-Encoding"], again.status_code, again.data) == ("gzip", 304, b"")


def test_night_and_instrument_are_chosen_by_the_address(client: FlaskClient, store: NightStore) -> None:
    a_night(store)
    store.write([ended(a_visit(2, instrument="HSC", announced=START + 5 * 86400))], {})
    assert view(client)["heading"].startswith("HSC 2026-06-05")
    assert view(client, "?night=2026-05-31&instrument=LSSTCam")["heading"] == "LSSTCam 2026-05-31"
    assert view(client, "?night=2026-05-31'; DROP&instrument=" + "x" * 1000)["heading"].startswith("HSC")
    assert view(client, "?night=9999-99-99&instrument=%00")["current"]


def test_any_replica_serves_the_files_of_anothers_page(nights: Nights) -> None:
    replicas = [make_app(nights).test_client() for _ in range(2)]
    files = re.findall(r'(?:src|href)="(/[^"]+)"', replicas[0].get("/").text)
    assert len(files) > 5
    for name in files:
        with replicas[1].get(name) as answer:
            assert answer.status_code == 200, name


def test_page_allows_no_inline_script_eval_or_other_host(client: FlaskClient) -> None:
    page = client.get("/board/")
    policy = dict(part.split(" ", 1) for part in page.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert "unsafe" not in policy["script-src"]
    assert "http" not in " ".join(policy.values())
    assert "http://" not in page.text.replace("http://www.w3.org", "")
    assert page.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/board/_view", "/board/", "/board/_dash-update-component"])
def test_nothing_can_be_sent_to_the_board(client: FlaskClient, path: str) -> None:
    assert client.post(path, json={}).status_code == 405


@pytest.mark.parametrize(
    "path", ["../../etc/passwd", "dash/../../x", "no_such_library/x.js", "dash/no_such.js"]
)
def test_file_that_is_not_of_the_page_is_not_found(client: FlaskClient, path: str) -> None:
    assert client.get(f"/board/_dash-component-suites/{path}").status_code == 404


def test_without_database_the_page_is_up_and_recovers(
    client: FlaskClient, database: Path, clock: Clock
) -> None:
    assert client.get("/board/").status_code == 200
    assert client.get("/health/live").status_code == 200
    shown = view(client)
    assert not shown["current"]
    assert "cannot be read" in json.dumps(shown["notice"])
    ready = client.get("/health/ready")
    assert (ready.status_code, ready.json) == (200, {"live": True, "ready": True, "database": False})
    store = NightStore(database, clock)
    a_night(store)
    store.close()
    wait_for_the_next_reading(client)
    assert view(client)["heading"] == "LSSTCam 2026-05-31"


def wait_for_the_next_reading(client: FlaskClient) -> None:
    """Make the application forget when it asked last."""
    views = client.application.view_functions["answer"].__self__  # type: ignore[attr-defined]
    views._reader._monotonic = lambda: 1e12


def test_lost_database_is_named_with_the_time_of_the_data(nights: Nights, store: NightStore) -> None:
    a_night(store)
    ticks = iter(range(0, 1000, 100))
    reader = SnapshotReader(nights, now=lambda: START + 60, monotonic=lambda: float(next(ticks)))
    good = reader.read(Choice())
    nights._engine.dispose()
    store.close()
    path = Path(nights._engine.url.database.removeprefix("file://").partition("?")[0])  # type: ignore[union-attr]
    path.rename(path.with_suffix(".away"))
    lost = reader.read(Choice())
    assert "cannot be read" in lost.problem
    assert (lost.read, lost.visits) == (good.read, good.visits)
    path.with_suffix(".away").rename(path)
    assert reader.read(Choice()).problem == ""


def test_silent_projector_is_reported(client: FlaskClient, store: NightStore, clock: Clock) -> None:
    a_night(store)
    clock.time += 3600
    assert "No projector has looked" in json.dumps(view(client)["notice"])


def test_viewers_share_one_reading(
    nights: Nights, store: NightStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_night(store)
    reader = SnapshotReader(nights, now=lambda: START + 60, monotonic=lambda: 0.0)
    first = reader.read(Choice())
    monkeypatch.setattr(nights, "_rows", None)
    assert all(reader.read(Choice()) is first for _ in range(100))


def test_snapshots_of_many_choices_do_not_pile_up(nights: Nights, store: NightStore) -> None:
    a_night(store)
    reader = SnapshotReader(nights)
    for night in range(20200101, 20200131):
        reader.read(Choice(night))
    assert len(reader._kept) <= 16


def test_viewers_do_not_wait_for_the_one_who_reads(nights: Nights, store: NightStore) -> None:
    a_night(store)
    ticks = iter(range(0, 10_000, 3))
    reader = SnapshotReader(nights, now=lambda: START + 60, monotonic=lambda: float(next(ticks)))
    first = reader.read(Choice())
    with reader._lock:
        assert reader.read(Choice()) is first


def test_a_viewer_after_hours_waits_for_the_one_who_reads(
    nights: Nights, store: NightStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_night(store)
    monkeypatch.setattr("prompt_processing.board.snapshot._PATIENCE_S", 60.0)
    hours = iter(range(0, 100_000, 3600))
    reader = SnapshotReader(nights, now=lambda: START + 60, monotonic=lambda: float(next(hours)))
    old = reader.read(Choice())
    store.write([ended(a_visit(2, 93))], {})
    found: list[Snapshot] = []
    with reader._lock:
        other = threading.Thread(target=lambda: found.append(reader.read(Choice())))
        other.start()
        assert not found
    other.join(60)
    assert found[0].cursor != old.cursor


def test_detectors_of_an_unchanged_visit_are_not_read_again(
    nights: Nights, store: NightStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_night(store)
    clock = iter(range(0, 1000, 5))
    reader = SnapshotReader(nights, monotonic=lambda: next(clock))
    first = reader.read(Choice())
    asked: list[object] = []
    ask = nights.detectors

    def count(group: int | str, **given: Any) -> Any:
        asked.append(group)
        return ask(group, **given)

    monkeypatch.setattr(nights, "detectors", count)
    store.write([ended(a_visit(2, 93))], {})
    second = reader.read(Choice())
    assert asked == [second.visits[0].group]
    assert second.detectors[1] is first.detectors[0]
    store.write([ended(a_visit(1, 92))], {})
    assert reader.read(Choice()).detectors[1] != first.detectors[0]


def test_viewers_do_not_wait_for_the_one_who_draws(
    nights: Nights, store: NightStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_night(store)
    views = _Views(SnapshotReader(nights, clock, clock), clock)
    with Flask("board").test_request_context("/_view"):
        first = views.answer().get_data()
        clock.time += 5
        store.write([ended(a_visit(2, 93))], {})
        with views._making:
            assert views.answer().get_data() == first
        assert views.answer().get_data() != first


def test_a_restarted_process_shows_the_night_of_now(
    database: Path, store: NightStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    least = "prompt_processing.board.snapshot._LEAST_S"
    monkeypatch.setattr(least, -1.0)
    board = serve._Gunicorn(serve.BoardOptions(str(database), prefix="/board"))
    # The master makes the application once; each of its processes reads the night before it is ready.
    client = board.wsgi().test_client()
    for number in (1, 2):
        store.write([ended(a_visit(number))], {})
        worker = SimpleNamespace(app=board, readiness=socket.socketpair())
        serve._after_fork(worker)
        assert [one.fileno() for one in worker.readiness] == [-1, -1]
    store.close()
    database.unlink()
    monkeypatch.setattr(least, float("inf"))
    text = json.dumps(view(client)["visits"])
    assert "2026053100101" in text
    assert "2026053100102" in text
