"""The navigator in a real browser, under a prefix: every view, by keyboard, without external requests."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.request import urlopen

import pytest
from accessibility import barriers, width_of
from chromium import Heard, launch_chromium
from kept_night import DETECTORS, EVIL, OBJECT, VISITS, make_kept_night, source_id
from playwright.sync_api import Page, expect, sync_playwright

from prompt_processing.services.service import free_port

pytestmark = [pytest.mark.integration, pytest.mark.services, pytest.mark.usefixtures("warm_start")]

PREFIX = "/nav"


@dataclass(kw_only=True)
class Browser(Heard):
    """A page of a browser, and what it said and asked."""

    page: Page
    url: str

    def open(self, address: str) -> None:
        self.page.goto(f"{self.url}/{address}")
        deadline = time.monotonic() + 90
        # The page forbids eval, which Playwright's wait_for_function needs.
        works = "() => !!document.getElementById('view') || !!window.Bokeh?.documents?.[0]?.is_idle"
        while not self.page.evaluate(works):
            assert time.monotonic() < deadline, self.console
            time.sleep(0.05)

    def wait_for_address(self, pattern: str) -> None:
        expect(self.page).to_have_url(re.compile(pattern))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = make_kept_night(tmp_path_factory.mktemp("demo-output"))
    port = free_port()
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "prompt_processing",
                "navigator",
                str(folder),
                "--port",
                str(port),
                "--prefix",
                PREFIX,
            ],
            stdout=file,
            stderr=file,
        )
    url = f"http://localhost:{port}{PREFIX}"
    deadline = time.monotonic() + 120
    while True:
        try:
            urlopen(f"{url}/health/live", timeout=5).close()
            break
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.2)
    yield url
    process.terminate()
    assert process.wait(30) == 0, log.read_text()


@pytest.fixture(scope="module")
def browser(server: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = launch_chromium(playwright)
        page = chromium.new_page(viewport={"width": 1300, "height": 1000})
        page.set_default_timeout(60_000)
        expect.set_options(timeout=30_000)
        made = Browser(page=page, url=server)
        made.listen_to(page)
        yield made
        chromium.close()


@pytest.fixture(autouse=True)
def nothing_bad_happens(browser: Browser) -> Iterator[None]:
    browser.console.clear()
    browser.requests.clear()
    yield
    assert [one for one in browser.console if one.startswith("error")] == []
    allowed = (browser.url, browser.url.replace("http", "ws"), "data:", "blob:")
    assert [one for one in browser.requests if not one.startswith(allowed)] == []
    # Markup in reasons and bands was shown as text.
    assert browser.page.evaluate("() => window.evil") is None


def test_nights_lead_to_a_visit(browser: Browser) -> None:
    browser.open("")
    expect(browser.page.get_by_role("heading", level=1)).to_contain_text("2026-05-31")
    expect(browser.page.get_by_text("3 done, 1 failed")).to_be_visible()
    browser.page.get_by_role("link", name=str(VISITS[0])).click()
    browser.wait_for_address(rf"{PREFIX}/visit\?visit={VISITS[0]}")
    expect(browser.page.get_by_role("heading", level=1)).to_contain_text(str(VISITS[0]))


def test_visit_shows_states_and_reasons_and_follows_the_keys(browser: Browser) -> None:
    browser.open(f"visit?visit={VISITS[0]}")
    expect(browser.page.get_by_role("link", name="night 2026-05-31")).to_be_visible()
    browser.page.keyboard.press("m")
    browser.wait_for_address("metric=")
    browser.page.keyboard.press("p")
    expect(browser.page.get_by_text("There is no previous visit.")).to_be_visible()
    # The failed detector's visit has no exposure, and is known by its group.
    browser.page.keyboard.press("n")
    browser.wait_for_address("visit=2026")
    expect(browser.page.get_by_text("window.evil=1").first).to_be_visible()


def test_detector_is_moved_and_changed_by_keys(browser: Browser) -> None:
    browser.open(
        f"detector?visit={VISITS[0]}&detector={DETECTORS[0]}&source={source_id(VISITS[0], DETECTORS[0])}"
    )
    page = browser.page
    expect(page.get_by_text("preliminary_visit_image", exact=True)).to_be_visible()
    expect(page.get_by_text("0.98")).to_be_visible()
    page.mouse.move(250, 350)
    page.mouse.move(255, 355)
    expect(page.locator("#readout")).to_contain_text("difference")
    assert re.search(r"RA 5[23]\.\d+  Dec -2[78]\.\d+", page.locator("#readout").inner_text())
    page.keyboard.press("+")
    browser.wait_for_address("size=1")
    page.keyboard.press("b")
    browser.wait_for_address("mode=blink")
    page.keyboard.press("3")
    shown = "() => ['science','template','difference'].filter(r => window.promptModel('blink-' + r)?.visible)"
    deadline = time.monotonic() + 30
    while page.evaluate(shown) != ["difference"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    page.keyboard.press("j")
    browser.wait_for_address(f"detector={DETECTORS[1]}")
    expect(page.get_by_role("heading", level=1)).to_contain_text(f"detector {DETECTORS[1]}")
    # The address alone gives the same view again, and the browser's button the one before.
    page.go_back()
    browser.wait_for_address(f"detector={DETECTORS[0]}.*mode=blink")
    # Until the page has loaded again, a question to it may have no answer.
    expect(page.get_by_role("heading", level=1)).to_contain_text(f"detector {DETECTORS[0]}")


def test_missing_images_come_with_the_reason(browser: Browser) -> None:
    browser.open(f"detector?visit={VISITS[1]}&detector={DETECTORS[1]}")
    expect(browser.page.get_by_text("no difference_image.")).to_be_visible()


def test_object_shows_its_epochs_and_saves_a_table(browser: Browser) -> None:
    browser.open(f"object?object={OBJECT}")
    page = browser.page
    expect(page.get_by_role("heading", level=1)).to_contain_text(str(OBJECT))
    expect(page.locator("figure img")).to_have_count(6)
    # Ids of 64 bits are whole.
    expect(page.get_by_role("link", name=str(source_id(VISITS[1], DETECTORS[0])))).to_be_visible()
    with page.expect_download() as download:
        page.get_by_text("CSV", exact=True).click()
    assert str(source_id(VISITS[0], DETECTORS[0])) in download.value.path().read_text()


VIEWS = (
    "nights",
    f"visit?visit={VISITS[0]}",
    f"detector?visit={VISITS[0]}&detector={DETECTORS[0]}&source={source_id(VISITS[0], DETECTORS[0])}",
    f"object?object={OBJECT}",
    "collections",
)


@pytest.mark.parametrize("address", VIEWS)
def test_view_has_no_barriers_and_fits_a_narrow_screen(browser: Browser, address: str) -> None:
    browser.open(address)
    expect(browser.page.get_by_role("heading", level=1)).to_be_visible()
    assert barriers(browser.page) == []
    assert width_of(browser.page, 400) <= 400
    browser.page.set_viewport_size({"width": 1300, "height": 1000})


def test_wrong_address_is_explained(browser: Browser) -> None:
    browser.open("object?object=1&radius=<b>x</b>&band=" + EVIL[:40].replace("<", "%3C"))
    expect(browser.page.get_by_text("The address has radius=<b>x</b>, but expects a number.")).to_be_visible()


def test_page_allows_neither_foreign_scripts_nor_frames(server: str) -> None:
    with urlopen(f"{server}/nights", timeout=60) as answer:
        policy = answer.headers["Content-Security-Policy"]
        body = answer.read().decode()
    assert "script-src 'self' 'nonce-" in policy
    assert "unsafe-eval" not in policy
    assert "frame-ancestors 'none'" in policy
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", body)
