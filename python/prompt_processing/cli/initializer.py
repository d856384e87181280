"""``prompt initializer``: prepare a night; run once before it begins."""

from __future__ import annotations

import click

from .command import Command
from .options import NIGHT


@click.command(
    cls=Command,
    settings="prompt_processing.initializer.config:InitializerSettings",
    settings_note="The values must be those of the workers: output runs are named after them.",
    examples="""
    prompt initializer
    prompt initializer --night 2026-06-09
    """,
    statuses={
        1: "the repository does not answer, or has other init-outputs",
        3: "the settings are unusable",
    },
)
@click.option("--night", type=NIGHT, help="Day of observation of the processing.  [default: today's]")
def main(night: str | None) -> int:
    """Make the output runs of a night in the central repository and write their init-outputs.

    Run it once before the first visit. To run it again, or twice at once, does no harm.
    """
    from prompt_processing.initializer.process import run_initializer

    return run_initializer(night)
