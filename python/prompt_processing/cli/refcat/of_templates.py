"""``prompt refcat of-templates``: make reference stars of the templates."""

from __future__ import annotations

import logging

import click

from prompt_processing.cli.command import Command
from prompt_processing.cli.options import INSTRUMENT, log_to_stderr


@click.command(
    cls=Command,
    examples="""
    prompt refcat of-templates --repo central_repo --instrument DECam
    """,
    statuses={1: "the repository has no templates, or no stars on them"},
)
@click.option("--repo", required=True, metavar="URI", help="Butler repository.")
@click.option("--instrument", required=True, type=INSTRUMENT, help="Camera whose templates are measured.")
@click.option(
    "--name", default="of_templates", show_default=True, metavar="NAME", help="Name of the catalogue."
)
def main(repo: str, instrument: str, name: str) -> int:
    """Make reference stars of the templates, where no catalogue exists.

    Images are then calibrated relative to their templates: positions as in the templates' WCS, zero points
    on their flux scale.
    """
    from lsst.daf.butler import Butler

    from prompt_processing.butler.collections import Collections
    from prompt_processing.butler.types import use_butler_types
    from prompt_processing.repository.catalogues.errors import CatalogueError
    from prompt_processing.repository.catalogues.importing import enter_stars
    from prompt_processing.repository.catalogues.of_templates import stars_of_templates

    log_to_stderr(logging.INFO, "%(message)s")
    use_butler_types()
    try:
        with Butler.from_config(repo, writeable=True) as butler:
            stars = stars_of_templates(butler, Collections(instrument).templates)
            entered = enter_stars(butler, stars, name)
    except (CatalogueError, FileNotFoundError) as error:
        raise click.ClickException(f"{repo}: {error}") from error
    click.echo(f"Entered {entered.stars} stars in {entered.shards} shards into {entered.run}.")
    return 0
