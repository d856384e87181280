"""``prompt initializer``: prepare a night, before it begins."""

from __future__ import annotations

import click

from prompt_processing.cli.command import Command
from prompt_processing.cli.options import NIGHT


@click.command(
    cls=Command,
    settings="prompt_processing.initializer.config:InitializerSettings",
    settings_note="Use the workers' values: output runs are named after them.",
    examples="""
    prompt initializer
    prompt initializer --night 2026-06-09
    """,
    statuses={
        1: "the repository does not respond, or has other init-outputs",
        3: "the settings are unusable",
    },
)
@click.option("--night", type=NIGHT, help="Day of observation of the processing.  [default: today's]")
def main(night: str | None) -> int:
    """Create a night's output runs in the central repository and write their init-outputs.

    Run it once before the first visit. Running it again, or twice at once, is harmless.
    """
    from prompt_processing.initializer.process import run_initializer

    return run_initializer(night)
