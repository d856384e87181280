"""The plots of collections in a real browser, behind an edge that names the user."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator

import plot_repository as world
import pytest
from chromium import launch_chromium
from lsst.daf.butler import Butler
from playwright.sync_api import Page, expect, sync_playwright

pytestmark = [pytest.mark.integration, pytest.mark.services, pytest.mark.usefixtures("warm_start")]

CAMERA = {"instrument": world.INSTRUMENT}
FIRST = f"visit {world.VISITS[2]}, detector 94"
SECOND = f"visit {world.VISITS[2]}, detector 95"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("navigator")
    repo = world.make_repository(folder / "repo")
    with Butler.from_config(repo, writeable=True) as butler:
        for run in ("u/a", "u/b"):
            for visit in world.VISITS:
                for detector in world.DETECTORS:
                    place = {**CAMERA, "visit": visit, "detector": detector}
                    world.put_plot(butler, "psf_plot", run, **place)
                    metrics = {
                        "all": [{"metric": "seeing", "value": 0.8 if run == "u/a" else 1.0, "unit": "arcsec"}]
                    }
                    world.put(butler, "quality", place, "MetricMeasurementBundle", metrics, run, **place)
        for detector in world.DETECTORS:
            world.put_plot(butler, "kernel_plot", "u/a", **CAMERA, visit=world.VISITS[2], detector=detector)
        world.put_plot(butler, "depth_plot", "u/a", skymap=world.SKYMAP, tract=7)
    command = [
        *(sys.executable, "-m", "prompt_processing", "navigator", "--repo", str(repo), "--port", "0"),
        *(
            "--prefix",
            "/navigator",
            "--remarks",
            str(folder / "remarks.db"),
            "--user-header",
            "X-Forwarded-User",
        ),
    ]
    with (folder / "log").open("w+") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.match(r"http://\S+", line)
            assert found, (folder / "log").read_text()
            yield found[0].rstrip("/")
        finally:
            process.terminate()
            process.communicate(timeout=20)


@pytest.fixture(scope="module")
def browser_page(address: str) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = launch_chromium(playwright)
        page = browser.new_page(extra_http_headers={"X-Forwarded-User": "ada"})
        page.set_default_timeout(30_000)
        expect.set_options(timeout=30_000)
        troubles: list[str] = []
        page.on("console", lambda one: troubles.append(one.text) if one.type == "error" else None)
        page.on("pageerror", lambda one: troubles.append(str(one)))
        page.on(
            "request",
            lambda one: (
                troubles.append(one.url)
                if one.url.startswith("http") and not one.url.startswith(address)
                else None
            ),
        )
        yield page
        browser.close()
        assert troubles == []


def test_a_plot_is_kept_from_place_to_place(address: str, browser_page: Page) -> None:
    page = browser_page
    page.goto(f"{address}/collections?collection=u/a")
    expect(page.locator("h1")).to_have_text(FIRST)
    expect(page.locator("figure")).to_have_count(2)
    page.get_by_role("link", name="kernel_plot").click()
    expect(page.locator("figure.large")).to_have_count(1)
    expect(page).to_have_url(re.compile("plot=kernel_plot"))
    page.keyboard.press("n")
    expect(page.locator("h1")).to_have_text(SECOND)
    expect(page.locator("figure figcaption")).to_have_text("kernel_plot")
    # No other place has this plot.
    page.keyboard.press("n")
    expect(page.get_by_text("There is no next place.")).to_be_visible()
    page.keyboard.press("g")
    expect(page.locator("figure")).to_have_count(2)


def test_a_key_shows_the_next_figure_before_the_server_answers(address: str, browser_page: Page) -> None:
    page = browser_page
    page.goto(f"{address}/collections?collection=u/a&plot=kernel_plot")
    expect(page.locator("h1")).to_have_text(FIRST)
    deadline = time.monotonic() + 60
    while not page.evaluate("() => !!window.promptModel?.('ahead')?.tags?.[0]?.n"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # Within one task of the browser nothing can have arrived.
    shown = page.locator("h1").evaluate(
        """(heading) => {
          const parent = heading.parentNode;
          window.dispatchEvent(new KeyboardEvent("keydown", { key: "n", cancelable: true }));
          return parent.querySelector("h1").textContent;
        }"""
    )
    assert shown == SECOND
    # The server has the key as well.
    expect(page).to_have_url(re.compile("place=.*detector%3D95"))
    expect(page.locator("h1")).to_have_text(SECOND)
    expect(page.locator("figure.large img")).to_have_count(1)


def test_two_collections_are_compared(address: str, browser_page: Page) -> None:
    page = browser_page
    page.goto(f"{address}/collections?collection=u/a&other=u/b")
    expect(page.locator(".pair img")).to_have_count(3)
    expect(page.locator(".absent")).to_have_text("not in u/b")
    page.keyboard.press("b")
    expect(page.locator(".blink img")).to_have_count(2)
    expect(page).to_have_url(re.compile("mode=blink"))
    page.keyboard.press("m")
    expect(page.locator("tbody tr")).to_have_text("quality: seeingarcsec0.810.2+25 %")
    page.goto(f"{address}/collections?collection=u/a&other=u/b&mode=only")
    expect(page.get_by_role("heading", name="Only in u/a: 1")).to_be_visible()
    expect(page.get_by_role("heading", name="Only in u/b: 0")).to_be_visible()


def test_tabs_and_names_choose_plots(address: str, browser_page: Page) -> None:
    page = browser_page
    page.goto(f"{address}/collections?collection=u/a&names=^KERNEL")
    expect(page.locator("figure figcaption")).to_have_text("kernel_plot")
    page.goto(f"{address}/collections?collection=u/a&tab=tract")
    expect(page.locator("figure figcaption")).to_have_text("depth_plot")
    page.goto(f"{address}/collections?collection=u/a&names=(a%2B)%2B(")
    expect(page.get_by_text("not a regular expression")).to_be_visible()
    expect(page.locator("figure")).to_have_count(2)
    page.goto(f"{address}/collections?repo=/etc&collection=u/a")
    expect(page.get_by_text("No repository '/etc' is known")).to_be_visible()


def test_a_remark_has_the_name_that_the_edge_gave(address: str, browser_page: Page) -> None:
    page = browser_page
    page.goto(f"{address}/collections?collection=u/a&plot=psf_plot")
    expect(page.get_by_role("heading", name="Remarks on psf_plot")).to_be_visible()
    page.keyboard.press("o")
    expect(page.locator(".badge")).to_contain_text("odd")
    page.get_by_placeholder("A sentence").fill("<b>stripes</b> & ghosts")
    page.keyboard.press("Enter")
    expect(page.locator("li").first).to_contain_text("<b>stripes</b> & ghosts ada")
    page.get_by_placeholder("A sentence").fill("also here")
    page.get_by_role("button", name="Add note").click()
    expect(page.locator("li").first).to_contain_text("also here ada")
    # Others see it in the grid.
    page.goto(f"{address}/collections?collection=u/a")
    expect(page.locator("figure", has_text="psf_plot").locator(".badge")).to_have_text(["⚠ odd", "✎ 2 notes"])
