"""Measure `prompt watch` on a folder of raws whose process is killed again and again.

python benchmarks/watch.py                          200 raws, ten SIGKILLs at random moments
python benchmarks/watch.py --images 40 --kills 4    shorter
python benchmarks/watch.py --pairs 20               the latency beside that of a worker, with real pipelines

The pipeline costs little: what is measured is the command, not the processing of pixels. Raws arrive one
by one while the process runs. The report has the images that were lost or doubled in the APDB, the alerts
and the repository, and the memory of the last process over its images.

With `--pairs`, `prompt watch` and a worker of the service process the same images of the small camera in
turn, so that what else the machine does slows both. `--night` keeps the simulated images for the next time.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

SUPPORT = Path(__file__).parents[1] / "tests" / "support"
sys.path.insert(0, str(SUPPORT))

import butler_world as world  # noqa: E402
import fastavro  # noqa: E402
import fault_pipeline  # noqa: E402
import numpy as np  # noqa: E402
import psutil  # noqa: E402
from lsst.daf.butler import Butler  # noqa: E402
from watching.pairs import measure_pairs  # noqa: E402

from prompt_processing.butler.types import use_butler_types  # noqa: E402
from prompt_processing.watch.journal import FileState, Journal  # noqa: E402

_SHORTEST, _LONGEST = 5.0, 25.0
"""CPU seconds of a process before it is killed; starting takes about eight of them."""
_PROGRAM = """
import signal, sys
from pathlib import Path
from threading import Event
import butler_world as world
from prompt_processing.watch.arrivals import Folder
from prompt_processing.watch.context import WatchContext, WatchOptions
from prompt_processing.watch.journal import Journal
from prompt_processing.watch.service import Watch
folder, stop = Path(sys.argv[1]), Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
options = WatchOptions(
    str(folder / "central"), world.INSTRUMENT, folder / "work", pipelines=folder / "pipelines"
)
context = WatchContext(options, world.small_camera())
with Journal(folder / "work" / "journal.db") as journal:
    Watch(Folder(folder / "incoming"), journal, context, world.INSTRUMENT).run(stop, 0.5)
context.close()
"""
"""The command with the camera and the pipelines of the tests, at its default interval."""


def main() -> int:
    """Run the benchmark and print its report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pairs", type=int, metavar="IMAGES", help="compare with a worker on so many images")
    parser.add_argument("--night", type=Path, metavar="FOLDER", help="simulated images, made if missing")
    options = parser.parse_args()
    if options.pairs:
        with tempfile.TemporaryDirectory() as folder:
            measure_pairs(Path(folder), options.pairs, options.night)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        return measure(Path(folder), options.images, options.kills, np.random.default_rng(options.seed))


def measure(folder: Path, images: int, kills: int, rng: np.random.Generator) -> int:
    """Process the raws, and print what became of them; return the exit status."""
    use_butler_types()
    world.make_central(folder)
    world.make_apdb(folder)
    world.write_pipelines(folder / "pipelines", fault_pipeline.TASKS)
    (folder / "incoming").mkdir()
    raws = _raws(folder, images)
    for kill in range(1, kills + 1):
        process = _watch(folder)
        # The last process gets two thirds of the images, to show its memory and latency.
        for _ in range(max(1, images // (3 * kills))):
            next(raws)
        _wait_for_cpu(process, rng.uniform(_SHORTEST, _LONGEST), folder)
        process.kill()
        process.wait()
        print(f"kill {kill} of {kills}: {_settled(folder)} images settled", flush=True)
    process, memory = _watch(folder), []
    while process.poll() is None:
        if _waiting(folder) <= 0:
            memory.append(psutil.Process(process.pid).memory_info().rss / 1e6)
            if next(raws, None) is None:
                break
        time.sleep(0.05)
    process.terminate()
    process.wait(60)
    return _report(folder, images, memory)


def _watch(folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(SUPPORT)}
    log = (folder / "log").open("ab")
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(folder)], env=environment, stdout=log, stderr=log
    )


def _raws(folder: Path, images: int) -> Iterator[Path]:
    """Write a raw whenever the next one is asked for."""
    camera = world.small_camera()
    for number in range(images):
        made = world.write_raw(
            folder / "aside" / str(number), camera, exposure=world.EXPOSURE + number, group=f"group {number}"
        )
        path = folder / "incoming" / f"{number:04d}-{made.name}"
        os.utime(made)
        made.rename(path)
        yield path


def _wait_for_cpu(process: subprocess.Popen[bytes], seconds: float, folder: Path) -> None:
    """Wait until a process has used so much CPU time, which does not depend on what else the machine does.

    A process that has nothing left to do uses none: it is killed then.
    """
    while process.poll() is None:
        times = psutil.Process(process.pid).cpu_times()
        if times.user + times.system >= seconds or _waiting(folder) <= 0:
            return
        time.sleep(0.1)


def _waiting(folder: Path) -> int:
    return sum(1 for _ in (folder / "incoming").iterdir()) - _settled(folder)


def _settled(folder: Path) -> int:
    path = folder / "work" / "journal.db"
    if not path.exists():
        return 0
    with Journal(path) as journal:
        return sum(entry.state is not FileState.STARTED for entry in journal.entries())


def _report(folder: Path, images: int, memory: Sequence[float]) -> int:
    exposures = {world.EXPOSURE + number for number in range(images)}
    with Journal(folder / "work" / "journal.db") as journal:
        entries = list(journal.entries())
    with sqlite3.connect(folder / "work" / "apdb.db") as database:
        rows = Counter(dict(database.execute('SELECT visit, count(*) FROM "DiaSource" GROUP BY visit')))
    alerts: Counter[int] = Counter()
    for path in (folder / "work" / "alerts").glob("*.avro"):
        with path.open("rb") as file:
            records: Iterator[dict[str, Any]] = fastavro.reader(file)
            alerts.update(int(record["diaSource"]["visit"]) for record in records)
    with Butler.from_config(str(folder / "central")) as butler:
        outputs = Counter(
            int(ref.dataId["visit"])
            for ref in butler.query_datasets(
                "difference_image", f"{world.INSTRUMENT}/prompt/*", find_first=False, explain=False
            )
        )
    lost = doubled = 0
    for what, found, each in (
        ("APDB", rows, fault_pipeline.N_SOURCES),
        ("alerts", alerts, fault_pipeline.N_SOURCES),
        ("repository", outputs, 1),
    ):
        few, many = sum(found[one] < each for one in exposures), sum(found[one] > each for one in exposures)
        print(f"{what}: {few} of {images} images lost, {many} doubled")
        lost, doubled = lost + few, doubled + many
    states = Counter(entry.state for entry in entries)
    again = sum("APDB holds this visit already" in entry.reason for entry in entries)
    print(f"journal: {', '.join(f'{number} {state}' for state, number in states.items())}")
    print(f"died between the APDB and the export: {again}")
    half = len(memory) // 2
    print(
        f"memory of the last process: {memory[0]:.0f} MB before the first of {len(memory) - 1} images, "
        f"{max(memory[:half]):.0f} MB at most in the first half, {max(memory[half:]):.0f} MB in the second"
    )
    return 1 if lost or doubled else 0


if __name__ == "__main__":
    sys.exit(main())
