"""The board in a real browser, from an outcome's file to what a viewer sees."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pytest
from accessibility import barriers, width_of
from chromium import Heard, launch_chromium
from night_messages import a_visit, announced, began, ended
from playwright.sync_api import Page, expect, sync_playwright

from prompt_processing.domain.outcome import Status
from prompt_processing.instruments.camera import load_camera
from prompt_processing.nights.projector import project_folder
from prompt_processing.nights.publishing import FolderSink
from prompt_processing.services.service import free_port

pytestmark = [pytest.mark.integration, pytest.mark.services, pytest.mark.usefixtures("warm_start")]

HOSTILE = "<img src=x onerror=alert(1)> & \"'</script>"


@dataclass
class Board:
    """A running board, and the folder that workers publish to."""

    url: str
    folder: Path
    sink: FolderSink
    process: subprocess.Popen[bytes]


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    folder = tmp_path_factory.mktemp("demo-output")
    sink = FolderSink(folder / "outcomes")
    now = time.time()
    visits = [a_visit(1, detector, now - 60) for detector in range(189)]
    sink.send(announced(visits[0], tuple(range(189))))
    for visit in visits[:180]:
        sink.send(ended(visit, at=now - 20))
    sink.send(ended(visits[181], at=now - 15, status=Status.FAILED, reason=HOSTILE))
    sink.send(began(visits[182], at=now - 50))
    project_folder(folder / "outcomes", folder / "night.db")
    port = free_port()
    command = [sys.executable, "-m", "prompt_processing", "board", str(folder), "--prefix", "/board"]
    process = subprocess.Popen([*command, "--port", str(port)])
    url = f"http://127.0.0.1:{port}/board/"
    deadline = time.monotonic() + 60
    while True:
        try:
            urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=5).close()
            break
        except OSError:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
    yield Board(url, folder, sink, process)
    process.terminate()
    assert process.wait(30) == 0


@pytest.fixture(scope="module")
def page(board: Board) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = launch_chromium(playwright)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(60_000)
        yield page
        browser.close()


@pytest.fixture(scope="module")
def heard(page: Page, board: Board) -> Heard:
    heard = Heard()
    heard.listen_to(page)
    page.goto(board.url)
    expect(page.locator("#tiles .tile.done dd")).to_have_text("180", timeout=60_000)
    return heard


def test_board_shows_a_focal_plane_and_asks_no_other_host(page: Page, heard: Heard, board: Board) -> None:
    expect(page.locator("#heading")).to_have_text(re.compile("LSSTCam"))
    for name in ("progress", "delay", "stages", "alerts", "focal-plane-0"):
        page.wait_for_selector(f"#{name} .main-svg", state="attached")
    in_camera = len(load_camera("LSSTCam").detectors)
    assert page.locator("#focal-plane-0 .points path").count() == in_camera
    expect(page.locator("#errors td.reason")).to_have_text(HOSTILE)
    assert page.locator("#errors img").count() == 0
    origin = board.url.removesuffix("board/")
    assert [url for url in heard.requests if not url.startswith((origin, "data:"))] == []
    assert heard.console == []


def test_new_outcome_is_seen_within_5_s(page: Page, heard: Heard, board: Board) -> None:
    board.sink.send(ended(a_visit(1, 182, time.time() - 60), at=time.time()))
    expect(page.locator("#tiles .tile.done dd")).to_have_text("181", timeout=5_000)
    assert heard.console == []


def test_keyboard_reaches_the_nights_and_the_lists(page: Page, heard: Heard) -> None:
    page.locator(".skip").focus()
    expect(page.locator(".skip")).to_be_in_viewport()
    reached = []
    for _ in range(4):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("() => document.activeElement.id || document.activeElement.textContent"))
    assert reached[0] == "newest night"
    assert reached[-2:] == ["visits", "errors"]


def test_board_has_no_barriers(page: Page, heard: Heard) -> None:
    assert barriers(page) == []


def test_nothing_is_wider_than_a_narrow_screen(page: Page, heard: Heard) -> None:
    assert width_of(page, 380) <= 380
    page.set_viewport_size({"width": 1400, "height": 1000})


def test_page_stays_while_the_server_is_away_and_recovers(page: Page, heard: Heard) -> None:
    status = page.locator("#status")
    page.route("**/_view*", lambda route: route.abort())
    expect(status).to_have_text(re.compile("does not answer since"), timeout=15_000)
    expect(page.locator("#tiles .tile.done dd")).to_have_text("181")
    page.unroute("**/_view*")
    expect(status).to_have_text(re.compile("up to date"), timeout=15_000)
