"""``prompt templates build``: make templates of the images of visits."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prompt_processing.cli.command import Command
from prompt_processing.cli.options import INSTRUMENT, NUMBERS, log_to_stderr

if TYPE_CHECKING:
    from astropy.time import Time


@click.command(
    cls=Command,
    examples="""
    prompt templates build --repo central_repo --instrument small --new-skymap fields --page templates.html
    prompt templates build --repo central_repo --instrument DECam --before 2026-09-10 --seeing 1.2
    """,
    statuses={
        1: "the templates cannot be made",
        4: "no patch has enough visits; no template is made",
    },
)
@click.option("--repo", required=True, metavar="URI", help="Butler repository with the images.")
@click.option("--instrument", required=True, type=INSTRUMENT, help="Camera.")
@click.option(
    "--name", metavar="NAME", help="Collection <INSTRUMENT>/templates/NAME.  [default: date and time]"
)
@click.option(
    "--collections",
    metavar="NAME,NAME...",
    help="Collections of the preliminary_visit_image.  [default: <INSTRUMENT>/prompt/*]",
)
@click.option("--skymap", metavar="NAME", help="Sky map of the templates.  [default: the only one]")
@click.option("--new-skymap", metavar="NAME", help="Make this sky map around the images, and use it.")
@click.option("--visits", type=NUMBERS, metavar="N,N...", help="Visits to choose from.  [default: all]")
@click.option(
    "--nights",
    nargs=2,
    type=int,
    metavar="FIRST LAST",
    help="Nights of the visits, YYYYMMDD.  [default: all]",
)
@click.option(
    "--before", metavar="TIME", help="Only visits that ended before this time, UTC: before a transient."
)
@click.option("--seeing", type=float, metavar="ARCSEC", help="Largest FWHM.")
@click.option("--depth", type=float, metavar="MAG", help="Least 5-sigma limiting magnitude.")
@click.option("--background", type=float, metavar="ELECTRONS", help="Largest sky level of a pixel.")
@click.option(
    "--least",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Least visits of a patch. Nothing is rejected where there is only one.",
)
@click.option(
    "--page", type=click.Path(path_type=Path), metavar="FILE", help="Page of figures and pictures, HTML."
)
@click.option("--no-publish", is_flag=True, help="Only make them: workers keep the earlier templates.")
def main(
    repo: str,
    instrument: str,
    name: str | None,
    collections: str | None,
    skymap: str | None,
    new_skymap: str | None,
    visits: tuple[int, ...] | None,
    nights: tuple[int, int] | None,
    before: str | None,
    seeing: float | None,
    depth: float | None,
    background: float | None,
    least: int,
    page: Path | None,
    no_publish: bool,
) -> int:
    """Make templates of the images of visits.

    The images are warped to the patches of the sky map; what moves or flashes is rejected, and the rest is
    averaged. Workers find the new templates before older ones, once all are made.
    """
    import numpy as np
    from lsst.daf.butler import Butler
    from lsst.pipe.base import AlgorithmError

    from prompt_processing.butler.types import use_butler_types
    from prompt_processing.domain.errors import RepositoryProblemError
    from prompt_processing.imaging.errors import NumericalError
    from prompt_processing.repository.templates.build import (
        build_templates,
        choose_sky_map,
        make_sky_map,
        publish,
    )
    from prompt_processing.repository.templates.page import write_page
    from prompt_processing.repository.templates.selection import Limits, select_images

    if skymap and new_skymap:
        raise click.UsageError("--skymap and --new-skymap exclude each other.")
    log_to_stderr(logging.WARNING)
    # It names the stack's types, which are not needed: the images are read as types of this package.
    logging.getLogger("lsst.daf.butler._storage_class").setLevel(logging.ERROR)
    limits = Limits(
        visits or (),
        nights,
        _time(before),
        np.inf if seeing is None else seeing,
        -np.inf if depth is None else depth,
        np.inf if background is None else background,
    )
    use_butler_types()
    label = name or datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    try:
        with Butler.from_config(repo, writeable=True) as butler:
            candidates = select_images(
                butler, instrument, limits, tuple(collections.split(",")) if collections else ()
            )
            for candidate in candidates:
                if candidate.left_out:
                    click.echo(f"{candidate.name}: left out, {candidate.left_out}.")
            chosen = sum(not candidate.left_out for candidate in candidates)
            click.echo(f"{chosen} of {len(candidates)} images are chosen.")
            if new_skymap:
                made = make_sky_map(butler, new_skymap, candidates)
                click.echo(
                    f"Made the sky map {made.name}: {len(made.tracts)} tracts of {made.patches_per_side} x "
                    f"{made.patches_per_side} patches, {made.pixel_scale:g} arcsec a pixel."
                )
            sky_map = choose_sky_map(butler, new_skymap or skymap)
            build = build_templates(butler, instrument, candidates, sky_map, label, least=least)
            for patch in build.patches:
                figures = patch.figures
                if patch.ref is None:
                    click.echo(f"{patch.name}: not made, {int(figures.get('visits', 0))} visits.")
                    continue
                click.echo(
                    f"{patch.name}: {int(figures['visits'])} visits, seeing "
                    f"{figures.get('seeing_fwhm_arcsec', np.nan):.2f} arcsec, depth "
                    f"{figures.get('limiting_magnitude_5sigma', np.nan):.2f} mag, {figures['coverage']:.0%} "
                    f"covered, {int(figures['holes'])} pixels in holes."
                )
            if page is not None:
                write_page(page, butler, build, candidates)
                click.echo(f"Look at {page}.")
            if not build.made:
                click.echo(f"No patch has {least} visits: --least allows fewer.")
                return 4
            if no_publish:
                click.echo(f"The templates are in {build.run}.")
                return 0
            publish(butler, build)
    except (RepositoryProblemError, NumericalError, AlgorithmError, FileNotFoundError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"Workers use {build.run} from now on.")
    return 0


def _time(text: str | None) -> Time | None:
    """Read a time, UTC."""
    from astropy.time import Time

    if text is None:
        return None
    try:
        return Time(text, scale="utc").tai
    except ValueError as error:
        raise click.UsageError(f"--before {text!r} is not a time such as 2026-09-10T12:00:00.") from error
