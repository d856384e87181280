"""``prompt hub``: notebooks of many people beside a night, on this machine."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from prompt_processing.cli.command import Command, option
from prompt_processing.cli.options import log_to_stderr

from .https import https_options

_NOTEBOOKS = "What the notebooks find"


@click.command(
    cls=Command,
    examples="""
    prompt hub demo-output                               # notebooks, board and navigator of a kept demo
    prompt hub demo-output --environments /opt/environments --notebooks notebooks
    """,
    statuses={1: "a server did not start", 3: "software is missing"},
)
@click.argument(
    "demo",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Output folder of prompt demo, with --keep or --camera small.",
)
@option(
    "--environments",
    metavar="FOLDER",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    section=_NOTEBOOKS,
    help="Folder of environments, as env-create makes them: each becomes a kernel.",
)
@option(
    "--notebooks",
    metavar="FOLDER",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    section=_NOTEBOOKS,
    help="Notebooks that everybody gets a copy of.  [default: the tutorials of the checkout]",
)
@https_options("hub", "home folders, configuration and logs")
def main(
    demo: Path,
    environments: Path | None,
    notebooks: Path | None,
    port: int,
    http_port: int,
    folder: Path,
) -> int:
    """Run notebooks of many people beside a night, with its pages, behind one login.

    Everybody has a notebook server, a home folder with the tutorials, and this environment as a kernel. The
    login accepts operator, scientist and visitor without a password, and all servers run as you: for a laptop
    only. At an observatory, use the chart prompt-hub.
    """
    from pydantic import SecretStr

    from prompt_processing.edge import Edge, Pages
    from prompt_processing.edge.pages import serve_demo
    from prompt_processing.hub import Hub, NightData
    from prompt_processing.services.installation import MissingSoftwareError
    from prompt_processing.services.server import Server, ServerFailedError
    from prompt_processing.services.software import Software
    from prompt_processing.settings.service_loop import asked_to_stop

    log_to_stderr()
    folder = folder.resolve()
    data = NightData.of_demo(demo)
    if data.repository is None:
        raise click.UsageError(f"{demo} has no repository: run prompt demo with --keep or --camera small.")
    software = Software()
    hub = Hub(
        folder=folder / "hub", data=data, environments=environments, notebooks=notebooks or _tutorials()
    )
    with contextlib.ExitStack() as stack:
        try:
            software.install_edge()
            hub.prepare(software)
            server = Server("hub", hub.command(software), hub.ready, folder / "hub.log", detached=False)
            stack.callback(server.stop)
            server.start()
            places = {"hub": hub.address()}
            if data.nights is not None:
                places |= stack.enter_context(serve_demo(demo, "localhost", port, folder))
            server.wait_ready(120.0)
            token = SecretStr(hub.token)
            pages = Pages(**places)
            edge = Edge(folder / "edge", pages, port=port, http_port=http_port, hub_token=token)
            stack.enter_context(edge)
        except MissingSoftwareError as error:
            click.echo(str(error), err=True)
            return 3
        except ServerFailedError as error:
            click.echo(str(error), err=True)
            return 1
        click.echo(f"{edge.url}/hub/  (Ctrl-C stops it)")
        click.echo("Log in as operator or scientist.")
        asked_to_stop().wait()
    return 0


def _tutorials() -> Path | None:
    """Return the notebooks of the checkout; an installed package has none."""
    folder = Path(__file__).resolve().parents[4] / "notebooks"
    return folder if folder.is_dir() else None
