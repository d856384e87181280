"""``prompt difference``: subtract one FITS image from another and catalogue the changes."""

from __future__ import annotations

import functools
import importlib.util
import math
import operator
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .command import Command, option

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status
    from rich.table import Table

    from prompt_processing.difference.difference import DifferenceOptions, DifferenceResult
    from prompt_processing.difference.reading.read import ReadOptions

_WRITTEN = "What is written"
_HEADERS = "What the headers lack"
_HOW = "How"
_FILE = click.Path(path_type=Path, dir_okay=False)
_ENDING = re.compile(r"(\.(fits|fit|fts))?(\.(gz|fz|bz2|xz|zip))?$", re.IGNORECASE)


def _mask_bits(_: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """Read ``1,4,512`` or ``0x205``."""
    if value is None:
        return None
    try:
        bits = [int(part, 0) for part in value.split(",")]
    except ValueError:
        bits = [-1]
    if min(bits) < 0:
        raise click.BadParameter(f"{value} is not a list of bit values such as 1,4,512.", param=parameter)
    return functools.reduce(operator.or_, bits)


@click.command(
    cls=Command,
    examples="""
    prompt difference new.fits old.fits
    prompt difference 'new.fits[SCI]' 'old.fits[2]' -o changed.fits --gain 1.6
    prompt difference new.fits old.fits --mask new.mask.fits --template-mask old.mask.fits
    prompt difference https://archive.example/new.fits.fz s3://bucket/old.fits -o changed.fits
    prompt difference new.fits old.fits --threshold 7 --no-picture --quiet
    """,
    statuses={1: "the images cannot be subtracted; the message says why"},
)
@click.argument("science", help="FITS image: FILE.fits, FILE.fits[EXTENSION], or the URL of one.")
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
@option("--mask", section=_HEADERS, help="Extension of the mask in both files, or a FITS file; 0 is good.")
@option("--template-mask", section=_HEADERS, help="The template's mask.  [default: the extension of --mask]")
@option(
    "--mask-bits",
    callback=_mask_bits,
    metavar="BITS",
    section=_HEADERS,
    help="Values of the mask's bits that make a pixel bad, as 1,4,512; 0 ignores the mask.",
)
@option("--variance", section=_HEADERS, help="Extension of the variance in both files, or a FITS file.")
@option("--template-variance", section=_HEADERS, help="The template's.  [default: as of --template-mask]")
@option(
    "--weight",
    section=_HEADERS,
    help="Extension of the weight (inverse variance, may be relative) in both files, or a FITS file.",
)
@option("--template-weight", section=_HEADERS, help="The template's.  [default: as of --template-mask]")
@option("--plane", type=int, metavar="N", section=_HEADERS, help="Plane of a cube, from 1, in both files.")
@option("--seeing", type=float, section=_HEADERS, help="FWHM of the science image's stars, pixels.")
@option("--template-seeing", type=float, section=_HEADERS, help="FWHM of the template's stars, pixels.")
@option("--psf-stars", type=_FILE, section=_HEADERS, help="Table with x and y of stars of the science image.")
@option(
    "--template-psf-stars", type=_FILE, section=_HEADERS, help="Table with x and y of the template's stars."
)
@option("--psf", type=_FILE, section=_HEADERS, help="FITS image of the science image's PSF.")
@option("--template-psf", type=_FILE, section=_HEADERS, help="FITS image of the template's PSF.")
@option(
    "--threshold",
    type=float,
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
@option(
    "--ignore-wcs",
    is_flag=True,
    section=_HOW,
    help="Align the images by the pattern of their stars, where a header's WCS is wrong.",
)
@option("--no-cosmic-rays", is_flag=True, section=_HOW, help="Do not look for cosmic rays.")
@option("-q", "--quiet", is_flag=True, section=_HOW, help="Print only errors.")
def main(science: str, template: str, quiet: bool, **options: Any) -> int:
    """Subtract TEMPLATE from SCIENCE and catalogue what changed.

    The images may come from any camera. They need a WCS on the sky, or to be aligned already.
    """
    import logging
    import warnings

    from rich.console import Console
    from rich.logging import RichHandler

    from prompt_processing.difference.difference import difference_images
    from prompt_processing.difference.errors import (
        DifferenceError,
        UnusableOptionError,
        UnusableOutputError,
    )
    from prompt_processing.difference.outputs import check_outputs
    from prompt_processing.difference.reading.read import open_image

    from .difference_inputs import input_files, local_files

    console = Console(stderr=True, quiet=quiet)
    logging.basicConfig(
        level=logging.ERROR if quiet else logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=console, show_path=False, show_time=False)],
    )
    outputs = _outputs(science, options)
    try:
        settings = _settings(options)
        check_outputs(input_files(science, template, options), *outputs)
        with (
            warnings.catch_warnings(),
            console.status("") as status,
            local_files((science, template), lambda text: _show(console, status, text)) as files,
        ):
            # Libraries warn about their own functions; the relevant conditions are logged separately.
            warnings.simplefilter("ignore")
            how, *readers = settings
            new, old = (
                file if shown is None else open_image(file, reader, shown)
                for (file, shown), reader in zip(files, readers, strict=True)
            )
            result = difference_images(
                new, old, how, readers[0], readers[1], lambda text: _show(console, status, text)
            )
            _show(console, status, "writing")
            result.write(*outputs)
    except (UnusableOptionError, UnusableOutputError) as error:
        raise click.UsageError(str(error)) from error
    except (DifferenceError, OSError) as error:
        raise click.ClickException(str(error)) from error
    if not quiet:
        Console().print(_summary_table(result))
        written = ", ".join(str(path) for path in outputs if path is not None)
        console.print(f"Written: {written}", markup=False)
    return 0


def _settings(options: dict[str, Any]) -> tuple[DifferenceOptions, ReadOptions, ReadOptions]:
    """Return the options of the subtraction and of the two readers.

    Raises
    ------
    UnusableOptionError
        Raised if one is out of range.
    """
    from prompt_processing.difference.difference import DifferenceOptions
    from prompt_processing.difference.find_psf import PsfSettings
    from prompt_processing.difference.reading.read import ReadOptions
    from prompt_processing.imaging.difference.options import SubtractionOptions

    readers = []
    for which in ("", "template_"):
        values = {}
        for name in ("gain", "saturation", "mask", "variance", "weight"):
            value = options[f"{which}{name}"]
            if which and value is None:
                value = options[name]
                # An extension has the same name in both files; a file belongs to one image.
                if isinstance(value, str) and os.path.exists(value.partition("[")[0]):
                    value = None
            values[name] = value
        prefix = which.replace("_", "-")
        readers.append(
            ReadOptions(**values, mask_bits=options["mask_bits"], plane=options["plane"], prefix=prefix)
        )
    psfs = [
        PsfSettings(*(options[f"{which}{name}"] for name in ("seeing", "psf_stars", "psf")))
        for which in ("", "template_")
    ]
    how = DifferenceOptions(
        options["threshold"],
        not options["no_align"],
        not options["no_cosmic_rays"],
        SubtractionOptions(minimum_snr=20.0, convolve=options["convolve"], from_psfs=True),
        psfs[0],
        psfs[1],
        ignore_wcs=options["ignore_wcs"],
    )
    return how, readers[0], readers[1]


def _show(console: Console, status: Status, text: str) -> None:
    if console.is_terminal:
        status.update(text)
    else:
        console.print(text, markup=False)


def _outputs(science: str, options: dict[str, Any]) -> tuple[Path, Path, Path | None]:
    """Return the paths of the difference, the catalogue and the picture."""
    from .difference_inputs import local_name

    stem = _ENDING.sub("", local_name(science))
    output = options["output"] or Path(f"{stem}_difference.fits")
    beside = _ENDING.sub("", str(output))
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
    table.add_column(overflow="fold")

    def number(name: str) -> float:
        return float(s[name])

    for which in ("science", "template"):
        gain = f", gain {number(f'{which}Gain'):.3g}" if f"{which}Gain" in s else ""
        if s.get(f"{which}GainEstimated"):
            gain = f", gain about {number(f'{which}Gain'):.2g} (estimated from the sky)"
        table.add_row(
            which,
            f"{s[f'{which}File']}: seeing {number(f'{which}Fwhm'):.2f} pixels, "
            f"sky {_with_scatter(number(f'{which}Sky'), number(f'{which}Noise'))}{gain}, "
            f"{s[f'{which}PsfStars']} PSF stars",
        )
    if "binning" in s:
        table.add_row(
            "binning",
            f"both images by {s['binning']}, because of the seeing; positions are in the file's pixels",
        )
    rms = number("alignmentRmsPixels")
    after = f"{rms:.3f} rms after; " if math.isfinite(rms) else ""
    table.add_row(
        "alignment",
        f"{s['commonStars']} common stars, {number('offsetPixels'):.2f} pixels off{', ' if after else '; '}"
        f"{after}template "
        f"{'resampled' if s['resampled'] else 'left on its pixels'}, covers {number('coverage'):.0%}",
    )
    varies = number("fluxVariation")
    table.add_row(
        "flux scale",
        f"template x {_digits(number('fluxRatio'))}, "
        + (f"which differs by {varies:.0%} over the image (no flat field?), " if varies else "")
        + f"kernel sum {number('kernelSum'):.4f}",
    )
    table.add_row(
        "kernel",
        f"on the {'science image' if s['scienceConvolved'] else 'template'}, "
        + (
            "between the PSF models: too few sources are in both images"
            if s["kernelFromPsfs"]
            else f"{s['kernelStampsUsed']} of {s['kernelStamps']} sources used, "
            f"chi2/dof {number('kernelChi2'):.2f}"
        ),
    )
    table.add_row(
        "residual / noise",
        f"{number('residualSky'):.3f} on the sky, {number('residualStars'):.2f} at stars, "
        f"{number('residualBrightStars'):.2f} at the brightest (variance scaled by "
        f"{number('varianceScale'):.2f}"
        + (
            f"; noise includes {number('modelError'):.1%} of each pixel's light, which no kernel matches)"
            if number("modelError") > 0
            else ")"
        ),
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


def _with_scatter(value: float, scatter: float) -> str:
    """Return a value and its scatter, with three significant digits of the scatter in any unit."""
    if not (math.isfinite(value) and math.isfinite(scatter) and scatter > 0):
        return f"{value:.4g} +- {scatter:.4g}"
    exponent = math.floor(math.log10(scatter))
    if -3 <= exponent <= 6:
        digits = max(2 - exponent, 0)
        return f"{value:.{digits}f} +- {scatter:.{digits}f}"
    return f"({value / 10**exponent:.2f} +- {scatter / 10**exponent:.2f})e{exponent:+03d}"


def _digits(value: float) -> str:
    return f"{value:.4f}" if 0.1 <= abs(value) < 1e4 else f"{value:.4g}"
