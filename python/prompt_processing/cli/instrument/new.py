"""``prompt instrument new``: draft the folder of an instrument from real frames."""

from __future__ import annotations

from pathlib import Path

import click

from ..command import Command, option


@click.command(
    cls=Command,
    examples="""
    prompt instrument new mycam --from bias1.fits bias2.fits flat1.fits flat2.fits dark.fits light.fits
    prompt instrument new cameras/tarot --name TAROT --from night/*.fits.fz
    """,
    statuses={1: "a frame is unusable, or the folder is not empty"},
)
@click.argument("folder", type=click.Path(path_type=Path), help="New folder.")
@option(
    "--from",
    "frames",
    several=True,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE...",
    help="Raw frames, preferably two of each kind: bias, dark, flat and science.",
)
@option("--name", help="Short name of the instrument.  [default: name of the folder]")
def main(folder: Path, frames: tuple[Path, ...], name: str | None) -> int:
    """Draft the folder of an instrument from its raw frames.

    FOLDER receives instrument.yaml, with everything that headers and pixels show and a list of what was only
    guessed, and pipelines.
    """
    from prompt_processing.commissioning.draft import DraftError, draft_instrument
    from prompt_processing.instruments import RawError

    try:
        draft = draft_instrument(frames, folder, name)
    except (DraftError, RawError) as error:
        raise click.ClickException(str(error)) from error
    kinds = ", ".join(f"{count} {kind}" for kind, count in draft.kinds.items())
    detectors = draft.instrument.camera.detectors
    amplifiers = len(next(iter(detectors.values())).amplifiers)
    count = f"{len(detectors)} detector{'s' * (len(detectors) > 1)} of {amplifiers} amplifier"
    click.echo(
        f"{folder / 'instrument.yaml'} describes {draft.instrument.name}: {count}{'s' * (amplifiers > 1)}, "
        f"from {kinds} frames."
    )
    if draft.to_confirm:
        click.echo("\nGuessed, to be confirmed in the file:")
        for path, how in draft.to_confirm.items():
            click.echo(f"  {path}\n      {how}")
    click.echo(f"\nNext: prompt instrument check {folder} FILES...")
    return 0
