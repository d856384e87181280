"""``prompt alerts show``: decode alerts, then show them or write their cutouts."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from prompt_processing.cli.command import Command

_WIDTH_OF_FILES = 250


@click.command(
    cls=Command,
    examples="""
    prompt alerts show demo-output/alerts
    prompt alerts show alerts --id 3241512345678901 --cutouts stamps
    prompt alerts show /tmp/unsent-alerts --json > alerts.json
    """,
    statuses={1: "no alert was found, or one cannot be read"},
)
@click.argument(
    "paths",
    nargs=-1,
    required=True,
    metavar="PATH...",
    type=click.Path(exists=True, path_type=Path),
    help="An alert, a tar of kept alerts, an Avro file, or a folder of these.",
)
@click.option("--id", "ids", type=int, multiple=True, help="Show only this diaSourceId; repeatable.")
@click.option("--tree", is_flag=True, help="Show each alert as a tree.  [default: for a single alert]")
@click.option("--json", "as_json", is_flag=True, help="Write a JSON array, with FITS files in base 64.")
@click.option(
    "--cutouts",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Write the cutouts to this folder, as <diaSourceId>_{science,template,difference}.fits.",
)
@click.option(
    "--registry",
    envvar="KAFKA_SCHEMA_REGISTRY_URL",
    show_envvar=True,
    metavar="URL",
    help="Schema registry, for schemas that are not installed.",
)
def main(
    paths: tuple[Path, ...],
    ids: tuple[int, ...],
    tree: bool,
    as_json: bool,
    cutouts: Path | None,
    registry: str | None,
) -> int:
    """Decode alerts and show them: many as a table, one as a tree.

    Alerts may have Confluent's framing, as on the broker, or not. Null fields are not shown.
    """
    from rich.console import Console

    from prompt_processing.alerts.reading import AlertReader, FoundAlert, UnreadableAlertError
    from prompt_processing.operators import show_alerts
    from prompt_processing.settings.environment import SettingsError
    from prompt_processing.settings.kafka import SchemaRegistrySettings

    try:
        # Credentials and certificates come from the environment.
        settings = SchemaRegistrySettings.load(kafka_schema_registry_url=registry or "")
    except SettingsError as error:
        raise click.UsageError(str(error)) from error
    reader = AlertReader(settings.schema_registry)
    console = Console(
        # A file or a pipe gets whole lines.
        width=None if sys.stdout.isatty() else _WIDTH_OF_FILES,
        highlight=False,
        markup=False,
        emoji=False,
    )
    rows: list[tuple[str, ...]] = []
    first: FoundAlert | None = None
    n_files = n_unreadable = 0
    for alert in (alert for path in paths for alert in reader.read(path)):
        content = alert.content
        if isinstance(content, UnreadableAlertError):
            click.echo(f"Error: {content}", err=True)
            n_unreadable += 1
            continue
        if ids and not show_alerts.source_ids(content).intersection(ids):
            continue
        first = first or alert
        if cutouts is not None:
            n_files += show_alerts.write_cutouts(content, cutouts)
        if as_json:
            click.echo("," if rows else "[", nl=bool(rows))
            click.echo(json.dumps(show_alerts.as_json(content)), nl=False)
        elif tree:
            show_alerts.show_alert(console, content, alert.where)
        rows.append(show_alerts.alert_row(content))
    if as_json:
        click.echo("]" if rows else "[]")
    elif first is None:
        click.echo("Error: No readable alert was found.", err=True)
    elif not tree and len(rows) == 1 and isinstance(first.content, dict):
        show_alerts.show_alert(console, first.content, first.where)
    elif not tree:
        show_alerts.show_table(console, rows)
    if cutouts is not None:
        click.echo(f"{n_files} cutouts are in {cutouts}", err=True)
    return 1 if n_unreadable or first is None else 0
