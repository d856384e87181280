"""``prompt difference``: two FITS images in, what changed out."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .command import Command, option

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status
    from rich.table import Table

    from prompt_processing.difference.difference import DifferenceResult

_WRITTEN = "What is written"
_HEADERS = "What the headers lack"
_HOW = "How"
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(
    cls=Command,
    examples="""
    prompt difference new.fits old.fits
    prompt difference 'new.fits[SCI]' 'old.fits[2]' -o changed.fits --gain 1.6
    prompt difference new.fits old.fits --threshold 7 --no-picture --quiet
    """,
    statuses={1: "the images cannot be subtracted; the message says why"},
)
@click.argument("science", help="FITS image: FILE.fits, or FILE.fits[EXTENSION].")
@click.argument("template", help="The same field at another time.")
@option(
    "-o", "--output", type=_FILE, section=_WRITTEN, help="Difference.  [default: SCIENCE_difference.fits]"
)
@option(
    "-c",
    "--catalogue",
    type=_FILE,
    section=_WRITTEN,
    help="Sources that changed, .parquet or .fits.  [default: SCIENCE_difference.parquet]",
)
@option("-p", "--picture", type=_FILE, section=_WRITTEN, help="PNG.  [default: SCIENCE_difference.png]")
@option("--no-picture", is_flag=True, section=_WRITTEN, help="Draw no picture.")
@option("--gain", type=float, section=_HEADERS, help="Electrons per unit of the science image.")
@option("--saturation", type=float, section=_HEADERS, help="Saturation level, in units of the science image.")
@option("--template-gain", type=float, section=_HEADERS, help="The template's gain.  [default: --gain]")
@option(
    "--template-saturation",
    type=float,
    section=_HEADERS,
    help="The template's saturation level.  [default: --saturation]",
)
@option("--mask", section=_HEADERS, help="Extension of the mask in both files; 0 is good.")
@option("--variance", section=_HEADERS, help="Extension of the variance in both files.")
@option(
    "--threshold",
    type=click.FloatRange(min=0, min_open=True),
    default=5.0,
    show_default=True,
    section=_HOW,
    help="Signal-to-noise ratio of detections.",
)
@option(
    "--convolve",
    type=click.Choice(("science", "template")),
    section=_HOW,
    help="Image to convolve with the kernel.  [default: the sharper one]",
)
@option("--no-align", is_flag=True, section=_HOW, help="Trust the headers: do not align the images by stars.")
@option("--no-cosmic-rays", is_flag=True, section=_HOW, help="Do not look for cosmic rays.")
@option("-q", "--quiet", is_flag=True, section=_HOW, help="Print only errors.")
def main(science: str, template: str, quiet: bool, **options: Any) -> int:
    """Subtract TEMPLATE from SCIENCE and catalogue what changed.

    The images may come from any camera. They need a WCS on the sky, or to be aligned already.
    """
    import logging

    from rich.console import Console
    from rich.logging import RichHandler

    from prompt_processing.difference.difference import DifferenceOptions, difference_images
    from prompt_processing.difference.errors import DifferenceError
    from prompt_processing.difference.read import ReadOptions
    from prompt_processing.imaging.difference.subtraction import SubtractionOptions

    console = Console(stderr=True, quiet=quiet)
    logging.basicConfig(
        level=logging.ERROR if quiet else logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=console, show_path=False, show_time=False)],
    )
    planes = options["mask"], options["variance"]
    gain, saturation = options["gain"], options["saturation"]
    output, catalogue, picture = _outputs(science, options)
    try:
        with console.status("") as status:
            result = difference_images(
                science,
                template,
                DifferenceOptions(
                    options["threshold"],
                    not options["no_align"],
                    not options["no_cosmic_rays"],
                    SubtractionOptions(minimum_snr=20.0, convolve=options["convolve"]),
                ),
                ReadOptions(gain, None, saturation, *planes),
                ReadOptions(
                    options["template_gain"] or gain,
                    None,
                    options["template_saturation"] or saturation,
                    *planes,
                ),
                lambda text: _show(console, status, text),
            )
            _show(console, status, "writing")
            result.write(output, catalogue, picture)
    except (DifferenceError, OSError) as error:
        raise click.ClickException(str(error)) from error
    if not quiet:
        Console().print(_summary_table(result))
        written = ", ".join(str(path) for path in (output, catalogue, picture) if path is not None)
        console.print(f"Written: {written}")
    return 0


def _show(console: Console, status: Status, text: str) -> None:
    if console.is_terminal:
        status.update(text)
    else:
        console.print(text)


def _outputs(science: str, options: dict[str, Any]) -> tuple[Path, Path, Path | None]:
    """Return where image, catalogue and picture go."""
    from prompt_processing.difference.read import split_extension

    stem = Path(split_extension(science)[0]).name
    for ending in (".gz", ".fz", ".fits", ".fit", ".fts"):
        stem = stem.removesuffix(ending)
    output = options["output"] or Path(f"{stem}_difference.fits")
    beside = output.with_suffix("") if options["output"] else Path(f"{stem}_difference")
    catalogue = options["catalogue"] or Path(f"{beside}.parquet")
    picture = options["picture"]
    if options["no_picture"]:
        picture = None
    elif picture is None and importlib.util.find_spec("matplotlib") is not None:
        picture = Path(f"{beside}.png")
    return output, catalogue, picture


def _summary_table(result: DifferenceResult) -> Table:
    """Return the numbers of a subtraction as a table to print."""
    from rich.table import Table

    s = result.summary
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()

    def number(name: str) -> float:
        return float(s[name])

    for which in ("science", "template"):
        gain = f", gain {number(f'{which}Gain'):.2f}" if f"{which}Gain" in s else ""
        table.add_row(
            which,
            f"{s[f'{which}File']}: seeing {number(f'{which}Fwhm'):.2f} pixels, "
            f"sky {number(f'{which}Sky'):.1f} +- {number(f'{which}Noise'):.2f}{gain}, "
            f"{s[f'{which}PsfStars']} PSF stars",
        )
    table.add_row(
        "alignment",
        f"{s['commonStars']} common stars, {number('offsetPixels'):.2f} pixels off, "
        f"{number('alignmentRmsPixels'):.3f} rms after; template "
        f"{'resampled' if s['resampled'] else 'left on its pixels'}, covers {number('coverage'):.0%}",
    )
    table.add_row("flux scale", f"template x {number('fluxRatio'):.4f}, kernel sum {number('kernelSum'):.4f}")
    table.add_row(
        "kernel",
        f"on the {'science image' if s['scienceConvolved'] else 'template'}, {s['kernelStampsUsed']} of "
        f"{s['kernelStamps']} sources used, chi2/dof {number('kernelChi2'):.2f}",
    )
    table.add_row(
        "residual / noise",
        f"{number('residualSky'):.3f} on the sky, {number('residualStars'):.2f} at stars, "
        f"{number('residualBrightStars'):.2f} at the brightest (variance scaled by "
        f"{number('varianceScale'):.2f})",
    )
    table.add_row(
        "changed",
        f"{s['sources']} sources ({s['fainter']} fainter than before); {s['rejected']} more were rejected"
        + (f"; {s['streaks']} streaks masked" if s["streaks"] else ""),
    )
    table.add_row(
        "time", f"{number('seconds'):.1f} s, of it {number('subtractionSeconds'):.2f} s for the subtraction"
    )
    return table
