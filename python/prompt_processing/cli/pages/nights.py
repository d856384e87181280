"""``prompt nights``: keep and show the database of nights."""

from __future__ import annotations

from pathlib import Path

import click

from prompt_processing.cli.command import Command
from prompt_processing.cli.options import NIGHT
from prompt_processing.domain.night_folder import DATABASE

_database = click.option(
    "--database",
    envvar="NIGHTS_DATABASE",
    metavar="URL",
    help="Database of nights: URL, SQLite file, or output folder of the demo.  [default: NIGHTS_DATABASE]",
)


@click.command(
    cls=Command,
    settings="prompt_processing.operators.projector_settings:ProjectorSettings",
    examples="""
    OUTCOME_TOPIC=prompt-outcomes KAFKA_CLUSTER=kafka:9092 NIGHTS_DATABASE=nights.db prompt nights project
    prompt nights project --folder night/outcomes --database night/night.db --once   # of prompt watch
    """,
    statuses={
        1: "the database or Kafka is unavailable; a new process may succeed",
        3: "the settings or the database's version are unusable",
    },
)
@_database
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Folder of outcomes.  [default: OUTCOME_TOPIC, or OUTCOME_DIR]",
)
@click.option("--once", is_flag=True, help="End when the folder has been read.")
def project(database: str | None, folder: Path | None, once: bool) -> int:
    """Keep the outcomes that workers publish in the database of nights.

    The database knows how far it has read: a projector that starts again continues there, and several may
    run at once. It runs until SIGTERM.
    """
    from prompt_processing.operators.night_projector import run_projector

    overrides: dict[str, object] = {}
    if database is not None:
        overrides["nights_database"] = _file_in_folder(database)
    if folder is not None:
        overrides |= {"outcome_dir": str(folder), "outcome_topic": ""}
    return run_projector(once=once, **overrides)


@click.command(
    cls=Command,
    examples="""
    prompt nights show --database demo-output
    prompt nights show 2026-06-01 --limit 500
    """,
    statuses={1: "the database cannot be read, or has no such night"},
)
@click.argument("night", required=False, type=NIGHT, help="Night to show.  [default: a list of nights]")
@_database
@click.option(
    "--limit",
    type=click.IntRange(1, 2000),
    default=50,
    show_default=True,
    help="Most nights or visits.",
)
def show(night: str | None, database: str | None, limit: int) -> None:
    """Show nights; or the visits, times and failures of one."""
    from rich.console import Console

    from prompt_processing.nights.reading import Nights, NightsUnavailableError
    from prompt_processing.operators.show_nights import show_night, show_nights

    if database is None:
        raise click.UsageError("Name the database with --database or NIGHTS_DATABASE.")
    console = Console()
    try:
        with Nights(_file_in_folder(database)) as nights:
            if night is None:
                show_nights(console, nights.nights(limit).rows)
            elif not show_night(console, nights, int(night.replace("-", "")), limit):
                raise click.ClickException(f"The database has no visit in the night of {night}.")
    except (NightsUnavailableError, ValueError) as error:
        raise click.ClickException(str(error)) from error


@click.command(
    cls=Command,
    examples="""
    prompt nights prune --keep-days 400
    prompt nights prune --before 2026-01-01 --database nights.db --dry-run
    """,
    statuses={1: "the database cannot be written"},
)
@_database
@click.option("--keep-days", type=click.IntRange(1, 100_000), metavar="DAYS", help="Days that stay.")
@click.option("--before", type=NIGHT, metavar="NIGHT", help="First night that stays.")
@click.option("--dry-run", is_flag=True, help="Only list the nights.")
def prune(database: str | None, keep_days: int | None, before: str | None, dry_run: bool) -> None:
    """Remove old nights from the database, each in a transaction of its own.

    The projector may run meanwhile. Images, alerts and the APDB are not touched.
    """
    import time

    from prompt_processing.domain.clock import day_text, night
    from prompt_processing.nights.database import NightsUnavailableError
    from prompt_processing.nights.pruning import prune_nights

    if database is None:
        raise click.UsageError("Name the database with --database or NIGHTS_DATABASE.")
    if (keep_days is None) == (before is None):
        raise click.UsageError("Give either --keep-days or --before.")
    first = before or night(time.time() - 86_400 * (keep_days or 0))
    n_nights = 0
    try:
        for one in prune_nights(_file_in_folder(database), int(first.replace("-", "")), dry_run=dry_run):
            n_nights += 1
            click.echo(f"{day_text(one.night)}: {one.n_visits} visits")
    except (NightsUnavailableError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{n_nights} nights before {first} {'would be' if dry_run else 'are'} removed.")


def _file_in_folder(place: str) -> str:
    return str(Path(place) / DATABASE) if Path(place).is_dir() else place
