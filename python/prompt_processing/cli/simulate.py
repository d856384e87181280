"""``prompt simulate``: simulate raws, calibrations, templates and reference stars."""

from __future__ import annotations

import os
from pathlib import Path

import click

from .command import Command
from .options import INSTRUMENT, NUMBERS

_SMALL = (64, 256)
"""Columns and rows of an amplifier, enough for one or two reference stars."""


@click.command(
    cls=Command,
    examples="""
    prompt simulate --small --visits 2 night
    prompt repo make --content night central_repo
    """,
)
@click.argument("folder", type=click.Path(path_type=Path), help="New folder for the night.")
@click.option("--instrument", type=INSTRUMENT, default="LSSTCam", show_default=True, help="Camera.")
@click.option("--detectors", type=NUMBERS, help="Detector ids, such as 90,94.  [default: the central one]")
@click.option(
    "--visits",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Number of visits, all of one field.",
)
@click.option(
    "--seed",
    type=int,
    default=1,
    show_default=True,
    help="Random seed; the same seed simulates the same night.",
)
@click.option(
    "--small", is_flag=True, help="Simulate small detectors and no templates: seconds instead of minutes."
)
def main(
    folder: Path, instrument: str, detectors: tuple[int, ...] | None, visits: int, seed: int, small: bool
) -> int:
    """Simulate a night: raws, and the inputs that a central repository needs to process them.

    FOLDER receives raws as a pool for the tester, calibrations, templates and reference stars.
    """
    if folder.exists() and any(folder.iterdir()):
        raise click.UsageError(f"{folder} is not empty.")

    from prompt_processing.instruments.camera import load_camera
    from prompt_processing.simulation.night import build_night

    camera = load_camera(instrument)
    central = min(camera.detectors.values(), key=lambda one: one.x_mm**2 + one.y_mm**2)
    try:
        night = build_night(
            folder,
            instrument,
            detectors or [central.id],
            visits,
            seed,
            # Further processes would take longer to start than small detectors take.
            workers=1 if small else os.cpu_count() or 1,
            miniature=_SMALL if small else None,
            n_template=0 if small else 4,
        )
    except (LookupError, ValueError) as error:
        raise click.UsageError(str(error)) from error
    click.echo(f"{len(night.raws)} raws of {instrument} are in {night.pool}")
    return 0
