"""``prompt navigator``: show nights, images and objects in a browser."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prompt_processing.cli.command import Command, option
from prompt_processing.cli.options import log_to_stderr

if TYPE_CHECKING:
    from prompt_processing.navigator.sources import Places

_WHAT = "What it shows"
_NOTES = "Flags and notes"
_WHERE = "Where it serves"


@click.command(
    cls=Command,
    examples="""
    prompt navigator demo-output                        # the night that prompt demo --keep left
    prompt navigator --repo /repo/embargo --nights postgresql://db/nights --apdb postgresql://db/apdb
    prompt navigator demo-output --prefix /navigator --origin night.example.org
    """,
    settings_note="Credentials of databases are read from LSST_DB_AUTH, PGPASSWORD or the URL.",
    statuses={1: "the port is unavailable"},
)
@click.argument(
    "demo", required=False, type=click.Path(path_type=Path), help="Output folder of prompt demo --keep."
)
@option(
    "--repo",
    "repository",
    metavar="URI",
    section=_WHAT,
    envvar=["BUTLER_URI", "BUTLER_DEFAULT_REPO"],
    show_envvar=True,
    help="Butler repository, or its name in the file of DAF_BUTLER_REPOSITORY_INDEX.",
)
@option("--nights", metavar="URL", section=_WHAT, help="Database of nights, or its SQLite file.")
@option(
    "--apdb",
    metavar="URI",
    section=_WHAT,
    envvar="CONFIG_APDB",
    show_envvar=True,
    help="Configuration of an SQL APDB, or URL of its database.",
)
@option("--apdb-schema", metavar="NAME", section=_WHAT, help="Schema of the APDB in PostgreSQL.")
@option(
    "--alerts",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    section=_WHAT,
    help="Folder of alert packets.",
)
@option(
    "--collection",
    metavar="NAME",
    section=_WHAT,
    envvar="BUTLER_DEFAULT_COLLECTION",
    show_envvar=True,
    help="Collection whose plots are shown first.",
)
@option(
    "--summaries",
    metavar="URI",
    section=_WHAT,
    help="Folder of the files that prompt repo summarize-plots writes.",
)
@option(
    "--remarks",
    metavar="URL",
    section=_NOTES,
    help="Database of flags and notes, or its SQLite file.  [default: no remarks]",
)
@option(
    "--user-header",
    metavar="NAME",
    section=_NOTES,
    help="Header in which the proxy names the user, such as X-Forwarded-User. Set it only where browsers "
    "cannot pass the proxy by.  [default: remarks have no name]",
)
@option(
    "--port",
    type=click.IntRange(0, 65535),
    default=5006,
    show_default=True,
    section=_WHERE,
    help="Port; 0 for any free one.",
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
    default="",
    metavar="PATH",
    section=_WHERE,
    help="Path under which a proxy publishes the pages.",
)
@option(
    "--origin",
    "origins",
    several=True,
    metavar="HOST[:PORT]...",
    section=_WHERE,
    help="Public host from which browsers connect.  [default: this machine]",
)
@option(
    "--reload",
    is_flag=True,
    section=_WHERE,
    help="Start again when the code changes, for developers; browsers load their pages again.",
)
def main(
    demo: Path | None,
    port: int,
    address: str,
    prefix: str,
    origins: tuple[str, ...],
    reload: bool,
    **given: Any,
) -> int:
    """Show nights, visits, detectors' images, objects and plots in a browser.

    Repository, databases and alerts are opened to read; only flags and notes are written, to a database of
    their own. A page whose source is missing or
    unreachable says so, and recovers by itself. There is no login: publish the port only behind a proxy that
    has one.
    """
    from prompt_processing.navigator.app import make_server
    from prompt_processing.navigator.sources import Sources

    log_to_stderr()
    sources = Sources(_places(demo, given))
    try:
        server = make_server(sources, port, prefix, origins, address)
    except OSError as error:
        raise click.ClickException(f"Port {port} is unavailable: {error}") from error
    host = "localhost" if address in ("127.0.0.1", "0.0.0.0") else address
    click.echo(f"http://{host}:{server.port}{server.prefix}/  (Ctrl-C stops it)")
    loop = server.io_loop
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: loop.add_callback_from_signal(loop.stop))
    server.start()
    changed = threading.Event()
    if reload:
        _follow_code(changed, loop.stop)
    loop.start()
    server.stop(wait=False)
    sources.close()
    if changed.is_set():
        from .reloading import start_again

        start_again()
    return 0


def _follow_code(changed: threading.Event, stop: Callable[[], None]) -> None:
    """Stop the server when the code has changed and a second has passed without another change."""
    from tornado.ioloop import PeriodicCallback

    from .reloading import code_folders, newest_change

    folders = code_folders()
    before = seen = newest_change(folders)

    def look() -> None:
        nonlocal seen
        now = newest_change(folders)
        if now != before and now == seen:
            changed.set()
            stop()
        seen = now

    PeriodicCallback(look, 1000).start()


def _places(demo: Path | None, given: dict[str, Any]) -> Places:
    from prompt_processing.navigator.sources import Places

    places = Places()
    if demo is not None:
        if not demo.is_dir():
            raise click.BadParameter(f"{demo} is not a folder.", param_hint="DEMO")
        places = Places.of_demo(demo)
        if places.repository is None and places.nights is None:
            raise click.BadParameter(
                f"{demo} has no night: run prompt demo --keep --output {demo}.", param_hint="DEMO"
            )
    return places.with_given(**given)
