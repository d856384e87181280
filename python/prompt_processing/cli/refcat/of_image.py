"""``prompt refcat of-image``: make reference stars of a raw image."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from prompt_processing.cli.command import Command
from prompt_processing.cli.options import INSTRUMENT, log_to_stderr


@click.command(
    cls=Command,
    examples="""
    prompt refcat of-image ngc7331/1.fits --repo central_repo --instrument OrionG3 --position 339.267 34.416
    """,
    statuses={1: "the file is not an image of the camera, or has no position or no stars"},
)
@click.argument(
    "raw", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A good science exposure."
)
@click.option("--repo", required=True, metavar="URI", help="Butler repository, with calibrations.")
@click.option("--instrument", required=True, type=INSTRUMENT, help="Camera.")
@click.option(
    "--position",
    type=(click.FloatRange(0, 360), click.FloatRange(-90, 90)),
    metavar="RA DEC",
    help="Centre of the field, degrees.  [default: that of the header]",
)
@click.option(
    "--zero-point",
    type=float,
    default=25.0,
    show_default=True,
    metavar="MAG",
    help="AB magnitude of one electron per second.",
)
@click.option("--name", default="of_image", show_default=True, metavar="NAME", help="Name of the catalogue.")
@click.option("--add", is_flag=True, help="Add the field to a catalogue of this name.")
def main(
    raw: Path,
    repo: str,
    instrument: str,
    position: tuple[float, float] | None,
    zero_point: float,
    name: str,
    add: bool,
) -> int:
    """Make reference stars of one raw image, where neither a catalogue nor templates of its field exist.

    Other images of the field are then calibrated relative to it. Their positions are as good as the position
    that is given, and their magnitudes as good as the zero point.
    """
    from lsst.daf.butler import Butler

    from prompt_processing.butler.collections import Collections
    from prompt_processing.butler.types import use_butler_types
    from prompt_processing.repository.catalogues.errors import CatalogueError
    from prompt_processing.repository.catalogues.importing import enter_stars
    from prompt_processing.repository.catalogues.of_image import calibrations_of, stars_of_image

    log_to_stderr(logging.INFO, "%(message)s")
    use_butler_types()
    collections = Collections(instrument)
    try:
        with Butler.from_config(repo, writeable=True) as butler:
            camera = butler.get("camera", instrument=instrument, collections=collections.calib)
            stars = stars_of_image(
                raw,
                camera,
                lambda observation: calibrations_of(butler, collections.calib, observation),
                position,
                zero_point,
            )
            entered = enter_stars(butler, stars, name, add=add)
    except (CatalogueError, FileNotFoundError) as error:
        raise click.ClickException(f"{repo}: {error}") from error
    click.echo(f"Entered {len(stars)} stars of {raw.name} in {entered.shards} shards into {entered.run}.")
    return 0
