"""``prompt flow deploy``: register flows at a Prefect server."""

from __future__ import annotations

from pathlib import Path

import click

from prompt_processing.cli.command import Command
from prompt_processing.flows.table import FLOWS


@click.command(
    cls=Command,
    examples="""
    prompt flow deploy --schedules schedules.yaml --pool day      # all flows of the file
    prompt flow deploy build-calibrations --pool day              # without a schedule, to run by hand
    prefect worker start --pool day                               # runs them
    """,
    settings_note=(
        "PREFECT_API_URL names the server. Also read from the environment: WM_RUN_CONFIG_TYPE, "
        "WM_DATA_PIPELINE_IMAGE, and what the flows read, which is passed on to their runs."
    ),
    statuses={1: "the server does not answer, or the file of schedules is unusable"},
)
@click.argument(
    "names", nargs=-1, type=click.Choice(list(FLOWS)), help="Flows.  [default: those of --schedules]"
)
@click.option(
    "--schedules",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="YAML: parameters and times by flow.",
)
@click.option("--pool", default="day", show_default=True, help="Work pool; created if missing.")
@click.option("--dry-run", is_flag=True, help="Check the schedules, and register nothing.")
def main(names: tuple[str, ...], schedules: Path | None, pool: str, dry_run: bool) -> None:
    """Register flows as deployments, so that a Prefect server runs them at their times.

    A worker of the pool must run: prefect worker start --pool NAME.
    """
    from prompt_processing.flows.deploy import deploy, read_schedules
    from prompt_processing.flows.errors import FlowError
    from prompt_processing.flows.settings import FlowSettings
    from prompt_processing.settings.environment import SettingsError

    try:
        plans = read_schedules(schedules) if schedules else {}
        chosen = {name: plans.get(name) for name in names or plans}
        if not chosen:
            raise click.UsageError("Name flows, or a file with --schedules.")
        for line in deploy(chosen, pool, FlowSettings.load(), dry_run=dry_run):
            click.echo(line)
    except (FlowError, SettingsError) as error:
        raise click.ClickException(str(error)) from error
