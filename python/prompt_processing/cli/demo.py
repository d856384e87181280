"""``prompt demo``: run a simulated night on this machine."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .command import Command, option
from .options import INSTRUMENT, PIXELS

if TYPE_CHECKING:
    from types import FrameType

    from rich.console import Console

    from prompt_processing.demo.goals import Goal
    from prompt_processing.demo.processes import Processes
    from prompt_processing.demo.progress import Progress
    from prompt_processing.demo.results import NightResult
    from prompt_processing.demo.story import DemoOptions
    from prompt_processing.demo.surroundings import Folders
    from prompt_processing.demo.world import World

__all__ = ["main"]

_WIDTH_OF_FILES = 140
_MARKER = ".prompt-processing-demo"
_INTERRUPTED = 130

_SKY = "The night"
_TIMES = "Timing"
_WHERE = "Where it runs"


@click.command(
    cls=Command,
    examples="""
    prompt demo
    prompt demo --instrument HSC --visits 2 --miniature 127x500
    prompt demo --camera small                                 # from raw frames to alerts
    prompt demo --services --detectors R22_S11 --keep          # on real servers that stay up
    prompt demo --navigator                                    # watch the night in a browser
    """,
    statuses={
        1: "a visit was not processed, a goal that counts was missed, or the demo failed",
        _INTERRUPTED: "interrupted",
    },
)
@option(
    "--instrument",
    "--camera",
    "instrument",
    type=INSTRUMENT,
    default="LSSTCam",
    show_default=True,
    section=_SKY,
    help="Camera.",
)
@option(
    "--story",
    type=click.Choice(("night", "raws")),
    section=_SKY,
    help="A night of the service, or the way of an unknown camera from raw frames to alerts.  "
    "[default: that of the camera's description]",
)
@option(
    "--visits",
    type=click.IntRange(min=1),
    section=_SKY,
    help="Number of visits, all of one field.  [default: 3, or 2 of an unknown camera]",
)
@option(
    "--detectors",
    several=True,
    metavar="D...",
    section=_SKY,
    help="Detector ids or names.  [default: those of the camera's description]",
)
@option("--seed", type=int, default=1, show_default=True, section=_SKY, help="Random seed of the sky.")
@option(
    "--miniature",
    type=PIXELS,
    metavar="COLUMNSxROWS",
    section=_SKY,
    help="Shrink each amplifier's data to this many pixels, for a quick look.",
)
@option(
    "--night",
    type=click.Path(path_type=Path),
    section=_SKY,
    help="Folder of the simulated night; an existing night is reused.  [default: a new night each time]",
)
@option(
    "--slew",
    type=click.FloatRange(min=0),
    default=2.0,
    show_default=True,
    section=_TIMES,
    help="Seconds from the announcement to the opening of the shutter.",
)
@option(
    "--exposure",
    type=click.FloatRange(min=0),
    default=18.0,
    show_default=True,
    section=_TIMES,
    help="Seconds from the opening of the shutter to the image's arrival.",
)
@option(
    "--pause",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    section=_TIMES,
    help="Additional seconds between two visits.",
)
@option(
    "--output",
    type=click.Path(path_type=Path),
    default="demo-output",
    show_default=True,
    section=_WHERE,
    help="Folder of the results.",
)
@option(
    "--keep",
    is_flag=True,
    section=_WHERE,
    help="Keep the night's outputs for the navigator, and the services running; print how to reach them.",
)
@option(
    "--navigator",
    is_flag=True,
    section=_WHERE,
    help="Show the night in a browser while it happens, and afterwards as with --keep.",
)
@option(
    "--services",
    is_flag=True,
    section=_WHERE,
    help="Use real servers; missing ones are installed.",
)
@option(
    "--platform",
    type=click.Choice(("knative", "keda")),
    default="knative",
    show_default=True,
    section=_WHERE,
    help="How visits reach the workers: over HTTP, or (with --services) from a Redis stream.",
)
def main(keep: bool, navigator: bool, **options: Any) -> int:
    """Run prompt processing on a simulated night, with full-size detectors and real protocols.

    A sky is simulated, observed and processed: announcement, preload, image, alert production, APDB, alerts.
    The demo ends with a table of detections and times, and a folder of pictures.

    Kafka and S3 are stand-ins that speak the wire protocols; Butler registry and APDB are SQLite. With
    --services they are Apache Kafka, a schema registry, versitygw, PostgreSQL and, for stream workers, Redis.
    Missing servers are installed. All are started on free ports of this machine and stopped at the end.

    The story raws has none of these: an observatory's raw frames are simulated, its camera is described and
    calibrated, templates are built, and a night is processed from a folder, each with one command.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    if _story({**options, "navigator": navigator}) == "raws":
        return _demonstrate_raws(options)
    if navigator:
        _require_navigator()
        keep = True
    if options["platform"] == "keda" and not options["services"]:
        raise click.UsageError("--platform keda needs --services: there is no stand-in for Redis.")

    from rich.console import Console

    from prompt_processing.demo.processes import Processes, ProcessFailedError
    from prompt_processing.demo.progress import Progress
    from prompt_processing.demo.real_services import RealServices
    from prompt_processing.demo.story import (
        NightFailedError,
        check_night,
        make_surroundings,
        make_world,
        remove_work,
    )
    from prompt_processing.demo.table import goals_of
    from prompt_processing.demo.waiting import stay

    demo, folders = _demo(options)
    # Tables are wide; a file or a pipe gets whole lines.
    console = Console() if sys.stdout.isatty() else Console(width=_WIDTH_OF_FILES)
    progress = Progress(console)
    try:
        _empty(folders.output)
        surroundings = make_surroundings(demo, folders)
        if isinstance(surroundings, RealServices):
            with progress.step("Installing servers that are missing"):
                surroundings.install()
        with surroundings, Processes(folders.logs, {}) as processes:
            world = make_world(demo, folders, surroundings, processes, progress)
            if navigator:
                _show(world, processes, progress)
            result = _run(demo, world, processes, progress, console)
            if keep:
                _keep(world, progress)
                stay(demo, world, console)
            check_night(demo, result)
    except NightFailedError as error:
        console.print(f"[red]Not every visit was processed:[/red]\n{error}\nThe logs are in {folders.logs}.")
        return 1
    except ProcessFailedError as error:
        console.print(f"[red]The demo failed:[/red] {error}", markup=True, highlight=False)
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted.")
        return _INTERRUPTED
    finally:
        if not keep:
            remove_work(folders)
    return exit_status(goals_of(result), console)


def _story(options: Mapping[str, Any]) -> str:
    """Return the story, after checking that the options belong to it."""
    from prompt_processing.instruments import InstrumentError, load_instrument

    try:
        story = options["story"] or load_instrument(options["instrument"]).simulation.story
    except InstrumentError as error:
        raise click.BadParameter(str(error.args[0]), param_hint="--instrument") from error
    for name in ("services", "night", "detectors", "navigator"):
        if story == "raws" and options[name]:
            raise click.UsageError(f"--{name} needs --story night.")
    return str(story)


def _require_navigator() -> None:
    from prompt_processing.demo.shown_night import can_show_night

    if not can_show_night():
        raise click.UsageError("--navigator needs the pages: pip install 'prompt-processing[demo,pages]'")


def _show(world: World, processes: Processes, progress: Progress) -> None:
    from prompt_processing.demo.shown_night import show_night

    with progress.step("Starting the navigator"):
        address = show_night(world, processes)
    progress.report(f"The night is shown at {address}")


def _demonstrate_raws(options: Mapping[str, Any]) -> int:
    from rich.console import Console

    from prompt_processing.demo.processes import ProcessFailedError
    from prompt_processing.demo.raws.demonstration import demonstrate_raws

    console = Console() if sys.stdout.isatty() else Console(width=_WIDTH_OF_FILES)
    output = options["output"].resolve()
    try:
        _empty(output)
        goals = demonstrate_raws(
            output,
            options["instrument"],
            console,
            seed=options["seed"],
            miniature=options["miniature"],
            n_tonight=options["visits"] or 2,
        )
    except (ProcessFailedError, ValueError) as error:
        console.print(f"[red]The demo failed:[/red] {error}", highlight=False)
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted.")
        return _INTERRUPTED
    return exit_status(goals, console)


def exit_status(goals: Sequence[Goal], console: Console) -> int:
    """Print the missed goals that count; return 1 if there are any, 0 if not."""
    from prompt_processing.demo.goals import missed_goals

    missed = missed_goals(goals)
    for goal in missed:
        console.print(
            f"[red]Missed goal:[/red] {goal.name}: {goal.reached}, limit {goal.limit}",
            highlight=False,
            soft_wrap=True,
        )
    return 1 if missed else 0


def _demo(options: Mapping[str, Any]) -> tuple[DemoOptions, Folders]:
    from prompt_processing.demo.story import DemoOptions
    from prompt_processing.demo.surroundings import Folders

    instrument = options["instrument"]
    demo = DemoOptions(
        instrument=instrument,
        detectors=_detector_ids(instrument, options["detectors"]),
        n_visits=options["visits"] or 3,
        **{
            name: options[name]
            for name in ("seed", "miniature", "slew", "exposure", "pause", "night", "services", "platform")
        },
    )
    output = options["output"].resolve()
    night = output / "work" / "night" if demo.night is None else demo.night.resolve()
    return demo, Folders(output, night)


def _detector_ids(instrument: str, names: Sequence[str]) -> tuple[int, ...]:
    from prompt_processing.instruments import InstrumentError, load_instrument

    try:
        described = load_instrument(instrument)
        names = names or described.simulation.detectors
    except InstrumentError as error:
        raise click.BadParameter(str(error.args[0]), param_hint="--instrument") from error
    camera = described.camera
    if not names:
        return (min(camera.detectors.values(), key=lambda one: one.x_mm**2 + one.y_mm**2).id,)
    try:
        chosen = [camera.detector(int(name) if name.isdecimal() else name).id for name in names]
    except LookupError as error:
        # str() of a LookupError quotes its message.
        raise click.BadParameter(str(error.args[0]), param_hint="--detectors") from error
    return tuple(dict.fromkeys(chosen))


def _run(
    options: DemoOptions, world: World, processes: Processes, progress: Progress, console: Console
) -> NightResult:
    from prompt_processing.demo.results import count_datasets, explain_discrepancies
    from prompt_processing.demo.story import take_night
    from prompt_processing.demo.table import print_tables, save_tables

    result, query = take_night(options, world, processes, progress)
    # matplotlib takes a second to import, which must not delay the visits.
    from prompt_processing.demo.pictures import draw_pictures

    with progress.step("Explaining missed and spurious sources, drawing pictures"):
        explain_discrepancies(result, world)
        pictures = draw_pictures(result, world)
        result.dataset_counts = count_datasets(world, query)
    save_tables(result, world.folders.output, progress.seconds)
    console.print()
    print_tables(result, console)
    console.print(
        f"{sum(result.dataset_counts.values())} datasets of {len(result.dataset_counts)} types in "
        f"{world.output_collection()}, {result.n_dia_objects} DiaObjects in the APDB."
    )
    console.print(f"Tables, logs and alerts are in {world.folders.output}; the pictures are:")
    for path in pictures:
        console.print(f"  {path}", soft_wrap=True)
    console.print(f"The demo took {progress.seconds:.0f} s.")
    return result


def _empty(output: Path) -> None:
    """Make the output folder, and remove the output of an earlier demo.

    Raises
    ------
    ProcessFailedError
        Raised if the folder holds other files.
    """
    from prompt_processing.demo.processes import ProcessFailedError

    if output.exists() and any(output.iterdir()):
        if not (output / _MARKER).exists():
            raise ProcessFailedError(
                f"{output} is not empty and was not written by an earlier demo; choose another --output."
            )
        shutil.rmtree(output)
    output.mkdir(parents=True, exist_ok=True)
    (output / _MARKER).touch()


def _keep(world: World, progress: Progress) -> None:
    from prompt_processing.demo.kept import keep_outputs

    with progress.step("Keeping the night's outputs"):
        keep_outputs(world)


def _interrupt(signal_number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
