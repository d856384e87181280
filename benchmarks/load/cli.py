"""The benchmark from the command line."""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from prompt_processing.demo.processes import Processes
from prompt_processing.demo.progress import Progress
from prompt_processing.services.installation import MissingSoftwareError
from prompt_processing.services.stack import ServiceStack

from .alerts import measure_alerts
from .fan_out import measure_fan_out
from .figures import Measured
from .one_worker import OneWorker, measure_one_worker
from .report import markdown, plot_growth, show, update_document
from .start import measure_start
from .visits import measure_visits
from .world import World, start_services
from .writer import measure_writer, read_messages

_ALL_DETECTORS = 189
_CENTRE = 94
_DOC = Path(__file__).parents[2] / "doc"
PARTS = ("fan-out", "worker", "writer", "start", "alerts", "visits")

_DESCRIPTION = """\
Put a full camera's load on real services, and print what it takes beside what it may take.

Kafka, PostgreSQL, Redis and an S3 store are started on free ports of this machine (and installed first
where they are missing), with a central repository for some or all detectors. Everything is as in service
but the pipeline: one task in its place writes a small output of every exported dataset type; neither
telescope nor exposures take time.

  fan-out   seconds from next_visit to the last of 189 requests, over Redis and over HTTP
  worker    statements of one worker on the central database, for preload and export
  writer    visit-detectors a second that the Butler writer enters
  start     seconds until a worker is ready, memory of an idle one (with the survey's pipelines)
  alerts    alerts a second of one worker; none may be lost when broker or worker restarts
  visits    whole visits through all of it, for each number of detectors that is asked for

examples:
  python benchmarks/focal_plane.py --quick                     a look at everything, a few minutes
  python benchmarks/focal_plane.py --document                  the measured table of the documentation
  python benchmarks/focal_plane.py --cadence 37 --visits 3     as the telescope does it
  python benchmarks/focal_plane.py --only worker writer        two parts of it
"""


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python benchmarks/focal_plane.py",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--visits", type=int, help="of each number of detectors; default: 2, quick 1")
    parser.add_argument(
        "--detectors",
        type=int,
        action="append",
        metavar="N",
        help="how many detectors take part, nearest the centre; may be repeated. Default: 9 and 189, quick 9",
    )
    parser.add_argument(
        "--cadence", type=float, default=0.0, help="seconds between visits; default 0: as fast as it goes"
    )
    parser.add_argument("--workers", type=int, help="stream workers; default: as many as there are cores")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions of everything")
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=", ".join(PARTS)
    )
    parser.add_argument("--document", action="store_true", help="put tables and plot into doc/load.md")
    parser.add_argument("--output", type=Path, help="folder for results.json, table.md and growth.png")
    parser.add_argument(
        "--keep", action="store_true", help="leave logs and data where they are, and say where"
    )
    options = parser.parse_args(arguments)
    if options.document and set(options.only) != set(PARTS):
        parser.error("--document needs all parts: the others' rows would be gone from the page")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 if all targets are met, 1 if not, 3 if a server cannot be had."""
    options = parse(arguments)
    logging.basicConfig(level=logging.ERROR)
    console = Console()
    progress = Progress(console)
    folder = Path(tempfile.mkdtemp(prefix="focal-plane-"))
    measured = Measured()
    try:
        with progress.step("Starting Kafka, PostgreSQL, Redis and the S3 store"):
            stack = start_services(folder / "services")
        with stack:
            run(folder, stack, options, measured, progress)
    except MissingSoftwareError as error:
        console.print(str(error), style="red")
        return 3
    finally:
        if options.keep:
            console.print(f"Logs and data are in {folder}.")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    show(measured, console)
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "results.json").write_text(json.dumps(measured.as_dict(), indent=2))
        (options.output / "table.md").write_text(markdown(measured))
        plot_growth(measured, options.output / "growth.png")
    if options.document:
        plot_growth(measured, _DOC / "images" / "load-growth.png")
        update_document(measured, _DOC / "load.md")
    return int(any(figure.met is False for figure in measured.figures))


def run(
    folder: Path, stack: ServiceStack, options: argparse.Namespace, measured: Measured, progress: Progress
) -> None:
    """Measure all that is asked for."""
    quick = options.quick
    numbers = options.detectors or ([9] if quick else [9, _ALL_DETECTORS])
    n_visits = options.visits or (1 if quick else 2)
    n_workers = options.workers or len(os.sched_getaffinity(0))
    with Processes(folder / "logs", {}) as processes:
        with progress.step(f"Making a central repository for {min(numbers)} detectors"):
            world = World.make(folder / "world", stack, nearest_centre(min(numbers)))

        def visits() -> None:
            for number in sorted(numbers):
                if number == min(numbers):
                    of_number = world
                else:
                    with progress.step(f"Making a central repository for {number} detectors"):
                        of_number = World.make(folder / f"world-{number}", stack, nearest_centre(number))
                what = f"{n_visits} visit(s) of {number} detectors in {n_workers} workers, after one more"
                with progress.step(what):
                    measured.growth.append(
                        measure_visits(
                            of_number,
                            processes,
                            n_visits=n_visits,
                            cadence=options.cadence,
                            n_workers=n_workers,
                        )
                    )

        parts: dict[str, tuple[str, Callable[[], object]]] = {
            "visits": ("Whole visits", visits),
            "fan-out": (
                "Fan-out to 189 detectors",
                lambda: measure_fan_out(world, measured, processes, 5 if quick else 100),
            ),
            "worker": (
                "One worker's statements",
                lambda: measure_one_worker(world, measured, 3 if quick else 10),
            ),
            "writer": (
                "The writer's rate",
                lambda: measure_writer(world, measured, processes, _message(world), 60 if quick else 800),
            ),
            "start": (
                "Start and idle memory",
                lambda: measure_start(world, measured, processes, 1 if quick else 5),
            ),
            "alerts": (
                "Alerts",
                lambda: measure_alerts(world, measured, processes, 200 if quick else 1000, restarts=True),
            ),
        }
        for name, (title, part) in parts.items():
            if name in options.only:
                with progress.step(title):
                    part()


def nearest_centre(number: int) -> tuple[int, ...]:
    """Choose detectors: those around the middle of the focal plane, by id."""
    if number >= _ALL_DETECTORS:
        return tuple(range(_ALL_DETECTORS))
    first = min(max(0, _CENTRE - number // 2), _ALL_DETECTORS - number)
    return tuple(range(first, first + number))


def _message(world: World) -> bytes:
    """Have a worker make a message for the writer."""
    worker = OneWorker(world, through_writer=True, first_exposure=900)
    try:
        worker.export(world.detectors[0])
    finally:
        worker.close()
    return read_messages(world, world.writer_topic, 1)[0]
