"""``prompt watch``: process the raws that appear in a folder."""

from __future__ import annotations

import logging
import signal
from pathlib import Path

import click

from .command import Command
from .options import INSTRUMENT, NUMBERS, log_to_stderr


@click.command(
    cls=Command,
    examples="""
    prompt watch /data/tonight --repo central_repo --instrument small --work night
    prompt watch /data/old --once --repo central_repo --instrument DECam --work night
    AP_KAFKA_SERVER=kafka:9092 AP_KAFKA_TOPIC=alerts prompt watch /data/tonight --repo repo --instrument small
    """,
    settings_note="The worker's optional settings count here too, such as AP_KAFKA_SERVER and MP_SKY_URL.",
    statuses={
        1: "the repository, its pipelines or a setting is unusable",
        5: "with --once: files were set aside",
    },
)
@click.argument("folder", type=click.Path(path_type=Path), help="Folder in which raws appear.")
@click.option("--repo", required=True, metavar="URI", help="Butler repository: inputs and outputs.")
@click.option("--instrument", required=True, type=INSTRUMENT, help="Camera.")
@click.option(
    "--work",
    type=click.Path(path_type=Path),
    default=Path("watch"),
    show_default=True,
    metavar="FOLDER",
    help="Folder of journal, APDB, alerts and log.",
)
@click.option("--once", is_flag=True, help="End when all files that are there are processed.")
@click.option("--again", is_flag=True, help="Try the files that were set aside again.")
@click.option("--skymap", metavar="NAME", help="Sky map of the templates.  [default: the only one]")
@click.option(
    "--pipelines",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Pipelines.  [default: the camera's]",
)
@click.option("--apdb", metavar="URI", help="Configuration of an APDB.  [default: one in --work]")
@click.option(
    "--alerts",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Avro files of alerts.  [default: in --work]",
)
@click.option("--detectors", type=NUMBERS, metavar="N,N...", help="Detectors.  [default: all]")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.05),
    default=0.5,
    show_default=True,
    metavar="SECONDS",
    help="Time between two looks into the folder.",
)
@click.option(
    "--patience",
    type=click.FloatRange(min=0.0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="Time without growth after which an incomplete file is set aside.",
)
def main(
    folder: Path,
    repo: str,
    instrument: str,
    work: Path,
    once: bool,
    again: bool,
    skymap: str | None,
    pipelines: Path | None,
    apdb: str | None,
    alerts: Path | None,
    detectors: tuple[int, ...] | None,
    interval: float,
    patience: float,
) -> int:
    """Process each raw that appears in a folder, from the file to the alerts.

    No broker, bucket or scheduler is needed. A journal records what was done: after a crash or a restart the
    command continues where it was, and processes nothing twice. A file that cannot be processed is set aside
    with the reason. Without reference stars in the repository, images are calibrated by the templates.
    """
    from prompt_processing.domain.errors import PromptError, RepositoryProblemError
    from prompt_processing.settings.environment import SettingsError
    from prompt_processing.settings.freed_memory import reuse_freed_memory
    from prompt_processing.settings.service_loop import asked_to_stop
    from prompt_processing.watch.arrivals import Folder
    from prompt_processing.watch.context import WatchContext, WatchOptions
    from prompt_processing.watch.journal import FileState, Journal
    from prompt_processing.watch.lines import line, summary
    from prompt_processing.watch.references import ensure_reference_stars
    from prompt_processing.watch.service import Watch

    if not folder.is_dir():
        raise click.UsageError(f"{folder} is not a folder.")
    work.mkdir(parents=True, exist_ok=True)
    reuse_freed_memory()
    log_to_stderr(logging.CRITICAL)
    _log_to_file(work / "watch.log")
    stop = asked_to_stop(signal.SIGHUP)
    options = WatchOptions(repo, instrument, work, skymap, pipelines, apdb, alerts)
    try:
        if made := ensure_reference_stars(repo, instrument):
            click.echo(made)
        context = WatchContext(options)
    except (PromptError, RepositoryProblemError, SettingsError, FileNotFoundError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    try:
        with Journal(work / "journal.db") as journal:
            if again and (number := journal.forget(FileState.SET_ASIDE)):
                click.echo(f"{number} images are tried again.")
            watch = Watch(
                Folder(folder, patience),
                journal,
                context,
                instrument,
                detectors=detectors or (),
                tell=lambda report: click.echo(line(report)),
            )
            click.echo(f"Watching {folder}; alerts go to {context.alerts}.")
            if not context.has_templates:
                click.echo("No sky map, hence no templates: images are calibrated, and give no alerts.")
            context.warm()
            totals = watch.run(stop, interval, once)
            click.echo(summary(totals))
            return 5 if once and totals.by_state.get(FileState.SET_ASIDE) else 0
    finally:
        context.close()


def _log_to_file(path: Path) -> None:
    """Keep the worker's log in a file."""
    handler = logging.FileHandler(path)
    handler.setLevel(logging.INFO)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    for other in root.handlers:
        other.setLevel(logging.CRITICAL)
    root.setLevel(logging.INFO)
    root.addHandler(handler)
