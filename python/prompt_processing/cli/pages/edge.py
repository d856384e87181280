"""``prompt edge``: one address with a login before all pages, on this machine."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import click

from prompt_processing.cli.command import Command, option
from prompt_processing.cli.options import log_to_stderr

from .https import https_options

_PAGES = "Pages behind it"
_LOGIN = "Login and certificates"


@click.command(
    cls=Command,
    examples="""
    prompt edge demo-output                        # board and navigator of a kept demo, behind the edge
    prompt edge --board 127.0.0.1:8000 --navigator 127.0.0.1:5006
    prompt edge --host night.example.org --port 443 --http-port 80 \\
        --acme https://acme-v02.api.letsencrypt.org/directory \\
        --issuer https://login.example.org --client-id night --client-secret-file secret
    """,
    statuses={1: "a server did not start", 3: "software is missing"},
)
@click.argument(
    "demo",
    required=False,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Output folder of prompt demo --keep: its board and navigator are started too.",
)
@option("--board", metavar="HOST:PORT", section=_PAGES, help="Night board, at /.  [default: 127.0.0.1:8000]")
@option("--navigator", metavar="HOST:PORT", section=_PAGES, help="At /navigator.  [default: 127.0.0.1:5006]")
@option("--hub", metavar="HOST:PORT", section=_PAGES, help="JupyterHub, at /hub.  [default: 127.0.0.1:8001]")
@option("--flows", metavar="HOST:PORT", section=_PAGES, help="Prefect, at /flows.  [default: 127.0.0.1:4200]")
@option("--host", default="localhost", show_default=True, help="Name in the address.")
@https_options("edge", "certificates, configuration and logs")
@option(
    "--issuer",
    metavar="URL",
    section=_LOGIN,
    help="OpenID Connect provider.  [default: one that asks for a name only]",
)
@option("--client-id", metavar="NAME", section=_LOGIN, help="The edge's name at the provider.")
@option(
    "--client-secret-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    section=_LOGIN,
    help="File with the edge's password at the provider.",
)
@option(
    "--groups-claim",
    default="groups",
    show_default=True,
    section=_LOGIN,
    help="Claim with a person's groups.",
)
@option(
    "--acme",
    metavar="URL",
    section=_LOGIN,
    help="ACME directory of a certificate authority.  [default: a local one]",
)
def main(
    demo: Path | None,
    host: str,
    port: int,
    http_port: int,
    folder: Path,
    issuer: str | None,
    client_id: str | None,
    client_secret_file: Path | None,
    groups_claim: str,
    acme: str | None,
    **pages: str | None,
) -> int:
    """Serve all pages at one https address, behind one login.

    Members of the groups scientists and operators see the board, the navigator and the notebooks; operators
    see the flows too. Without options, certificates come from an authority on this machine that browsers do
    not trust, and the login accepts operator, scientist and visitor without a password: for a laptop only.
    """
    from pydantic import SecretStr

    from prompt_processing.edge import Edge, Pages
    from prompt_processing.edge.edge import Provider
    from prompt_processing.services.installation import MissingSoftwareError
    from prompt_processing.services.server import ServerFailedError
    from prompt_processing.settings.service_loop import asked_to_stop

    log_to_stderr()
    provider = None
    if issuer is not None:
        if client_id is None or client_secret_file is None:
            raise click.UsageError("--issuer needs --client-id and --client-secret-file.")
        secret = SecretStr(client_secret_file.read_text(encoding="utf-8").strip())
        provider = Provider(
            issuer=issuer, client_id=client_id, client_secret=secret, groups_claim=groups_claim
        )
    elif client_id is not None or client_secret_file is not None:
        raise click.UsageError("--client-id and --client-secret-file need --issuer.")
    with contextlib.ExitStack() as stack:
        try:
            if demo is not None:
                from prompt_processing.edge.pages import serve_demo

                pages |= stack.enter_context(serve_demo(demo, host, port, folder))
            places = Pages(**{name: value for name, value in pages.items() if value is not None})
            edge = Edge(
                folder, places, host=host, port=port, http_port=http_port, provider=provider, acme=acme
            )
            stack.enter_context(edge)
        except MissingSoftwareError as error:
            click.echo(str(error), err=True)
            return 3
        except ServerFailedError as error:
            click.echo(str(error), err=True)
            return 1
        click.echo(f"{edge.url}/  (Ctrl-C stops it)")
        if provider is None:
            click.echo("Log in as operator, scientist or visitor.")
        asked_to_stop().wait()
    sys.stderr.flush()
    return 0
