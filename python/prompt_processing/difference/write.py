"""The difference as a FITS file that any program reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits

from ..images import Exposure, Mask

_KEYWORDS = {
    "scienceFile": ("SCIFILE", "image that was subtracted from"),
    "templateFile": ("TPLFILE", "image that was subtracted"),
    "scienceFwhm": ("SCIFWHM", "[pix] seeing of the science image"),
    "templateFwhm": ("TPLFWHM", "[pix] seeing of the template"),
    "fluxRatio": ("FLXRATIO", "by which the template was multiplied"),
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
_NOT_INHERITED = ("SIMPLE", "XTENSION", "BITPIX", "NAXIS", "EXTEND", "PCOUNT", "GCOUNT", "BSCALE", "BZERO")


def write_difference(
    path: str | Path,
    difference: Exposure,
    header: fits.Header,
    summary: dict[str, float | int | str | bool],
) -> None:
    """Write ``DIFFERENCE``, ``VARIANCE``, ``MASK`` and ``PSF``, replacing any file.

    Parameters
    ----------
    path : `str` or `~pathlib.Path`
        The file.
    difference : `~prompt_processing.images.Exposure`
        What to write.
    header : `~astropy.io.fits.Header`
        Of the science image: WCS and all else that is not of the file's structure is kept.
    summary : `dict`
        Numbers; the most telling ones go into the header.
    """
    kept = header.copy(strip=True)
    for keyword in (*_NOT_INHERITED, *(k for k in header if k.startswith(("NAXIS", "TTYPE", "TFORM", "Z")))):
        kept.remove(keyword, ignore_missing=True, remove_all=True)
    primary = fits.PrimaryHDU()
    for name, (keyword, comment) in _KEYWORDS.items():
        value = summary.get(name)
        if value is not None and value == value:
            primary.header[keyword] = (value[:60] if isinstance(value, str) else value, comment)
    planes = fits.Header()
    for name, bit in Mask.plane_numbers().items():
        # Longer names would need the HIERARCH convention, as those of lsst.afw do.
        planes[f"HIERARCH MP_{name}" if len(name) > 5 else f"MP_{name}"] = (bit, "mask plane: bit")
    hdus = [
        primary,
        fits.ImageHDU(difference.image, kept, "DIFFERENCE"),
        fits.ImageHDU(difference.variance, kept, "VARIANCE"),
        fits.ImageHDU(difference.mask, planes, "MASK"),
    ]
    if difference.psf is not None:
        psf = difference.psf
        frame = fits.Header({"PSFORDER": psf.order, "PSFXC": psf.x_centre, "PSFYC": psf.y_centre})
        frame["PSFSCALE"] = psf.scale
        hdus.append(fits.ImageHDU(psf.coefficients.astype(np.float32), frame, "PSF"))
    fits.HDUList(hdus).writeto(path, overwrite=True, output_verify="silentfix+ignore")
