"""``prompt-difference``: two FITS images in, what changed out."""

from __future__ import annotations

import argparse
import importlib.util
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table as RichTable

from prompt_processing.difference.difference import DifferenceOptions, DifferenceResult, difference_images
from prompt_processing.difference.errors import DifferenceError
from prompt_processing.difference.read import ReadOptions, split_extension
from prompt_processing.imaging.difference.subtraction import SubtractionOptions

_EPILOG = """\
An extension is named in brackets: prompt-difference 'new.fits[SCI]' 'old.fits[2]'.
Exit status: 0 subtracted, 1 the images cannot be subtracted (the message tells why), 2 wrong arguments.
"""


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="prompt-difference",
        description="Subtract a template from a science image and catalogue what changed. The images need a "
        "WCS on the sky, or to be aligned; they may come from any camera.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("science", metavar="SCIENCE", help="FITS image, or file.fits[EXTENSION]")
    parser.add_argument("template", metavar="TEMPLATE", help="the same field at another time")
    out = parser.add_argument_group("what is written")
    out.add_argument("-o", "--output", type=Path, help="difference; default <science>_difference.fits")
    out.add_argument(
        "-c", "--catalogue", type=Path, help=".parquet or .fits; default <science>_difference.parquet"
    )
    out.add_argument("-p", "--picture", type=Path, help="PNG; default <science>_difference.png")
    out.add_argument("--no-picture", action="store_true", help="draw none")
    camera = parser.add_argument_group("what the headers lack")
    for name, of in (("", "science image"), ("template-", "template, default that of the science image")):
        camera.add_argument(f"--{name}gain", type=float, help=f"electrons per unit, {of}")
        camera.add_argument(f"--{name}saturation", type=float, help=f"level, unit of the image, {of}")
    camera.add_argument("--mask", help="extension of the mask (0 is good) in both files")
    camera.add_argument("--variance", help="extension of the variance in both files")
    how = parser.add_argument_group("how")
    how.add_argument("--threshold", type=float, default=5.0, help="significance of detections; default 5")
    how.add_argument(
        "--convolve",
        choices=("science", "template"),
        help="which image gets the kernel; default: what is best",
    )
    how.add_argument(
        "--no-align", action="store_true", help="believe the headers, do not correct them by stars"
    )
    how.add_argument("--no-cosmic-rays", action="store_true", help="do not look for cosmic rays")
    how.add_argument("-q", "--quiet", action="store_true", help="only errors")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = make_parser().parse_args(arguments)
    console = Console(stderr=True, quiet=options.quiet)
    logging.basicConfig(
        level=logging.ERROR if options.quiet else logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=console, show_path=False, show_time=False)],
    )
    output, catalogue, picture = _outputs(options)
    try:
        with console.status("") as status:
            result = difference_images(
                options.science,
                options.template,
                DifferenceOptions(
                    options.threshold,
                    not options.no_align,
                    not options.no_cosmic_rays,
                    SubtractionOptions(minimum_snr=20.0, convolve=options.convolve),
                ),
                ReadOptions(options.gain, None, options.saturation, options.mask, options.variance),
                ReadOptions(
                    options.template_gain or options.gain,
                    None,
                    options.template_saturation or options.saturation,
                    options.mask,
                    options.variance,
                ),
                lambda text: _tell(console, status, text),
            )
            _tell(console, status, "writing")
            result.write(output, catalogue, picture)
    except (DifferenceError, OSError) as error:
        sys.stderr.write(f"prompt-difference: {error}\n")
        return 1
    if not options.quiet:
        Console().print(summary_table(result))
        console.print(f"Written: {', '.join(str(p) for p in (output, catalogue, picture) if p is not None)}")
    return 0


def _tell(console: Console, status: object, text: str) -> None:
    if console.is_terminal:
        status.update(text)  # type: ignore[attr-defined]
    else:
        console.print(text)


def _outputs(options: argparse.Namespace) -> tuple[Path, Path, Path | None]:
    """Return where image, catalogue and picture go."""
    science = Path(split_extension(options.science)[0])
    stem = science.name
    for ending in (".gz", ".fz", ".fits", ".fit", ".fts"):
        stem = stem.removesuffix(ending)
    output = options.output or Path(f"{stem}_difference.fits")
    beside = output.with_suffix("") if options.output else Path(f"{stem}_difference")
    catalogue = options.catalogue or Path(f"{beside}.parquet")
    picture = options.picture
    if options.no_picture:
        picture = None
    elif picture is None and importlib.util.find_spec("matplotlib") is not None:
        picture = Path(f"{beside}.png")
    return output, catalogue, picture


def summary_table(result: DifferenceResult) -> RichTable:
    """Return the numbers of a subtraction as a table to print."""
    s = result.summary
    table = RichTable(show_header=False, box=None, pad_edge=False)
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


if __name__ == "__main__":
    sys.exit(main())
