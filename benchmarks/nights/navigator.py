"""The navigator in a browser: plots of a large collection, a large image, sessions that come and go."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import batched
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import psutil
from lsst.daf.butler import Butler, DataCoordinate, DatasetRef, DatasetType, FileDataset
from matplotlib.figure import Figure
from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

from prompt_processing.butler.types import use_butler_types
from prompt_processing.images import Exposure, PhotoCalib, Psf, VisitInfo
from prompt_processing.images.fits import write_exposure
from prompt_processing.images.layout.sections import ImageSections
from prompt_processing.navigator.detector.pixels import ArrayCache, Region, TiledImage
from prompt_processing.services.service import free_port
from prompt_processing.services.software import Software

from .database import N_DETECTORS

__all__ = ["Measured", "make_plots", "measure_navigator", "time_tiles"]

INSTRUMENT = "LSSTCam"
COLLECTION = "LSSTCam/plots"
_KIND = "kernel_plot"
_N_DETECTORS = 100
_VISITS_AT_ONCE = 20
_SIDE = 4000
_SESSIONS = 20
_N_VISITS = 10
_LOOK_S = 0.3
_EXPIRED_S = 80.0
"""Time after which the server has forgotten a session: 60 s, and the turn of its check."""


@dataclass
class Measured:
    """Times of pages, and the memory of the server.

    Attributes
    ----------
    seconds
        By name.
    processor
        Seconds of the server's processor, by page.
    browser
        What Chromium counted of each opening of a page, seconds by name, by page.
    memory_before, memory_after
        Bytes.
    """

    seconds: dict[str, list[float]] = field(default_factory=dict)
    processor: dict[str, list[float]] = field(default_factory=dict)
    browser: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    memory_before: int = 0
    memory_after: int = 0


def make_plots(folder: Path, n_plots: int) -> Path:
    """Make a repository whose one collection has this many plots, all of one file."""
    use_butler_types()
    repo = folder / "repo"
    Butler.makeRepo(repo)
    picture = folder / "plot.png"
    figure = Figure(figsize=(5, 4))
    figure.subplots().plot(np.random.default_rng(1).normal(size=500), ".")
    figure.savefig(picture)
    visits = [2026010100001 + number for number in range(n_plots // _N_DETECTORS)]
    with Butler.from_config(repo, writeable=True) as butler:
        insert = butler.registry.insertDimensionData
        one = {"instrument": INSTRUMENT}
        insert(
            "instrument", {"name": INSTRUMENT, "visit_max": 2**62, "exposure_max": 2**62, "detector_max": 256}
        )
        insert("physical_filter", {**one, "name": "r_57", "band": "r"})
        insert("day_obs", {**one, "id": 20260101})
        insert("detector", *({**one, "id": n, "full_name": f"D{n}"} for n in range(_N_DETECTORS)))
        insert(
            "visit",
            *(
                {**one, "id": v, "name": str(v), "physical_filter": "r_57", "day_obs": 20260101}
                for v in visits
            ),
        )
        kind = DatasetType(_KIND, ("instrument", "visit", "detector"), "Plot", universe=butler.dimensions)
        butler.registry.registerDatasetType(kind)
        butler.collections.register(COLLECTION)
        for some in batched(visits, _VISITS_AT_ONCE):
            # Expanded data IDs would be asked of the database one by one.
            places = (
                DataCoordinate.standardize({**one, "visit": visit, "detector": n}, dimensions=kind.dimensions)
                for visit in some
                for n in range(_N_DETECTORS)
            )
            refs = [DatasetRef(kind, place, run=COLLECTION) for place in places]
            butler.ingest(
                FileDataset(path=str(picture), refs=refs), transfer="direct", record_validation_info=False
            )
    return repo


def time_tiles(folder: Path) -> dict[str, list[float]]:
    """Return the seconds of the first tile of a 16 Mpix image at full resolution, and of pans beside it."""
    shape = (_SIDE, _SIDE)
    rng = np.random.default_rng(1)
    image = rng.normal(1000, 30, shape).astype(np.float32)
    psf = Psf(rng.random((3, 11, 11)).astype(np.float32), 1, 50.0, 60.0, 60.0)
    info = VisitInfo(INSTRUMENT, 2026010100001, 94, "r_57", "r", 60835.25, 30.0, 53.0, -28.0, 12.0)
    path = folder / "image.fits"
    write_exposure(
        path,
        Exposure(
            image,
            np.zeros(shape, np.int32),
            np.full(shape, 900, np.float32),
            None,
            psf,
            PhotoCalib(1.0, 0.001),
            info,
        ),
    )
    found: dict[str, list[float]] = {"first tile": [], "pan": []}
    for _ in range(10):
        opened = TiledImage("i", ImageSections(lambda: path.open("rb")), ArrayCache(400_000_000))
        begin = time.perf_counter()
        opened.tile(Region(1800, 2200, 1800, 2200), 400)
        found["first tile"].append(time.perf_counter() - begin)
        for step in range(4):
            begin = time.perf_counter()
            opened.tile(Region(1800 + 100 * step, 2200 + 100 * step, 1800, 2200), 400)
            found["pan"].append(time.perf_counter() - begin)
    return found


def measure_navigator(nights: Path, night: int, visit: int, repo: Path, n_repeats: int = 20) -> Measured:
    """Open pages in a browser.

    Parameters
    ----------
    nights
        The database of nights.
    night, visit
        What the pages show: the visit, and some that follow it.
    repo
        Repository of `make_plots`.
    n_repeats
        Number of times that each page is opened.
    """
    measured = Measured()
    chromium = Software().chromium()
    with _serving(nights, repo) as (url, process), sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium.path, args=["--no-sandbox"], env={**os.environ, **chromium.environment}
        )
        begin = time.perf_counter()
        page = _opened(browser, f"{url}/nights?night={night}")
        # A page may be complete before its first paint is recorded.
        while not page.evaluate(_IS_PAINTED):
            time.sleep(0.01)
        _note(measured, "cold first paint", page.evaluate(_PAINT) / 1000)
        _note(measured, "cold page", time.perf_counter() - begin)
        debugger = page.context.new_cdp_session(page)
        debugger.send("Performance.enable")
        day = f"{night // 10_000}-{night // 100 % 100:02d}-{night % 100:02d}"
        for number in range(n_repeats + 1):
            shown = visit + number % _N_VISITS
            for name, address, parts in (
                ("night page", f"nights?night={night}", (day, "#region-visits tbody tr", _N_VISITS)),
                ("visit page", f"visit?visit={shown}", (str(shown), ".plane path", N_DETECTORS)),
            ):
                before = _costs(debugger)
                begin, used = time.perf_counter(), _processor(process)
                seen = _go(page, f"{url}/{address}", parts)
                if number:
                    measured.processor.setdefault(name, []).append(_processor(process) - used)
                    measured.browser.setdefault(name, []).append(_since(before, _costs(debugger)))
                    _note(measured, name, seen)
                    _note(measured, f"{name}, complete", time.perf_counter() - begin)
        _go(page, f"{url}/collections?collection={COLLECTION}&plot={_KIND}")
        page.locator("figure img").wait_for()
        for number in range(n_repeats + 1):
            used = _processor(process)
            seen = float(page.evaluate(_NEXT))
            if number:
                measured.processor.setdefault("next plot", []).append(_processor(process) - used)
                _note(measured, "next plot", seen)
            # Somebody looks at it.
            time.sleep(_LOOK_S)
        page.close()
        time.sleep(_EXPIRED_S)
        measured.memory_before = process.memory_info().rss
        for _ in range(_SESSIONS):
            _opened(browser, f"{url}/collections?collection={COLLECTION}&plot={_KIND}").close()
        time.sleep(_EXPIRED_S)
        measured.memory_after = process.memory_info().rss
        browser.close()
    return measured


_SEEN = """([words, parts, number]) => new Promise((done) => {
  const drawn = (one) => { const box = one.getBoundingClientRect(); return box.width > 0 && box.height > 0; };
  function look() {
    const heading = document.querySelector("h1")?.textContent ?? "";
    const found = [...document.querySelectorAll(parts)];
    if (heading.includes(words) && found.length >= number && found.every(drawn)) {
      // The frame that has them has been painted when the next task runs.
      requestAnimationFrame(() => setTimeout(() => done(performance.now() / 1000)));
    } else setTimeout(look, 5);
  }
  look();
})"""
"""Seconds from the request until the heading and all parts of a view are in their places and painted."""
_NEXT = """() => new Promise((done) => {
  const find = (root) => root.querySelector("h1") ? root
    : [...root.querySelectorAll("*")].map((one) => one.shadowRoot && find(one.shadowRoot)).find(Boolean);
  const heading = find(document);
  const picture = (root) => root.querySelector("figure img")
    ?? [...root.querySelectorAll("*")].map((one) => one.shadowRoot && picture(one.shadowRoot)).find(Boolean);
  const before = heading.querySelector("h1").textContent;
  const begin = performance.now();
  function look() {
    if (heading.querySelector("h1").textContent !== before && picture(document)?.naturalWidth > 0) {
      requestAnimationFrame(() => setTimeout(() => done((performance.now() - begin) / 1000)));
    } else requestAnimationFrame(look);
  }
  window.dispatchEvent(new KeyboardEvent("keydown", { key: "n", cancelable: true }));
  look();
})"""
"""Seconds from the key until the next heading and its picture are painted."""
_COMPLETE = (
    "() => document.readyState === 'complete' && (document.getElementById('view') !== null || "
    "!document.getElementById('preview') && !!window.Bokeh?.documents?.[0]?.is_idle)"
)
_COSTS = ("ScriptDuration", "LayoutDuration", "RecalcStyleDuration", "TaskDuration")
"""What Chromium counts of a page, seconds."""
_IS_PAINTED = "() => performance.getEntriesByName('first-contentful-paint').length > 0"
_PAINT = "() => performance.getEntriesByName('first-contentful-paint')[0].startTime"


def _processor(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _costs(debugger: CDPSession) -> dict[str, float]:
    found = debugger.send("Performance.getMetrics")["metrics"]
    return {one["name"]: one["value"] for one in found if one["name"] in _COSTS}


def _since(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    # Chromium begins at zero where it opens a page in another process.
    return {name: value - before[name] if value >= before[name] else value for name, value in after.items()}


def _note(measured: Measured, name: str, seconds: float) -> None:
    measured.seconds.setdefault(name, []).append(seconds)


def _opened(browser: Browser, address: str) -> Page:
    page = browser.new_page()
    page.set_default_timeout(120_000)
    _go(page, address)
    return page


def _go(page: Page, address: str, parts: tuple[str, str, int] = ("", "h1", 1)) -> float:
    """Open an address, wait until all of it works, and return the time until its content was painted.

    Parameters
    ----------
    parts
        Words of the heading; selector of what the view is about, and its number.
    """
    page.goto(address, wait_until="commit")
    seen = float(page.evaluate(_SEEN, list(parts))) if parts[0] else 0.0
    # The page forbids eval, which Playwright's wait_for_function needs.
    while not page.evaluate(_COMPLETE):
        time.sleep(0.01)
    return seen


@contextmanager
def _serving(nights: Path, repo: Path) -> Iterator[tuple[str, psutil.Process]]:
    port = free_port()
    command = [sys.executable, "-m", "prompt_processing", "navigator", "--nights", str(nights)]
    process = subprocess.Popen(
        [*command, "--repo", str(repo), "--port", str(port)], stdout=subprocess.DEVNULL
    )
    try:
        while True:
            try:
                urlopen(f"http://localhost:{port}/health/live", timeout=30).close()
                break
            except URLError as error:
                if process.poll() is not None:
                    raise RuntimeError("The navigator did not start.") from error
                time.sleep(0.3)
        yield f"http://localhost:{port}", psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)
