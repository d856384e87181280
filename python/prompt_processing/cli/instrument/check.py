"""``prompt instrument check``: check the description of an instrument with frames."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..command import Command, option
from ..options import PAIRS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from prompt_processing.commissioning.check import CheckedFrame
    from prompt_processing.instruments import Observation


@click.command(
    cls=Command,
    examples="""
    prompt instrument check mycam night/*.fits
    prompt instrument check mycam light.fits --catalogue gaia.csv    # solves parity, rotation and scale
    prompt instrument check DECam c4d_230814_042000_ori.fits.fz
    """,
    statuses={1: "a frame cannot be read with the description"},
)
@click.argument("instrument", help="Folder of the instrument, or its name.")
@click.argument(
    "frames",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE...",
    help="Raw frames.",
)
@option(
    "--catalogue",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Reference stars around the field, in any form that prompt refcat import reads.",
)
@option(
    "--column",
    "columns",
    type=PAIRS,
    multiple=True,
    metavar="QUANTITY=COLUMN",
    help="Column of ra, dec or a band in the catalogue, where it has an unusual name; repeatable.",
)
@option(
    "--position",
    type=(float, float),
    metavar="RA DEC",
    help="Approximate centre of the frames, degrees, where the headers have none.",
)
@option(
    "--pictures",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("instrument-check"),
    show_default=True,
    help="Folder for the pictures of the assembled detectors.",
)
def main(
    instrument: str,
    frames: tuple[Path, ...],
    catalogue: Path | None,
    columns: tuple[tuple[str, str], ...],
    position: tuple[float, float] | None,
    pictures: Path,
) -> int:
    """Read frames with the description of an instrument.

    For each frame it reports what the header means, what the description lacks, and, with reference stars,
    where the frame points compared to its header. The assembled detectors are drawn.
    """
    from prompt_processing.commissioning.check import check_frames
    from prompt_processing.instruments import InstrumentError, load_instrument
    from prompt_processing.instruments.description.registry import SEARCH_PATH_VARIABLE

    if Path(instrument).is_dir():
        # All parts of the package find the instrument by the search path.
        rest = os.environ.get(SEARCH_PATH_VARIABLE, "")
        os.environ[SEARCH_PATH_VARIABLE] = os.pathsep.join(
            filter(None, [str(Path(instrument).resolve()), rest])
        )
    try:
        described = load_instrument(Path(instrument).resolve() if Path(instrument).is_dir() else instrument)
    except InstrumentError as error:
        raise click.ClickException(error.reason) from error
    stars = None if catalogue is None else _positions(catalogue, dict(columns))
    checked = check_frames(described, frames, pictures, stars, position)
    for one in checked:
        click.echo("\n".join(_lines(one)))
    if described.document.to_confirm:
        click.echo(f"\nStill to confirm in {described.folder / 'instrument.yaml'}:")
        for path, how in described.document.to_confirm.items():
            click.echo(f"  {path}: {how}")
    unusable = sum(bool(one.problems) for one in checked)
    if unusable:
        click.echo(f"\n{unusable} of {len(checked)} frames cannot be read with the description.", err=True)
    return 1 if unusable else 0


def _positions(path: Path, columns: Mapping[str, str]) -> NDArray[np.float64]:
    """Read right ascension and declination of a catalogue, brightest first."""
    import numpy as np

    from prompt_processing.repository.catalogues.errors import CatalogueError
    from prompt_processing.repository.catalogues.layouts import recognised
    from prompt_processing.repository.catalogues.reading import read_table
    from prompt_processing.repository.catalogues.standard import standardise

    try:
        table = read_table(path)
        layout = recognised(table.colnames).with_columns(columns, table.colnames)
        stars = standardise(table, layout)
    except CatalogueError as error:
        raise click.ClickException(str(error)) from error
    fluxes = np.array([np.asarray(stars.stars[f"{band}_flux"], float) for band in stars.bands])
    with np.errstate(all="ignore"):
        brightest = np.nanmax(np.where(np.isfinite(fluxes), fluxes, -np.inf), axis=0)
    order = np.argsort(-brightest)
    return np.column_stack([stars.stars["ra"], stars.stars["dec"]]).astype(np.float64)[order]


def _lines(one: CheckedFrame) -> list[str]:
    lines = [f"{one.path.name}:"]
    if one.observation is not None:
        lines += [f"  {line}" for line in _observation_lines(one.observation)]
    if one.detectors:
        shown = ", ".join(map(str, one.detectors[:10])) + (", ..." if len(one.detectors) > 10 else "")
        lines.append(f"  detectors  {shown}; picture {one.picture}")
    if one.solution is not None:
        found = one.solution
        by = f"{found.n_stars} stars, {found.rms_pixels:.2f} pixels rms" if found.n_stars else one.solved_by
        lines.append(
            f"  solved     {found.ra:.5f} {found.dec:+.5f}, rotation {found.rotation:.2f}, "
            f"{'+X east' if found.parity_flipped_x else '+X west'} of +Y north, {found.scale_arcsec:.4f} "
            f"arcsec per pixel ({by})"
        )
    lines += [f"  problem    {problem}" for problem in one.problems]
    lines += [f"  look at    {remark}" for remark in one.remarks]
    return lines


def _observation_lines(observation: Observation) -> list[str]:
    ra, dec, rotation = observation.ra, observation.dec, observation.rotation
    pointing = "no position" if ra is None or dec is None else f"{ra:.5f} {dec:+.5f}"
    return [
        f"exposure   {observation.exposure_id}, {observation.observation_type}, group {observation.group}, "
        f"night {observation.day_obs}",
        f"begin      {observation.begin.utc.isot} UTC, {observation.exposure_time:g} s",
        f"filter     {observation.physical_filter} (band {observation.band})",
        f"pointing   {pointing}" + ("" if rotation is None else f", rotation {rotation:.2f}"),
        f"target     {observation.target_name}",
    ]
