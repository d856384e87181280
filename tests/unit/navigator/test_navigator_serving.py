"""Pages are sent in two parts, may be kept by browsers, and ask nothing while nobody looks."""

from __future__ import annotations

import asyncio
import re
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import panel as pn
import pytest
from bokeh.document import Document
from panel.io.state import set_curdoc

from prompt_processing.navigator import frame, page
from prompt_processing.navigator.app import make_server
from prompt_processing.navigator.collections.view import CollectionsView
from prompt_processing.navigator.live import while_watched
from prompt_processing.navigator.sources import Places, Sources
from prompt_processing.nights.reading import Nights
from prompt_processing.nights.records import Freshness
from prompt_processing.nights.store import NightStore

_DEADLINE_S = 120


async def answer_in_two_parts(places: Places, between: threading.Event) -> tuple[str, str]:
    """Return what a browser gets of a page before an event is set, and what it gets afterwards."""
    server = make_server(Sources(places), port=0, views=(CollectionsView,))
    server.start()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /collections HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        async with asyncio.timeout(_DEADLINE_S):
            first = await reader.readuntil(b"</template></div>")
            between.set()
            rest = await reader.read()
        writer.close()
    finally:
        between.set()
        server.stop()
    return first.decode(), rest.decode()


def test_content_is_sent_before_the_models_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = threading.Event()
    make_models = page._Frame.server_doc

    def wait(self: Any, *given: Any, **named: Any) -> Any:
        assert sent.wait(_DEADLINE_S)
        return make_models(self, *given, **named)

    monkeypatch.setattr(page._Frame, "server_doc", wait)
    first, rest = asyncio.run(answer_in_two_parts(Places(), sent))
    assert "--repo URI" in first
    assert "<!DOCTYPE html>" in first
    assert "<!DOCTYPE html>" not in rest
    assert 'id="live"' in rest
    assert rest.count("</html>") == 1
    (nonce,) = re.findall(r"script-src 'self' 'nonce-([^']+)'", first)
    inline = re.findall(r"<script(?![^>]*src=)[^>]*>", first + rest)
    assert inline
    assert all(f'nonce="{nonce}"' in tag for tag in inline)


def test_address_of_a_script_changes_with_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame, "STATIC_FOLDER", tmp_path)
    address = frame.script_address.__wrapped__
    (tmp_path / "one.js").write_text("1")
    before = address("one.js")
    (tmp_path / "one.js").write_text("2")
    assert before.startswith("assets/one.js?v=")
    assert address("one.js") != before


def test_page_that_nobody_has_open_is_not_refreshed(monkeypatch: pytest.MonkeyPatch) -> None:
    session = SimpleNamespace(connection_count=0)
    context = SimpleNamespace(session=session)
    document = Document()
    document._session_context = lambda: context
    calls: list[str] = []
    given: list[Any] = []
    monkeypatch.setattr(type(pn.state), "add_periodic_callback", lambda *one: given.append(one[1]))
    with set_curdoc(document):
        while_watched(lambda: calls.append("call"), 1000)
    given[0]()
    assert not calls
    session.connection_count = 1
    given[0]()
    assert calls == ["call"]


def test_sessions_share_the_age_of_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "nights.db"
    NightStore(path).close()
    asked: list[Nights] = []
    ask = Nights.freshness

    def count(self: Nights) -> Freshness:
        asked.append(self)
        return ask(self)

    monkeypatch.setattr(Nights, "freshness", count)
    monkeypatch.setattr("prompt_processing.navigator.sources._FRESH_S", float("inf"))
    sources = Sources(Places(nights=f"sqlite:///{path}"))
    assert sources.freshness() == sources.freshness()
    assert len(asked) == 1


def test_database_of_nights_is_open_while_another_page_reads_the_repository(tmp_path: Path) -> None:
    path = tmp_path / "nights.db"
    NightStore(path).close()
    sources = Sources(Places(repository=str(tmp_path), nights=f"sqlite:///{path}"))
    found: list[Nights] = []
    with sources._butler_lock:
        other = threading.Thread(target=lambda: found.append(sources.nights()))
        other.start()
        other.join(_DEADLINE_S)
    assert found
