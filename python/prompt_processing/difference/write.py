"""Write the difference as a FITS file that any program can read."""

from __future__ import annotations

import urllib.parse
import warnings
from pathlib import Path

import numpy as np
from astropy.io import fits

from ..images import Exposure, Mask
from .outputs import replacing

_KEYWORDS = {
    "scienceFile": ("SCIFILE", "image that was subtracted from"),
    "templateFile": ("TPLFILE", "image that was subtracted"),
    "scienceFwhm": ("SCIFWHM", "[pix] seeing of the science image"),
    "templateFwhm": ("TPLFWHM", "[pix] seeing of the template"),
    "binning": ("BINNING", "by which both images were binned first"),
    "fluxRatio": ("FLXRATIO", "by which the template was multiplied"),
    "fluxVariation": ("FLXVARY", "largest over least such factor, minus 1"),
    "resampled": ("RESAMPLD", "template was resampled"),
    "coverage": ("COVERAGE", "share of the image with a template"),
    "scienceConvolved": ("SCICONV", "kernel was applied to the science image"),
    "kernelSum": ("KSUM", "mean sum of the kernel"),
    "kernelStampsUsed": ("KSTAMPS", "sources the kernel was fitted on"),
    "kernelCondition": ("KCOND", "condition of the kernel's equations"),
    "varianceScale": ("VARSCALE", "by which the variance was scaled"),
    "differenceFwhm": ("DIFFWHM", "[pix] seeing of the difference"),
    "residualSky": ("RESSKY", "scatter over noise, sky"),
    "residualStars": ("RESSTARS", "scatter over noise, stars"),
    "sources": ("NSOURCES", "sources in the catalogue"),
}


def write_difference(
    path: str | Path,
    difference: Exposure,
    header: fits.Header,
    summary: dict[str, float | int | str | bool],
) -> None:
    """Write ``DIFFERENCE``, ``VARIANCE``, ``MASK`` and ``PSF``, replacing any file once complete.

    Parameters
    ----------
    path : `str` or `~pathlib.Path`
        The file.
    difference : `~prompt_processing.images.Exposure`
        The difference image.
    header : `~astropy.io.fits.Header`
        Header of the science image, kept whole; from
        `~prompt_processing.difference.reading.header.merged_header`.
    summary : `dict`
        Numbers of the subtraction; the most important ones go into the primary header.

    Raises
    ------
    UnusableOutputError
        Raised if the file cannot be written.
    """
    primary = fits.PrimaryHDU()
    for name, (keyword, comment) in _KEYWORDS.items():
        value = summary.get(name)
        if value is not None and value == value:
            primary.header[keyword] = (
                _text_card(value, comment) if isinstance(value, str) else (value, comment)
            )
    planes = fits.Header()
    for name, bit in Mask.plane_numbers().items():
        # Longer names need the HIERARCH convention, like those of lsst.afw.
        planes[f"HIERARCH MP_{name}" if len(name) > 5 else f"MP_{name}"] = (bit, "mask plane: bit")
    squared = header.copy()
    if str(header.get("BUNIT", "")).strip():
        squared["BUNIT"] = (f"({str(header['BUNIT']).strip()})**2", "of the variance")
    hdus = [
        primary,
        fits.ImageHDU(difference.image, header, "DIFFERENCE"),
        fits.ImageHDU(difference.variance, squared, "VARIANCE"),
        fits.ImageHDU(difference.mask, planes, "MASK"),
    ]
    if difference.psf is not None:
        psf = difference.psf
        frame = fits.Header({"PSFORDER": psf.order, "PSFXC": psf.x_centre, "PSFYC": psf.y_centre})
        frame["PSFSCALE"] = psf.scale
        hdus.append(fits.ImageHDU(psf.coefficients.astype(np.float32), frame, "PSF"))
    with replacing(path) as temporary, warnings.catch_warnings():
        # Cameras' keywords do not always follow the FITS standard.
        warnings.simplefilter("ignore")
        fits.HDUList(hdus).writeto(temporary, overwrite=True, output_verify="silentfix+ignore", checksum=True)


def _text_card(value: str, comment: str, most: int = 66) -> tuple[str, str]:
    """Return a value in ASCII that fits on one card, with as much of the comment as fits beside it.

    FITS headers allow only ASCII; other letters are percent-encoded, as in URLs, so that names stay unique.
    """
    text = urllib.parse.quote(value, safe=" !#$&()*+,-./:;<=>?@[]^_{|}~")
    if len(text) > most:
        text = f"{text[: most // 2 - 2]}...{text[-(most // 2 - 1) :]}"
    room = 80 - 10 - max(len(text), 8) - 2 - 3
    return text, comment if len(comment) <= room else ""
