"""``prompt refcat import``: enter a downloaded catalogue of stars into a repository."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prompt_processing.cli.command import Command
from prompt_processing.cli.options import PAIRS, log_to_stderr

if TYPE_CHECKING:
    from astropy.table import Table

    from prompt_processing.repository.catalogues.layouts import Layout
    from prompt_processing.repository.catalogues.standard import StandardCatalogue


@click.command(
    cls=Command,
    examples="""
    prompt refcat import gaia.csv.gz --repo central_repo --name gaia_dr3
    prompt refcat import ps1_*.fits --repo central_repo --name ps1 --faint 21
    prompt refcat import stars.csv --repo central_repo --name mine --column ra=RAdeg --column r=Rmag
    prompt refcat import stars.vot --dry-run                # only show what would be entered
    """,
    statuses={1: "the catalogue cannot be imported; the repository is unchanged"},
)
@click.argument(
    "files",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path),
    help="Tables: CSV, ECSV, TSV, VOTable, FITS or Parquet.",
)
@click.option("--repo", metavar="URI", help="Butler repository.")
@click.option("--name", metavar="NAME", help="Name of the catalogue; its collection is refcats/NAME.")
@click.option(
    "--add", is_flag=True, help="Add the stars to a catalogue of that name, for example of another field."
)
@click.option(
    "--layout",
    "layout_name",
    metavar="NAME",
    help="Kind of catalogue, such as gaia, panstarrs or own.  [default: recognised by its columns]",
)
@click.option(
    "--column",
    "columns",
    type=PAIRS,
    multiple=True,
    metavar="QUANTITY=COLUMN",
    help="Column of ra, dec, id, pm_ra, pm_dec, parallax or epoch, of a band (r) or of its error (r_err); "
    "repeatable.",
)
@click.option(
    "--unit",
    "units",
    type=PAIRS,
    multiple=True,
    metavar="QUANTITY=UNIT",
    help="Unit of a quantity, such as pm_ra=arcsec/yr or r=Jy; repeatable.  "
    "[default: that of the table, else deg, mas/yr, mas, mag]",
)
@click.option(
    "--offset",
    "offsets",
    type=PAIRS,
    multiple=True,
    metavar="BAND=MAG",
    help="What to add to a band's magnitudes to make them AB magnitudes; repeatable.",
)
@click.option("--epoch", type=float, metavar="YEAR", help="Epoch of all positions, such as 2016.0.")
@click.option(
    "--bright", type=float, default=-5.0, show_default=True, metavar="MAG", help="Brightest AB magnitude."
)
@click.option(
    "--faint", type=float, default=40.0, show_default=True, metavar="MAG", help="Faintest AB magnitude."
)
@click.option("--dry-run", is_flag=True, help="Read and check only.")
def main(
    files: Sequence[Path],
    repo: str | None,
    name: str | None,
    add: bool,
    layout_name: str | None,
    columns: Sequence[tuple[str, str]],
    units: Sequence[tuple[str, str]],
    offsets: Sequence[tuple[str, str]],
    epoch: float | None,
    bright: float,
    faint: float,
    dry_run: bool,
) -> int:
    """Enter a downloaded catalogue of stars into a Butler repository.

    The catalogue may be from Gaia, Pan-STARRS, SkyMapper or ATLAS-Refcat2, or any table whose columns are
    named by --column. All files are read and checked before anything is written. Positions keep their
    epoch: proper motions are applied when an image is calibrated.
    """
    if not dry_run and (repo is None or name is None):
        raise click.UsageError("--repo and --name are needed, or --dry-run.")

    from prompt_processing.repository.catalogues.errors import CatalogueError
    from prompt_processing.repository.catalogues.reading import read_table
    from prompt_processing.repository.catalogues.standard import standardise

    log_to_stderr(logging.WARNING)
    parts: list[StandardCatalogue] = []
    try:
        to_ab = {band: _number(band, value) for band, value in offsets}
        for path in files:
            table = read_table(path)
            layout = _layout(table, layout_name, dict(columns))
            try:
                part = standardise(
                    table, layout, units=dict(units), to_ab=to_ab, epoch=epoch, faint=faint, bright=bright
                )
            except CatalogueError as error:
                raise CatalogueError(f"{path}: {error}") from error
            click.echo(f"{path}: {layout.title or layout.name}, {len(table)} rows, {len(part.stars)} stars.")
            for why, count in part.dropped.items():
                click.echo(f"  {count} left out: {why}.")
            if part.derived:
                click.echo(f"  {', '.join(part.derived)} derived from Gaia's bands.")
            parts.append(part)
        stars = _together(parts)
        _describe(stars)
        if dry_run:
            return 0
        return _enter(stars, str(repo), str(name), add)
    except CatalogueError as error:
        raise click.ClickException(str(error)) from error


def _number(band: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise click.UsageError(f"--offset {band}={text}: {text!r} is not a number.") from error


def _layout(table: Table, name: str | None, columns: dict[str, str]) -> Layout:
    from prompt_processing.repository.catalogues.errors import CatalogueError
    from prompt_processing.repository.catalogues.layouts import layouts, recognised

    names = list(table.colnames)
    if name is None:
        return recognised(names).with_columns(columns, names)
    if name not in layouts():
        raise CatalogueError(f"No layout {name!r}; known are {', '.join(layouts())}.")
    return layouts()[name].found_in(names).with_columns(columns, names)


def _together(parts: list[StandardCatalogue]) -> Table:
    """Join the files' stars; those that two files list are kept once."""
    import numpy as np
    from astropy.table import vstack

    from prompt_processing.repository.catalogues.errors import CatalogueError

    columns = [part.stars.colnames for part in parts]
    if any(set(each) != set(columns[0]) for each in columns):
        raise CatalogueError(
            "The files have different bands or motions: import them under names of their own."
        )
    stars = vstack([part.stars for part in parts], metadata_conflicts="silent")
    if len(parts) > 1:
        _, first = np.unique(np.asarray(stars["id"]), return_index=True)
        own_ids = len(set(np.asarray(stars["id"]).tolist())) >= max(len(part.stars) for part in parts)
        if own_ids and not _numbered(parts):
            stars = stars[np.sort(first)]
        else:
            stars["id"] = np.arange(1, len(stars) + 1)
    return stars


def _numbered(parts: list[StandardCatalogue]) -> bool:
    """Return whether the ids are only numbers of rows."""
    import numpy as np

    return any(int(np.max(np.asarray(part.stars["id"]))) < 10 * len(part.stars) + 1000 for part in parts)


def _describe(stars: Table) -> None:
    import numpy as np

    from prompt_processing.images.photo_calib import NJY_ZERO_POINT

    click.echo(f"{len(stars)} stars.")
    for name in stars.colnames:
        if name.endswith("_flux"):
            magnitude = NJY_ZERO_POINT - 2.5 * np.log10(np.asarray(stars[name], float))
            known = magnitude[np.isfinite(magnitude)]
            if len(known):
                low, middle, high = np.percentile(known, [1, 50, 99])
                click.echo(
                    f"  {name.removesuffix('_flux')}: {len(known)} stars, AB {low:.2f} to {high:.2f}, "
                    f"median {middle:.2f}."
                )
    if "epoch" in stars.colnames:
        speed = np.hypot(np.asarray(stars["pm_ra"], float), np.asarray(stars["pm_dec"], float))
        moving = int(np.count_nonzero(np.isfinite(speed)))
        click.echo(f"  {moving} with a proper motion, median epoch MJD {np.nanmedian(stars['epoch']):.1f}.")
    else:
        click.echo("  No proper motions: positions are used as they are.")


def _enter(stars: Table, repo: str, name: str, add: bool) -> int:
    from lsst.daf.butler import Butler

    from prompt_processing.butler.types import use_butler_types
    from prompt_processing.domain.errors import RepositoryProblemError
    from prompt_processing.repository.catalogues.importing import enter_stars

    use_butler_types()
    try:
        with Butler.from_config(repo, writeable=True) as butler:
            entered = enter_stars(butler, stars, name, add=add)
    except (FileNotFoundError, RepositoryProblemError) as error:
        raise click.ClickException(f"{repo}: {error}") from error
    click.echo(f"Entered {entered.stars} stars in {entered.shards} shards into {entered.run}.")
    return 0
