"""Nights and visits are HTML alone, of which a browser asks for what has changed."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlencode

import pytest
from kept_night import EVIL
from night_messages import START, a_visit, ended
from tornado.httpclient import AsyncHTTPClient, HTTPResponse

from prompt_processing.domain.outcome import Status
from prompt_processing.navigator.app import make_server
from prompt_processing.navigator.collections.view import CollectionsView
from prompt_processing.navigator.nights.night_view import NightState, NightView
from prompt_processing.navigator.nights.visit_view import VisitView
from prompt_processing.navigator.plain import Content, PlainView, Reader
from prompt_processing.navigator.sources import Places, Sources
from prompt_processing.nights.reading import Nights
from prompt_processing.nights.store import NightStore

VIEWS = (NightView, VisitView)
UNUSUAL = (
    "/nav/assets/%00",
    "/nav/assets/navigator.js%00",
    "/nav/assets/%FF",
    "/nav/assets/%C0%AE%C0%AE/",
    "/nav/assets/a%0D%0AX-Evil:%20b",
    "/nav/assets/" + "a" * 5000,
    "/nav/static/%00",
    "/nav/static/extensions/panel/%00",
    "/nav/components/%00",
    "/nav/nights%00",
    "/nav/parts/%00",
    "/nav/health/%00",
    "/%00",
    "/nav/assets/%zz",
    "/nav/assets/..%2f..%2fapp.py",
)


@pytest.fixture
def database(tmp_path: Path) -> str:
    path = tmp_path / "night.db"
    store = NightStore(path)
    later = START + 40
    failed = ended(a_visit(2, 95, later), status=Status.FAILED, reason=EVIL)
    store.write([ended(a_visit(1, 94)), ended(a_visit(2, 94, later)), failed], {})
    store.close()
    return f"sqlite:///{path}"


def visits(database: str) -> list[str]:
    """Return parameters of addresses that name the visits, newest first."""
    with Nights(database) as nights:
        return [urlencode({"visit": one.visit or one.group}) for one in nights.latest().rows]


def answers(
    places: Places, addresses: Sequence[str], headers: Mapping[str, str] | None = None
) -> list[HTTPResponse]:
    """Return what a server answers, redirects as they are."""

    async def ask() -> list[HTTPResponse]:
        server = make_server(Sources(places), port=0, prefix="/nav", views=(*VIEWS, CollectionsView))
        server.start()
        try:
            client = AsyncHTTPClient(force_instance=True)
            return [
                await client.fetch(
                    f"http://127.0.0.1:{server.port}{one}",
                    raise_error=False,
                    follow_redirects=False,
                    decompress_response=False,
                    headers=dict(headers or {}),
                )
                for one in addresses
            ]
        finally:
            server.stop()

    return asyncio.run(ask())


def test_a_page_is_whole_before_any_script_runs(database: str) -> None:
    second, first = visits(database)
    night, visit = answers(Places(nights=database), ("/nav/", f"/nav/visit?{second}"))
    assert [one.code for one in (night, visit)] == [200, 200]
    assert "Night 2026-05-31" in night.body.decode()
    assert f'href="visit?{first}&amp;' in night.body.decode()
    text = visit.body.decode()
    # In their places, by state, each with its reason and a link.
    assert text.count(f'href="detector?{second}') == 4
    assert "&lt;script&gt;window.evil=1" in text
    assert "<script>" not in text
    assert "bokeh" not in text


def test_a_browser_gets_only_what_is_new(database: str) -> None:
    address = f"/nav/parts/visit?{visits(database)[0]}"
    (first,) = answers(Places(nights=database), (address,))
    found = json.loads(first.body)
    assert {"heading", "fields", "figures", "detectors"} <= found["regions"].keys()
    (second,) = answers(Places(nights=database), (address,), {"X-Known": found["tag"]})
    again = json.loads(second.body)
    assert again["tag"] == found["tag"]
    assert "regions" not in again


def test_pages_are_packed_for_browsers_that_can_read_them(database: str) -> None:
    (packed,) = answers(Places(nights=database), ("/nav/nights",), {"Accept-Encoding": "gzip"})
    (plain,) = answers(Places(nights=database), ("/nav/nights",))
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Night 2026-05-31" in gzip.decompress(packed.body).decode()
    assert len(packed.body) < len(plain.body)
    for answer in (packed, plain):
        assert "unsafe-eval" not in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cache-Control"] == "no-store"


def test_prefix_without_a_slash_leads_to_the_first_page(database: str) -> None:
    (answer,) = answers(Places(nights=database), ("/nav?night=20260531",))
    assert answer.code == 302
    assert answer.headers["Location"] == "/nav/?night=20260531"


def test_no_page_has_an_unusual_path() -> None:
    found = answers(Places(), UNUSUAL)
    # Tornado itself refuses a path that leaves its folder.
    assert {one.code for one in found} <= {403, 404}
    assert all(b"Traceback" not in one.body for one in found)


def test_content_is_made_once_until_the_database_changes(database: str) -> None:
    made: list[NightState] = []

    class Counted(NightView):
        @staticmethod
        def content(sources: Sources, state: NightState) -> Content:
            made.append(state)
            return NightView.content(sources, state)

    reader = Reader(Sources(Places(nights=database)))
    first = reader.read(Counted, "night=20260531")
    assert reader.read(Counted, "night=20260531").content is first.content
    assert len(made) == 1
    store = NightStore(database)
    store.write([ended(a_visit(3, 94))], {})
    store.close()
    again = Reader(Sources(Places(nights=database))).read(Counted, "night=20260531")
    assert again.content.tag != first.content.tag


def test_content_that_is_kept_has_a_limit(database: str) -> None:
    reader = Reader(Sources(Places(nights=database)))
    for number in range(60):
        reader.read(NightView, f"filter={number}")
    assert len(reader._kept) <= 48


def test_keys_lead_to_neighbours(database: str) -> None:
    sources = Sources(Places(nights=database))
    second, first = visits(database)
    addresses = Reader(sources).read(VisitView, first).content.addresses
    assert second in addresses["n"]
    assert "p" not in addresses
    assert "metric=" in addresses["m"]
    assert NightView.content(sources, NightState()).addresses == {}


@pytest.mark.parametrize("view", VIEWS)
def test_wrong_parameters_are_explained(view: type[PlainView], database: str) -> None:
    reader = Reader(Sources(Places(nights=database)))
    long = reader.read(view, f"visit={'x' * 5000}&night={'9' * 40}&problems=2")
    assert long.messages
    assert all(len(one) < 600 for one in json.loads(long.as_json())["messages"])
