"""``prompt instrument list``: list the described instruments."""

from __future__ import annotations

import click

from ..command import Command


@click.command(
    cls=Command,
    examples="""
    prompt instrument list
    PROMPT_INSTRUMENT_PATH=~/instruments prompt instrument list
    """,
    settings_note="PROMPT_INSTRUMENT_PATH names folders with further instruments, separated by colons.",
    statuses={1: "a description is unusable"},
)
def main() -> int:
    """List the instruments on the search path, of installed packages, and of this package."""
    from prompt_processing.instruments import InstrumentError, load_instrument
    from prompt_processing.instruments.description.registry import instrument_folders

    problems = []
    try:
        folders = instrument_folders()
    except InstrumentError as error:
        raise click.ClickException(error.reason) from error
    width = max(map(len, folders))
    for name, folder in folders.items():
        try:
            found = load_instrument(name)
        except InstrumentError as error:
            problems.append(error.reason)
            continue
        bands = dict.fromkeys(found.camera.filters.values())
        detectors = len(found.camera.detectors)
        click.echo(f"{name:<{width}}  {detectors:>3} detector{'s' * (detectors > 1)}")
        click.echo(f"{'':<{width}}  {found.document.description.strip()}")
        if not found.document.only_keys:
            click.echo(f"{'':<{width}}  bands {' '.join(bands)}")
        click.echo(f"{'':<{width}}  {folder}")
    for problem in problems:
        click.echo(f"Error: {problem}", err=True)
    return 1 if problems else 0
