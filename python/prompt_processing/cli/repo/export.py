"""``prompt repo export``: export part of a repository, for import into another."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prompt_processing.butler.opening import open_repository
from prompt_processing.cli.command import Command
from prompt_processing.cli.options import INSTRUMENT, NUMBERS, log_to_stderr

if TYPE_CHECKING:
    from lsst.daf.butler import Butler

    from prompt_processing.repository.export_selection import Selection

_STATUSES = {1: "the repository is unusable, or nothing in it matches"}


def _from_to(command: Callable[..., int]) -> Callable[..., int]:
    """Add the arguments that all exports share."""
    output = click.argument("output", type=click.Path(path_type=Path), help="A new folder for the export.")
    repo = click.argument("repo", help="Repository to export from: path, URI or alias.")
    return repo(output(command))


_INSTRUMENT_OPTION = click.option("--instrument", type=INSTRUMENT, required=True, help="Camera.")


def _visit_options(collection: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    options = (
        click.option(
            "--collection",
            help=f"Collections to search, separated by commas.  [default: {collection}]",
        ),
        click.option("--where", default="", help='Select raws, such as "exposure.day_obs = 20240520".'),
        click.option("--detectors", type=NUMBERS, help="Detector ids, such as 41,42,50.  [default: all]"),
        click.option(
            "--n-exposures", type=click.IntRange(min=1), help="Maximum number of exposures, earliest first."
        ),
        click.option("--no-raws", is_flag=True, help="Omit the raws: a central repository receives its own."),
        click.option(
            "--all-inputs",
            is_flag=True,
            help="Export all calibrations and reference stars, and no raws.",
        ),
        click.option("--skymap", help="Name of the sky map.  [default: all]"),
        click.option(
            "--refcat",
            "refcats",
            multiple=True,
            metavar="TYPE",
            help="Reference catalogue; repeatable.  [default: all]",
        ),
    )

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        for one in reversed(options):
            command = one(command)
        return command

    return decorate


@click.command(
    cls=Command,
    examples="""
    prompt repo export visits central_repo visits --instrument LSSTCam --n-exposures 2
    prompt repo export visits central_repo inputs --instrument LSSTCam --all-inputs
    """,
    statuses=_STATUSES,
)
@_from_to
@_INSTRUMENT_OPTION
@_visit_options("<INSTRUMENT>/raw/all,<INSTRUMENT>/defaults")
def visits(repo: str, output: Path, instrument: str, **options: Any) -> int:
    """Export raws with their visits, calibrations, reference stars and sky map, but no templates.

    prompt repo import reads the folder into another repository.
    """
    return _export_visits(repo, output, instrument, options)


@click.command(
    cls=Command,
    examples="""
    prompt repo export hsc-rc2 /repo/main rc2 --n-exposures 4 --detectors 49,50
    """,
    statuses=_STATUSES,
)
@_from_to
@_visit_options("HSC/RC2/defaults")
def hsc_rc2(repo: str, output: Path, **options: Any) -> int:
    """Export visits of HSC/RC2 with all their inputs except templates.

    prompt repo import reads the folder into another repository.
    """
    options["collection"] = options["collection"] or "HSC/RC2/defaults"
    return _export_visits(repo, output, "HSC", options)


@click.command(
    cls=Command,
    examples="""
    prompt repo export latiss /repo/embargo latiss --where "exposure.day_obs = 20240520"
    """,
    statuses=_STATUSES,
)
@_from_to
@_visit_options("LATISS/raw/all,LATISS/defaults")
def latiss(repo: str, output: Path, **options: Any) -> int:
    """Export visits of LATISS with all their inputs except templates.

    prompt repo import reads the folder into another repository.
    """
    return _export_visits(repo, output, "LATISS", options)


@click.command(
    cls=Command,
    examples="""
    prompt repo export templates central_repo templates --instrument LSSTCam --bands g,r
    prompt repo export templates central_repo field --instrument LSSTCam --around 150.1 2.2 1.0
    """,
    statuses=_STATUSES,
)
@_from_to
@_INSTRUMENT_OPTION
@click.option("--collection", help="Collection of the templates.  [default: <INSTRUMENT>/templates]")
@click.option("--skymap-collection", default="skymaps", show_default=True, help="Collection of the sky map.")
@click.option(
    "--dataset-type",
    "dataset_types",
    multiple=True,
    default=("template_coadd",),
    show_default=True,
    help="Dataset type of the templates; repeatable.",
)
@click.option("--skymap", help="Name of the sky map.  [default: all]")
@click.option("--bands", help="Bands, such as g,r,i.  [default: all]")
@click.option("--tracts", type=NUMBERS, help="Tracts, such as 9813,9814.  [default: all]")
@click.option(
    "--around",
    nargs=3,
    type=float,
    metavar="RA DEC RADIUS",
    help="Export only templates in this circle, degrees.",
)
def templates(
    repo: str,
    output: Path,
    instrument: str,
    collection: str | None,
    skymap_collection: str,
    dataset_types: tuple[str, ...],
    skymap: str | None,
    bands: str | None,
    tracts: tuple[int, ...] | None,
    around: tuple[float, float, float] | None,
) -> int:
    """Export templates with their sky map.

    prompt repo import reads the folder into another repository.
    """
    from prompt_processing.repository.exports import TemplateChoice, select_templates

    choice = TemplateChoice(
        instrument,
        collection,
        skymap_collection,
        dataset_types,
        skymap,
        bands.split(",") if bands else None,
        tracts,
        around,
    )
    return _export(repo, output, lambda butler: select_templates(butler, choice))


@click.command(
    cls=Command,
    examples="""
    prompt repo export preloaded central_repo history --instrument LSSTCam --where "detector = 94"
    """,
    statuses=_STATUSES,
)
@_from_to
@_INSTRUMENT_OPTION
@click.option("--where", default="", help="Select visits, such as \"group = '...' AND detector = 94\".")
def preloaded(repo: str, output: Path, instrument: str, where: str) -> int:
    """Export the data preloaded for visits: DiaObjects, DiaSources and solar system predictions.

    With them, the pipelines can be rerun without the APDB of that time. prompt repo import reads the folder
    into another repository.
    """
    from prompt_processing.repository.exports import select_preloaded

    return _export(repo, output, lambda butler: select_preloaded(butler, instrument, where))


def _export_visits(repo: str, output: Path, instrument: str, options: dict[str, Any]) -> int:
    from prompt_processing.repository.exports import VisitChoice, select_visits

    choice = VisitChoice(
        instrument,
        options["collection"].split(",") if options["collection"] else (),
        options["where"],
        options["detectors"],
        options["n_exposures"],
        with_raws=not options["no_raws"],
        all_inputs=options["all_inputs"],
        sky_map=options["skymap"],
        reference_catalogues=options["refcats"],
    )
    return _export(repo, output, lambda butler: select_visits(butler, choice))


def _export(repo: str, output: Path, select: Callable[[Butler], Selection]) -> int:

    from prompt_processing.butler.types import use_butler_types
    from prompt_processing.domain.errors import RepositoryProblemError
    from prompt_processing.repository.export_writer import write_export

    log_to_stderr(logging.INFO)
    use_butler_types()
    try:
        with open_repository(repo) as butler:
            contents = write_export(butler, output, select(butler), repo)
    except (RepositoryProblemError, FileNotFoundError, FileExistsError) as error:
        raise click.ClickException(str(error)) from error
    for name, number in contents["datasets"].items():
        click.echo(f"{number:8d} {name}")
    return 0
