"""Every view in a real browser, over the edge: certificate, login, prefix and websockets."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pytest
from chromium import Heard, launch_chromium
from kept_night import DETECTORS, OBJECT, VISITS, make_kept_night, source_id
from playwright.sync_api import Page, expect, sync_playwright
from real_services import required

from prompt_processing.edge import Edge, Pages
from prompt_processing.services.service import free_port
from prompt_processing.services.software import Software

pytestmark = [pytest.mark.integration, pytest.mark.services, pytest.mark.usefixtures("warm_start")]

VIEWS = {
    "/": "2026-05-31",
    "/navigator/": "2026-05-31",
    f"/navigator/visit?visit={VISITS[0]}": str(VISITS[0]),
    f"/navigator/detector?visit={VISITS[0]}&detector={DETECTORS[0]}"
    f"&source={source_id(VISITS[0], DETECTORS[0])}": str(VISITS[0]),
    f"/navigator/object?object={OBJECT}": str(OBJECT),
    "/navigator/collections": "",
}
"""A path, and what its heading has."""


@dataclass(kw_only=True)
class Person(Heard):
    """A page of a browser, and what it said and asked."""

    page: Page
    url: str


def serve(stack: ExitStack, command: list[str], log: Path, ready: str) -> None:
    """Start a page's server, and wait until it responds."""
    file = stack.enter_context(log.open("wb"))
    process = stack.enter_context(
        subprocess.Popen([sys.executable, "-m", "prompt_processing", *command], stdout=file, stderr=file)
    )
    stack.callback(process.terminate)
    deadline = time.monotonic() + 180
    while True:
        try:
            urlopen(ready, timeout=5).close()
            return
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    folder = tmp_path_factory.mktemp("edge")
    required("the edge", Software().install_edge)
    night = make_kept_night(folder / "night")
    public, board, navigator = free_port(), free_port(), free_port()
    with ExitStack() as stack:
        here = f"http://127.0.0.1:{board}/health/ready"
        serve(stack, ["board", str(night), "--port", str(board)], folder / "board.log", here)
        words = ["navigator", str(night), "--port", str(navigator), "--prefix", "/navigator"]
        words += ["--origin", f"localhost:{public}"]
        serve(stack, words, folder / "nav.log", f"http://127.0.0.1:{navigator}/navigator/health/live")
        pages = Pages(board=f"127.0.0.1:{board}", navigator=f"127.0.0.1:{navigator}")
        yield stack.enter_context(Edge(folder / "edge", pages, port=public))


@pytest.fixture(scope="module")
def scientist(edge: Edge) -> Iterator[Person]:
    with sync_playwright() as playwright:
        chromium = launch_chromium(playwright)
        context = chromium.new_context(ignore_https_errors=True, viewport={"width": 1300, "height": 900})
        page = context.new_page()
        page.set_default_timeout(90_000)
        expect.set_options(timeout=90_000)
        made = Person(page=page, url=edge.url)
        page.goto(f"{edge.url}/navigator/")
        page.locator("input[name=sub]").fill("scientist")
        page.locator("input[name=sub]").press("Enter")
        page.wait_for_url(f"{edge.url}/navigator/")
        made.listen_to(page)
        yield made
        chromium.close()


@pytest.mark.parametrize("path", VIEWS)
def test_view_is_shown_over_the_edge(path: str, scientist: Person) -> None:
    scientist.console.clear()
    scientist.requests.clear()
    scientist.page.goto(scientist.url + path)
    heading = scientist.page.get_by_role("heading").first
    expect(heading).to_contain_text(VIEWS[path])
    # Views with models are complete when their session has answered, over a websocket.
    idle = "() => !window.Bokeh || !!window.Bokeh.documents?.[0]?.is_idle"
    deadline = time.monotonic() + 90
    while not scientist.page.evaluate(idle):
        assert time.monotonic() < deadline, scientist.console
        time.sleep(0.05)
    assert [one for one in scientist.console if one.startswith("error")] == []
    ours = (scientist.url, scientist.url.replace("https", "wss"), "data:", "blob:")
    assert [one for one in scientist.requests if not one.startswith(ours)] == []


def test_keys_lead_on_over_the_edge(scientist: Person) -> None:
    scientist.page.goto(f"{scientist.url}/navigator/visit?visit={VISITS[0]}")
    expect(scientist.page.get_by_role("link", name="night 2026-05-31")).to_be_visible()
    scientist.page.keyboard.press("m")
    expect(scientist.page).to_have_url(re.compile("metric="))
    scientist.page.keyboard.press("n")
    expect(scientist.page).to_have_url(re.compile(rf"visit=(?!{VISITS[0]})"))
