"""``prompt night-report``: write the report of a night as one page."""

from __future__ import annotations

from pathlib import Path

import click

from prompt_processing.cli.command import Command, option
from prompt_processing.cli.options import INSTRUMENT, NIGHT, log_to_stderr


@click.command(
    cls=Command,
    examples="""
    prompt night-report 2026-11-28 --database night.db --apdb apdb.yaml --alerts /archive/alerts
    prompt night-report 2026-11-28 --database night.db --notebook mine.ipynb -o mine.html
    """,
    statuses={1: "the night cannot be read, or a cell of the notebook fails"},
)
@click.argument("night", type=NIGHT, help="Observing day.")
@option(
    "--database",
    envvar="NIGHTS_DATABASE",
    show_envvar=True,
    required=True,
    metavar="URL",
    help="Database of nights (prompt nights project): URL or SQLite file.",
    section="What is read",
)
@option(
    "--apdb",
    envvar="CONFIG_APDB",
    show_envvar=True,
    default="",
    metavar="URI",
    help="Configuration of the APDB, for the sections about sources.",
    section="What is read",
)
@option(
    "--alerts",
    type=click.Path(exists=True, path_type=Path),
    metavar="PATH",
    help="Alerts, for cutouts: a folder, such as an archive's.",
    section="What is read",
)
@option("--instrument", type=INSTRUMENT, default=None, help="Camera.  [default: all]", section="What is read")
@option(
    "--transients",
    type=click.IntRange(0, 200),
    default=12,
    show_default=True,
    help="Number of brightest transients.",
    section="The page",
)
@option(
    "--notebook",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Notebook of your own, with a cell tagged parameters.  [default: the package's]",
    section="The page",
)
@option(
    "--write-notebook",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the notebook with its outputs, too, to change it.",
    section="The page",
)
@option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Page.  [default: night-report-<NIGHT>.html]",
    section="The page",
)
def main(
    night: str,
    database: str,
    apdb: str,
    alerts: Path | None,
    instrument: str | None,
    transients: int,
    notebook: Path | None,
    write_notebook: Path | None,
    output: Path | None,
) -> int:
    """Write the report of a night as one HTML page without external requests.

    It shows the weather of the data, latency by stage, failures by reason, alerts by class, movers, the
    brightest transients with cutouts, and template coverage.
    """
    from prompt_processing.archive.errors import ArchiveError
    from prompt_processing.archive.night_report.page import NOTEBOOK, write_report

    log_to_stderr()
    path = output or Path(f"night-report-{night}.html")
    parameters = {
        "night": night,
        "instrument": instrument or "",
        "database": _absolute(database),
        "apdb": _absolute(apdb),
        "alerts": str(alerts.absolute()) if alerts else "",
        "transients": transients,
    }
    title = f"Night {night}" + (f", {instrument}" if instrument else "")
    try:
        write_report(path, parameters, title, notebook or NOTEBOOK, write_notebook)
    except (ArchiveError, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"The report is {path}.")
    return 0


def _absolute(place: str) -> str:
    return str(Path(place).absolute()) if place and Path(place).exists() else place
