"""``prompt board``: serve the night board."""

from __future__ import annotations

from pathlib import Path

import click

from prompt_processing.cli.command import Command, option

_WHERE = "Where it serves"


@click.command(
    cls=Command,
    examples="""
    prompt board demo-output                              # the night of prompt demo, also while it runs
    prompt board postgresql://reader@db/nights --address 0.0.0.0 --port 8000 --prefix /board
    """,
    settings_note="NIGHTS_DATABASE names the database if the command line does not. Its password is read "
    "from LSST_DB_AUTH, PGPASSWORD or the URL.",
    statuses={1: "the port is unavailable, or the address of the database is unusable"},
)
@click.argument(
    "place",
    metavar="[DATABASE|FOLDER]",
    envvar="NIGHTS_DATABASE",
    help="Database of nights, or folder of prompt demo or prompt watch.",
)
@option(
    "--port", type=click.IntRange(1, 65535), default=8000, show_default=True, section=_WHERE, help="Port."
)
@option(
    "--address",
    default="127.0.0.1",
    show_default=True,
    section=_WHERE,
    help="Address to listen on; 0.0.0.0 for all.",
)
@option(
    "--prefix",
    default="/",
    show_default=True,
    metavar="PATH",
    section=_WHERE,
    help="Path under which a proxy publishes the page.",
)
@option(
    "--workers",
    type=click.IntRange(1, 32),
    default=2,
    show_default=True,
    section=_WHERE,
    help="Number of server processes.",
)
@click.option(
    "--late-after",
    type=click.FloatRange(min=1),
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="Time after its announcement at which an unfinished visit is late.",
)
def main(place: str, port: int, address: str, prefix: str, workers: int, late_after: float) -> None:
    """Serve a page that shows a night as it happens, for many viewers.

    Nothing is written, and all replicas show the same. If the database does not answer, the page stays, says
    how old the data are, and recovers. There is no login: publish the port only behind a proxy that has one.
    """
    from prompt_processing.board.serve import BoardOptions, following, serve
    from prompt_processing.domain.night_folder import DATABASE, OUTCOMES
    from prompt_processing.nights.tables import database_url

    folder, database = None, place
    if Path(place).is_dir():
        database = str(Path(place) / DATABASE)
        folder = Path(place) / OUTCOMES
        if not folder.is_dir() and not Path(database).exists():
            raise click.ClickException(f"{place} has neither {OUTCOMES} nor {DATABASE}: no night is in it.")
    try:
        database_url(database)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"http://{address}:{port}/{prefix.strip('/')}  (Ctrl-C stops it)")
    with following(folder if folder is not None and folder.is_dir() else None, database):
        serve(BoardOptions(database, address, port, prefix, workers, late_after))
