"""Bin images whose stars are too wide for the fits, and convert results back to the files' pixels."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS, Sip
from numpy.typing import NDArray

from ..images import UNUSABLE, Exposure, Mask
from .find_psf import PsfSettings, given_stars
from .reading.header import is_wcs_keyword
from .reading.read import OpenedImage

_SECTION = re.compile(r"(DATA|BIAS|TRIM|CCD)SEC|[ACD]TV\d|[ACD]TM\d_\d")
"""Keywords that name pixels and would be wrong for a binned image."""

_OFFSETS = ("x", "y", "bboxMinX", "bboxMaxX", "bboxMinY", "bboxMaxY")
_LENGTHS = ("xErr", "yErr", "bboxSize")
_LENGTHS_WITHOUT_SKY = ("dipoleLength", "trailLength", "trailLengthErr")
_AREAS_WITHOUT_SKY = ("ixx", "iyy", "ixy", "ixxPSF", "iyyPSF", "ixyPSF")
_SUMMARY_LENGTHS = ("scienceFwhm", "templateFwhm", "differenceFwhm", "offsetPixels", "alignmentRmsPixels")


def can_bin(image: OpenedImage, psf: PsfSettings, factor: int) -> bool:
    """Return whether an image can be binned: without a distortion table in its WCS, or the user's own PSF."""
    wcs = image.exposure.wcs
    tables = wcs is not None and any(
        table is not None for table in (wcs.cpdis1, wcs.cpdis2, wcs.det2im1, wcs.det2im2)
    )
    return not tables and psf.image is None and min(image.exposure.shape) // factor >= 64


def binned_image(image: OpenedImage, factor: int) -> OpenedImage:
    """Sum squares of pixels, so that fluxes and gain stay what they are.

    Parameters
    ----------
    image : `OpenedImage`
        Image as read, with its sky.
    factor : `int`
        Width of the squares, pixels. Rows and columns that fill no square are left out.

    Returns
    -------
    binned : `OpenedImage`
        Squares with fewer than half of their pixels usable are ``NO_DATA``; others count as if the missing
        pixels were like the rest.
    """
    exposure = image.exposure
    height, width = (n // factor for n in exposure.shape)

    def squares(plane: NDArray[Any]) -> NDArray[Any]:
        cut = plane[: height * factor, : width * factor]
        return cut.reshape(height, factor, width, factor).swapaxes(1, 2).reshape(height, width, -1)

    mask = squares(exposure.mask)
    usable = (mask & np.int32(int(UNUSABLE & ~Mask.SAT))) == 0
    count = usable.sum(axis=2)
    whole = factor**2 / np.maximum(count, 1)
    total = np.sum(squares(exposure.image), axis=2, where=usable, dtype=np.float64) * whole
    variance = np.sum(squares(exposure.variance), axis=2, where=usable, dtype=np.float64) * whole**2
    planes = np.bitwise_or.reduce(np.where(usable, mask, 0), axis=2).astype(np.int32)
    missing = 2 * count < factor**2
    planes[missing] |= np.int32(int(Mask.NO_DATA))
    total[missing] = variance[missing] = 0.0
    wcs = None if exposure.wcs is None else binned_wcs(exposure.wcs, factor)
    return replace(
        image,
        exposure=Exposure(total.astype(np.float32), planes, variance.astype(np.float32), wcs=wcs),
        read_noise=None if image.read_noise is None else image.read_noise * factor,
        saturation=None if image.saturation is None else image.saturation * factor**2,
        header=_binned_header(image.header, wcs),
    )


def binned_wcs(wcs: WCS, factor: int) -> WCS:
    """Return the WCS of squares of ``factor`` x ``factor`` pixels."""
    out = wcs.deepcopy()
    out.wcs.crpix = (np.asarray(wcs.wcs.crpix) - 0.5) / factor + 0.5
    if out.wcs.has_cd():
        out.wcs.cd = np.asarray(wcs.wcs.cd) * factor
    else:
        out.wcs.cdelt = np.asarray(wcs.wcs.cdelt) * factor
    if wcs.sip is not None:
        coefficients: list[NDArray[np.float64] | None] = []
        for matrix in (wcs.sip.a, wcs.sip.b, wcs.sip.ap, wcs.sip.bp):
            if matrix is None:
                coefficients.append(None)
                continue
            order = np.add.outer(np.arange(len(matrix)), np.arange(len(matrix)))
            coefficients.append(matrix * float(factor) ** (order - 1))
        out.sip = Sip(*coefficients, (np.asarray(wcs.sip.crpix) - 0.5) / factor + 0.5)
    out.wcs.set()
    return out


def _binned_header(header: fits.Header, wcs: WCS | None) -> fits.Header:
    out = header.copy()
    for keyword in list(out):
        if _SECTION.fullmatch(keyword) or (wcs is not None and is_wcs_keyword(keyword)):
            out.remove(keyword, ignore_missing=True, remove_all=True)
    if wcs is not None:
        out.update(wcs.to_header(relax=True))
    return out


def binned_settings(psf: PsfSettings, factor: int) -> PsfSettings:
    """Return a user's knowledge of the PSF in binned pixels."""
    stars = psf.stars
    if stars is not None:
        x, y = given_stars(stars)
        stars = Table({"x": _binned(x, factor), "y": _binned(y, factor)})
    return PsfSettings(None if psf.seeing is None else psf.seeing / factor, stars)


def _binned(position: NDArray[np.float64], factor: int) -> NDArray[np.float64]:
    return (position - (factor - 1) / 2) / factor


def unbin_catalogue(sources: Table, factor: int, on_sky: bool) -> None:
    """Convert a catalogue from binned pixels to those of the file, in place."""
    for name in _OFFSETS:
        if name in sources.colnames:
            values = np.asarray(sources[name]) * factor
            sources[name] = values + (factor - 1 if name.startswith("bboxMax") else 0)
            if name in ("x", "y"):
                sources[name] = values + (factor - 1) / 2
    for name, power in (
        *((name, 1) for name in _LENGTHS),
        *((name, 1) for name in _LENGTHS_WITHOUT_SKY if not on_sky),
        *((name, 2) for name in _AREAS_WITHOUT_SKY if not on_sky),
        ("footprintArea", 2),
    ):
        if name in sources.colnames:
            sources[name] = np.asarray(sources[name]) * factor**power


def unbinned_summary(
    summary: dict[str, float | int | str | bool], factor: int
) -> dict[str, float | int | str | bool]:
    """Return a summary with lengths, sky and noise of the file's pixels, and ``binning``."""
    powers = dict.fromkeys(_SUMMARY_LENGTHS, 1)
    powers |= {"scienceSky": -2, "templateSky": -2, "scienceNoise": -1, "templateNoise": -1}
    out = {
        name: value * float(factor) ** powers[name]
        if name in powers and not isinstance(value, str)
        else value
        for name, value in summary.items()
    }
    return out | {"binning": factor}
