"""``prompt apdb``: create, inspect and empty an APDB."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from .command import Command
from .options import log_to_stderr

if TYPE_CHECKING:
    from prompt_processing.apdb.administration import ApdbStatus

_INCOMPATIBLE = 2


@click.command(
    cls=Command,
    examples="""
    prompt apdb create --development sqlite:///apdb.db apdb.yaml
    prompt apdb create --namespace pp_apdb postgresql://rubin@host/apdb s3://bucket/apdb.yaml
    """,
    statuses={1: "the database is unusable, or already has an APDB"},
)
@click.argument("database", help="URL, such as postgresql://user@host/apdb or sqlite:///apdb.db.")
@click.argument("config", help="File or s3:// URI for its configuration, to be named in CONFIG_APDB.")
@click.option("--namespace", help="PostgreSQL schema for its tables.")
@click.option("--development", is_flag=True, help="Allow prompt apdb reset to empty it; never in production.")
def create(database: str, config: str, namespace: str | None, development: bool) -> int:
    """Create an APDB in an empty database or namespace."""
    from prompt_processing.apdb import administration
    from prompt_processing.domain.errors import RepositoryProblemError

    log_to_stderr()
    try:
        made = administration.create(database, config, namespace=namespace, development=development)
    except RepositoryProblemError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"Created the APDB {administration.shown(made)}; its configuration is {config}.")
    return 0


@click.command(
    cls=Command,
    examples="""
    prompt apdb status
    prompt apdb status apdb.yaml --json
    """,
    statuses={
        1: "the APDB does not respond",
        _INCOMPATIBLE: "its schema does not match the installed software",
    },
)
@click.argument("config", required=False, envvar="CONFIG_APDB", help="Its configuration.  [CONFIG_APDB]")
@click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")
def status(config: str | None, as_json: bool) -> int:
    """Show the versions and the content of an APDB."""
    found = _status(config)
    if as_json:
        import dataclasses

        click.echo(json.dumps(dataclasses.asdict(found), indent=1))
    else:
        for line in _lines(found):
            click.echo(line)
    return 0 if found.compatible else _INCOMPATIBLE


@click.command(
    cls=Command,
    examples="""
    prompt apdb reset          # asks for the name of the database
    prompt apdb reset --yes
    """,
    statuses={1: "nothing was changed"},
)
@click.argument("config", required=False, envvar="CONFIG_APDB", help="Its configuration.  [CONFIG_APDB]")
@click.option("--yes", "agreed", is_flag=True, help="Do not ask for confirmation.")
def reset(config: str | None, agreed: bool) -> int:
    """Destroy the content of a development APDB and recreate its tables.

    An APDB that was not created with --development is left unchanged.
    """
    from prompt_processing.apdb import administration
    from prompt_processing.domain.errors import RepositoryProblemError

    found = _status(config)
    uri = str(config)
    try:
        administration.require_development(found, uri)
        click.echo("This permanently destroys:")
        for line in _lines(found):
            click.echo(f"  {line}")
        if not agreed and not _agreed(found):
            click.echo("Nothing was changed.")
            return 1
        administration.reset(uri)
    except RepositoryProblemError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{found.database} is empty.")
    return 0


def _status(config: str | None) -> ApdbStatus:
    from prompt_processing.apdb import administration
    from prompt_processing.domain.errors import RepositoryProblemError

    log_to_stderr()
    if not config:
        raise click.ClickException("Name the configuration of the APDB, or set CONFIG_APDB.")
    try:
        return administration.status(config)
    except RepositoryProblemError as error:
        raise click.ClickException(str(error)) from error


def _lines(found: ApdbStatus) -> list[str]:
    fit = "fits" if found.compatible else "DOES NOT FIT"
    return [
        f"database     {found.database}",
        f"schema       {found.schema_version}; {fit} the installed one, {found.installed_version}",
        f"development  {found.development or 'no: prompt apdb reset refuses it'}",
        *(f"{name:<12} {number} rows" for name, number in found.rows.items()),
        f"last visit   {found.last_visit if found.last_visit is not None else 'none'}",
    ]


def _agreed(found: ApdbStatus) -> bool:
    name = found.namespace or found.database.rpartition("/")[2].partition("?")[0]
    try:
        answer = input(f"Type {name} to continue: ")
    except EOFError:
        # Standard input is closed, so no one can answer.
        click.echo()
        return False
    return answer.strip() == name
