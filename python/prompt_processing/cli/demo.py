"""The demo's command."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from rich.console import Console

from prompt_processing.demo.processes import Processes, ProcessFailedError
from prompt_processing.demo.progress import Progress
from prompt_processing.demo.real_services import RealServices
from prompt_processing.demo.results import NightResult, count_datasets
from prompt_processing.demo.story import (
    DemoOptions,
    NightFailedError,
    check_night,
    make_surroundings,
    make_world,
    remove_work,
    take_night,
)
from prompt_processing.demo.surroundings import Folders
from prompt_processing.demo.table import print_tables, save_tables
from prompt_processing.demo.world import World
from prompt_processing.instruments import Camera, load_camera

__all__ = ["main"]

_DEFAULT_DETECTORS = {
    # One of each vendor for LSSTCam: they are read out the other way round.
    "LSSTCam": ("R01_S00", "R22_S11"),
    "LATISS": ("0",),
    "HSC": ("49", "50"),
}
_WIDTH_OF_FILES = 140
_MARKER = ".prompt-processing-demo"

_DESCRIPTION = """\
Run prompt processing on a simulated night, with full-size detectors and real protocols.

Kafka and S3 are stand-ins that speak the wire protocols; Butler registry and APDB are SQLite. With --services
they are Apache Kafka, a schema registry, versitygw, PostgreSQL and, for stream workers, Redis: installed
where they are missing, started on free ports of this machine, and stopped at the end. A sky is simulated,
observed and processed: announcement, preload, image, alert production, APDB, alerts. At the end there is a
table of what was found and how long it took, and a folder of pictures.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit status: 0 only if every visit was processed."""
    options, folders, keep = _parse(arguments)
    # Tables are wide; a file or a pipe does not mind.
    console = Console() if sys.stdout.isatty() else Console(width=_WIDTH_OF_FILES)
    progress = Progress(console)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        _empty(folders.output)
        surroundings = make_surroundings(options, folders)
        if isinstance(surroundings, RealServices):
            with progress.step("Installing servers that are missing"):
                surroundings.install()
        with surroundings, Processes(folders.logs, {}) as processes:
            world = make_world(options, folders, surroundings, processes, progress)
            result = _run(options, world, processes, progress, console)
            if keep:
                _stay(options, world, console)
            check_night(options, result)
    except NightFailedError as error:
        console.print(f"[red]Not every visit was processed:[/red]\n{error}\nThe logs are in {folders.logs}.")
        return 1
    except ProcessFailedError as error:
        console.print(f"[red]The demo failed:[/red] {error}", markup=True, highlight=False)
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted.")
        return 130
    finally:
        if not keep:
            remove_work(folders)
    return 0


def _run(
    options: DemoOptions, world: World, processes: Processes, progress: Progress, console: Console
) -> NightResult:
    result, query = take_night(options, world, processes, progress)
    # Imported late: matplotlib takes a second, and should not take it from the telescope.
    from prompt_processing.demo.pictures import draw_pictures

    with progress.step("Drawing pictures"):
        pictures = draw_pictures(result, world)
        result.dataset_counts = count_datasets(world, query)
    save_tables(result, world.folders.output, progress.seconds)
    console.print()
    print_tables(result, console)
    console.print(
        f"{sum(result.dataset_counts.values())} datasets of {len(result.dataset_counts)} types in "
        f"{world.output_collection()}, {result.n_dia_objects} DiaObjects in the APDB."
    )
    console.print(f"Tables, logs and alerts are in {world.folders.output}, pictures are:")
    for path in pictures:
        console.print(f"  {path}", soft_wrap=True)
    console.print(f"The demo took {progress.seconds:.0f} s.")
    return result


def _parse(arguments: Sequence[str] | None) -> tuple[DemoOptions, Folders, bool]:
    parser = argparse.ArgumentParser(
        prog="bin/demo", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--instrument", choices=tuple(_DEFAULT_DETECTORS), default="LSSTCam", help="default: %(default)s"
    )
    parser.add_argument("--visits", type=int, default=3, help="visits of one field (default: %(default)s)")
    parser.add_argument(
        "--detectors",
        nargs="+",
        metavar="D",
        help="ids or names (default: "
        + "; ".join(f"{name}: {' '.join(chosen)}" for name, chosen in _DEFAULT_DETECTORS.items())
        + ")",
    )
    parser.add_argument("--seed", type=int, default=1, help="of the sky (default: %(default)s)")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("demo-output"),
        help="folder of the results (default: %(default)s)",
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave the services up afterwards, and tell how to talk to them"
    )
    parser.add_argument(
        "--night",
        type=Path,
        help="folder of the simulated night: one that is there is used again (default: a new one each time)",
    )
    parser.add_argument(
        "--miniature",
        type=_pair,
        metavar="COLUMNSxROWS",
        help="shrink each amplifier's data to this many pixels, for a quick look",
    )
    parser.add_argument(
        "--slew", type=float, default=2.0, help="seconds from announcement to shutter (default: %(default)s)"
    )
    parser.add_argument(
        "--exposure", type=float, default=18.0, help="seconds from there to the image (default: %(default)s)"
    )
    parser.add_argument(
        "--pause", type=float, default=0.0, help="more seconds between two visits (default: %(default)s)"
    )
    parser.add_argument(
        "--services", action="store_true", help="on real servers, which are installed where they are missing"
    )
    parser.add_argument(
        "--platform",
        choices=("knative", "keda"),
        default="knative",
        help="how visits come to the workers: over HTTP, or (with --services) from a Redis stream "
        "(default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    if options.visits < 1:
        parser.error("--visits must be at least 1")
    if options.platform == "keda" and not options.services:
        parser.error("--platform keda needs --services: there is no stand-in for Redis")
    camera = load_camera(options.instrument)
    try:
        detectors = _detector_ids(camera, options.detectors or _DEFAULT_DETECTORS[options.instrument])
    except LookupError as error:
        parser.error(str(error))
    demo = DemoOptions(
        instrument=options.instrument,
        detectors=detectors,
        n_visits=options.visits,
        seed=options.seed,
        miniature=options.miniature,
        slew=options.slew,
        exposure=options.exposure,
        pause=options.pause,
        night=options.night,
        services=options.services,
        platform=options.platform,
    )
    output = options.output.resolve()
    night = output / "work" / "night" if options.night is None else options.night.resolve()
    return demo, Folders(output, night), options.keep


def _detector_ids(camera: Camera, names: Sequence[str]) -> tuple[int, ...]:
    chosen = [camera.detector(int(name) if name.isdecimal() else name).id for name in names]
    return tuple(dict.fromkeys(chosen))


def _pair(text: str) -> tuple[int, int]:
    columns, _, rows = text.partition("x")
    return int(columns), int(rows)


def _empty(output: Path) -> None:
    """Make the output folder, without what an earlier demo left in it.

    Raises
    ------
    ProcessFailedError
        It holds something else, which is nobody's to remove.
    """
    if output.exists() and any(output.iterdir()):
        if not (output / _MARKER).exists():
            raise ProcessFailedError(
                f"{output} is not empty and not of an earlier demo; choose another --output."
            )
        shutil.rmtree(output)
    output.mkdir(parents=True, exist_ok=True)
    (output / _MARKER).touch()


def _stay(options: DemoOptions, world: World, console: Console) -> None:
    """Tell how to talk to the services, and wait until interrupted."""
    exports = _exports(world.environment)
    path = world.folders.output / "environment.sh"
    # It may hold credentials.
    path.touch(mode=0o600)
    path.write_text(exports)
    log = world.folders.logs / f"{'activator' if options.platform == 'knative' else 'worker-1'}.log"
    console.print(
        f"""
[bold]The services stay up until you press Ctrl-C.[/bold] In another terminal:

    source {path}
    prompt-logs -f {log}
    python -m prompt_processing.tester.upload {options.instrument} 1          another visit
    butler query-datasets $CENTRAL_REPO "*" --collections {world.output_collection()}
    prompt-check-repo
    prompt-apdb status
    prompt-inspect
""",
        highlight=False,
        soft_wrap=True,
    )
    try:
        signal.pause()
    except KeyboardInterrupt:
        console.print("Stopping the services.")


def _exports(environment: Mapping[str, str]) -> str:
    names = [*environment, *(name for name in os.environ if name.startswith("AWS_"))]
    values = {name: environment.get(name) or os.environ[name] for name in names}
    exports = [f"export {name}={shlex.quote(value)}\n" for name, value in sorted(values.items())]
    # The programs that the demo itself runs.
    return "".join([f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH\n", *exports])


def _interrupt(signal_number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
