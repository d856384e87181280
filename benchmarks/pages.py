"""Time the pages that show nights, on a database of 50 nights with 1000 visits of 189 detectors.

    python benchmarks/pages.py                     in about ten minutes
    python benchmarks/pages.py --viewers 50 --seconds 10 --plots 10000

First each query of a page by itself; then the board, while 200 viewers look, outcomes arrive every second and
the server restarts its processes once; then tiles of an image of 16 Mpix; then the navigator in Chromium,
with a collection of 100 000 plots, and its memory before and after 20 sessions.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import URLError
from urllib.request import urlopen

from nights.database import CADENCE_S, N_DETECTORS, fill, messages_of
from nights.navigator import make_plots, measure_navigator, time_tiles
from nights.viewers import view
from rich.console import Console
from rich.table import Table
from rich.text import Text

from prompt_processing.nights.reading import Nights
from prompt_processing.nights.store import NightStore
from prompt_processing.services.service import free_port

N_REPEATS = 40
LIMITS_S = {
    "night": 1.0,
    "visit": 0.5,
    "board": 0.5,
    "night page": 1.0,
    "visit page": 0.5,
    "next plot": 0.2,
    "first tile": 0.5,
    "pan": 0.15,
    "cold first paint": 5.0,
}
"""Targets: 95th percentiles. Those of pages are until their content is painted."""
LARGEST_GROWTH = 1.2
"""Target: memory after 20 more sessions were opened and closed, relative to that before."""


def percentile(values: list[float], share: float) -> float:
    """Return a percentile of values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def time_queries(path: Path, nights: list[int]) -> dict[str, list[float]]:
    """Return the seconds of the queries of each page."""
    visits = [night * 100_000 + 3 for night in nights]
    found: dict[str, list[float]] = {}
    with Nights(path) as database:
        pages: dict[str, Callable[[int], object]] = {
            "nights": lambda n: database.nights(50),
            "night": lambda n: (
                database.visits(nights[n % len(nights)], 200),
                database.timeline(nights[n % len(nights)]),
                database.latencies(nights[n % len(nights)]),
                database.errors(nights[n % len(nights)]),
            ),
            "visit": lambda n: (
                database.visit(visits[n % len(visits)]),
                database.detectors(visits[n % len(visits)]),
            ),
            "detector": lambda n: (
                database.outcome(visits[n % len(visits)], n % N_DETECTORS),
                database.history("LSSTCam", n % N_DETECTORS, 200),
            ),
        }
        for name, page in pages.items():
            page(0)
            for number in range(N_REPEATS):
                begin = time.perf_counter()
                page(number)
                found.setdefault(name, []).append(time.perf_counter() - begin)
    return found


@contextmanager
def board(path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Serve the board."""
    port = free_port()
    command = [sys.executable, "-m", "prompt_processing", "board", str(path), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                urlopen(f"{url}/_view", timeout=30).close()
                break
            except URLError as error:
                if process.poll() is not None:
                    raise RuntimeError("The board did not start.") from error
                time.sleep(0.3)
        yield f"{url}/_view", process
    finally:
        process.terminate()
        process.wait(30)


def observe(path: Path, stop: threading.Event) -> None:
    """Write the outcomes of a night that goes on: all detectors within the cadence."""
    store = NightStore(path)
    begin, number = time.time(), 0
    part = N_DETECTORS // CADENCE_S + 1
    while not stop.wait(1.0):
        seconds = time.time() - begin
        visit, second = divmod(int(seconds), CADENCE_S)
        announced = begin + CADENCE_S * visit
        ended = range(min(N_DETECTORS, second * part), min(N_DETECTORS, (second + 1) * part))
        store.write(list(messages_of(number, announced, time.time(), ended)), {})
        number += 1
    store.close()


def main() -> int:
    """Print the times; return 1 if a target is missed or a viewer got an error."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nights", type=int, default=50)
    parser.add_argument("--visits", type=int, default=1000)
    parser.add_argument("--viewers", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--plots", type=int, default=100_000)
    options = parser.parse_args()
    console = Console(highlight=False, width=110)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "nights.db"
        begin = time.monotonic()
        nights = fill(path, options.nights, options.visits)
        size = path.stat().st_size / 1e6
        console.print(
            f"{options.nights} nights, {options.visits} visits of {N_DETECTORS} detectors, {size:.0f} MB, "
            f"made in {time.monotonic() - begin:.0f} s"
        )
        seconds = time_queries(path, nights)
        stop = threading.Event()
        writer = threading.Thread(target=observe, args=(path, stop))
        with board(path) as (url, process):
            writer.start()
            restart = threading.Timer(options.seconds / 2, process.send_signal, [signal.SIGHUP])
            restart.start()
            viewing = view(url, options.viewers, options.seconds)
            stop.set()
            writer.join()
        seconds["board"] = viewing.seconds
        seconds |= time_tiles(Path(folder))
        begin = time.monotonic()
        repo = make_plots(Path(folder), options.plots)
        console.print(f"{options.plots} plots, made in {time.monotonic() - begin:.0f} s")
        navigator = measure_navigator(path, nights[0], nights[0] * 100_000 + 3, repo)
        seconds |= navigator.seconds
    heads = ("what", "n", "50 % [ms]", "95 % [ms]", "largest [ms]", "target [ms]")
    table = Table(box=None)
    for head in heads:
        # As Text, because brackets are markup otherwise.
        table.add_column(Text(head))
    missed = bool(viewing.errors)
    for name, values in seconds.items():
        limit = LIMITS_S.get(name)
        missed |= limit is not None and percentile(values, 0.95) > limit
        table.add_row(
            name,
            str(len(values)),
            *(f"{1000 * percentile(values, share):.0f}" for share in (0.5, 0.95, 1.0)),
            "" if limit is None else f"{1000 * limit:.0f}",
        )
    console.print(table)
    console.print(
        f"{options.viewers} viewers of the board: {viewing.n_new} new views, {len(viewing.errors)} errors "
        f"{sorted(set(viewing.errors))}"
    )
    used = ", ".join(f"{name} {sum(one) / len(one):.2f} s" for name, one in navigator.processor.items())
    console.print(f"mean time of the server's processor: {used}")
    for name, costs in navigator.browser.items():
        means = {what: sum(one[what] for one in costs) / len(costs) for what in costs[0]}
        words = ", ".join(f"{what} {mean:.3f} s" for what, mean in means.items())
        console.print(f"mean cost of the {name} in the browser: {words}")
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    console.print(f"{os.cpu_count()} cores, load in the last 1, 5 and 15 minutes: {load}")
    growth = navigator.memory_after / navigator.memory_before
    console.print(
        f"navigator: {navigator.memory_before / 1e6:.0f} MB before, {navigator.memory_after / 1e6:.0f} MB "
        f"after 20 sessions: {growth:.2f}"
    )
    return 1 if missed or growth > LARGEST_GROWTH else 0


if __name__ == "__main__":
    raise SystemExit(main())
