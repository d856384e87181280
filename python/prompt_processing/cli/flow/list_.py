"""``prompt flow list``: list the flows."""

from __future__ import annotations

import click

from prompt_processing.cli.command import Command
from prompt_processing.flows.table import FLOWS


@click.command(cls=Command, examples="prompt flow list")
def main() -> None:
    """List the flows: what an observatory does by day.

    For the parameters of a flow, run: prompt flow run NAME --help.
    """
    width = max(map(len, FLOWS))
    for name, entry in FLOWS.items():
        click.echo(f"{name:{width}}  {entry.summary}")
