"""Exposures as standard multi-extension FITS.

The primary HDU holds the keywords, followed by ``IMAGE``, ``MASK`` and
``VARIANCE`` (tile-compressed, each with the WCS) and ``PSF``. Any FITS reader
can read them without this package.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import fitsio
import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from lsst.sphgeom import Region
from numpy.typing import NDArray

from prompt_processing.images.robust import MAD_TO_SIGMA

from .exposure import Exposure, box_around, shifted_wcs
from .mask import Mask
from .photo_calib import PhotoCalib
from .psf import Psf
from .visit_info import VisitInfo

_VISIT_INFO_KEYS = {
    "instrument": "INSTRUME",
    "exposure": "EXPID",
    "detector": "DETID",
    "physical_filter": "FILTER",
    "band": "BAND",
    "mid_mjd_tai": "MJD-MID",
    "exposure_time": "EXPTIME",
    "boresight_ra": "BORERA",
    "boresight_dec": "BOREDEC",
    "rotation": "BOREROT",
    "airmass": "AIRMASS",
    "observation_reason": "OBSREASN",
    "target_name": "TARGNAME",
}
_OWN_KEYS = {*_VISIT_INFO_KEYS.values(), "CALIBM", "CALIBE", "CHECKSUM", "DATASUM", "EXTNAME"}
_STRUCTURE = {"SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "EXTEND", "COMMENT", "HISTORY", "LONGSTRN", ""}

_PLANES = ("IMAGE", "MASK", "VARIANCE")

Cards = list[dict[str, Any]]


def write_exposure(path: str | Path, exposure: Exposure) -> None:
    """Write an exposure, replacing any file at ``path``.

    The image is quantised at a quarter of its noise and the variance at a
    hundredth of its median, both with dither, which adds 0.3 per cent to the
    noise (White et al. 2012, arXiv:1201.1336). The steps come from the variance
    plane, not from CFITSIO's own estimate, which takes two thirds of its time.
    """
    wcs_cards = _wcs_cards(exposure.wcs)
    noise_step, variance_step = _quantisation_steps(exposure)
    with fitsio.FITS(str(path), "rw", clobber=True) as file:
        file.write(None, header=_primary_cards(exposure))
        for name, plane, step in (
            ("IMAGE", exposure.image, noise_step),
            ("MASK", exposure.mask, None),
            ("VARIANCE", exposure.variance, variance_step),
        ):
            cards = list(wcs_cards)
            if name == "MASK":
                cards += [
                    {"name": f"MP_{plane_name}", "value": bit, "comment": "mask plane: bit"}
                    for plane_name, bit in Mask.plane_numbers().items()
                ]
            _write_plane(file, name, plane, cards, step)
        if exposure.psf is not None:
            psf = exposure.psf
            file.write(
                psf.coefficients.astype(np.float32),
                extname="PSF",
                header=[
                    {"name": "PSFORDER", "value": psf.order, "comment": "degree of the polynomial in x, y"},
                    {"name": "PSFXC", "value": float(psf.x_centre), "comment": "[pix] where x is 0"},
                    {"name": "PSFYC", "value": float(psf.y_centre), "comment": "[pix] where y is 0"},
                    {"name": "PSFSCALE", "value": float(psf.scale), "comment": "[pix] that make x, y 1"},
                ],
            )


def read_exposure(path: str | Path, region: Region | None = None) -> Exposure:
    """Read an exposure that `write_exposure` wrote.

    Parameters
    ----------
    path
        The file.
    region
        If given and the image has a WCS, read only the rows and columns that
        the region covers; no others are decompressed.

    Returns
    -------
    exposure
        Exposure with the WCS and PSF of its pixels.
    """
    parts = read_exposure_parts(path)
    with fitsio.FITS(str(path)) as file:
        if region is None or parts["wcs"] is None:
            planes = [_native(file[name].read()) for name in _PLANES]
        else:
            rows, columns = box_around(region, parts["wcs"], file["IMAGE"].get_dims())
            planes = [np.ascontiguousarray(_native(file[name][rows, :])[:, columns]) for name in _PLANES]
            parts["wcs"] = shifted_wcs(parts["wcs"], columns.start, rows.start)
            if parts["psf"] is not None:
                parts["psf"] = parts["psf"].shifted(columns.start, rows.start)
    image, mask, variance = planes
    return Exposure(image, mask.astype(np.int32, copy=False), variance, **parts)


def read_exposure_parts(path: str | Path) -> dict[str, Any]:
    """Read all parts of an exposure except its pixels: wcs, psf, photo_calib, visit_info, metadata."""
    with fits.open(path, memmap=True) as hdus:
        primary = hdus[0].header
        header = hdus["IMAGE"].header
        psf = None
        if "PSF" in hdus:
            psf_header = hdus["PSF"].header
            psf = Psf(
                _native(np.array(hdus["PSF"].data)),
                int(psf_header["PSFORDER"]),
                float(psf_header["PSFXC"]),
                float(psf_header["PSFYC"]),
                float(psf_header["PSFSCALE"]),
            )
    return {
        "wcs": _wcs_from_header(header),
        "psf": psf,
        "photo_calib": _photo_calib_from_header(primary),
        "visit_info": _visit_info_from_header(primary),
        "metadata": {
            card.keyword: card.value
            for card in primary.cards
            if card.keyword not in _OWN_KEYS and card.keyword not in _STRUCTURE
        },
    }


def _write_plane(file: Any, name: str, plane: NDArray[Any], cards: Cards, step: float | None) -> None:
    options: dict[str, Any] = {"compress": "RICE", "tile_dims": (1, plane.shape[1])}
    if plane.dtype.kind == "f":
        if step is None:
            # A constant frame has no noise to scale the step: keep every bit.
            options = {"compress": "GZIP_2", "qlevel": None}
        else:
            options |= {"qlevel": -step, "qmethod": "SUBTRACTIVE_DITHER_2", "dither_seed": "checksum"}
    file.write(plane, extname=name, header=cards, **options)


def _quantisation_steps(exposure: Exposure) -> tuple[float | None, float | None]:
    sample = exposure.variance[::8, ::8]
    good = sample[np.isfinite(sample) & (sample > 0)]
    if good.size:
        median = float(np.median(good))
        return 0.25 * median**0.5, 0.01 * median
    # Calibration frames may lack a variance; use a finer step from their pixel-to-pixel scatter.
    differences = np.diff(exposure.image[::4], axis=1)
    differences = differences[np.isfinite(differences)]
    scatter = float(np.median(np.abs(differences))) * MAD_TO_SIGMA / 2**0.5 if differences.size else 0.0
    return (scatter / 16 if scatter > 0 else None), None


def _primary_cards(exposure: Exposure) -> Cards:
    cards: Cards = [
        {"name": key.upper(), "value": value, "comment": ""}
        for key, value in exposure.metadata.items()
        if key.upper() not in _OWN_KEYS | {"BUNIT"} and key.upper() not in _STRUCTURE
    ]
    if exposure.visit_info is not None:
        for attribute, keyword in _VISIT_INFO_KEYS.items():
            value = getattr(exposure.visit_info, attribute)
            if value == value:  # FITS has no NaN in a header
                cards.append({"name": keyword, "value": value, "comment": attribute.replace("_", " ")})
    if exposure.photo_calib is not None:
        cards.append(
            {"name": "CALIBM", "value": float(exposure.photo_calib.njy_per_unit), "comment": "nJy per unit"}
        )
        cards.append(
            {"name": "CALIBE", "value": float(exposure.photo_calib.njy_per_unit_err), "comment": "its error"}
        )
    calibrated = exposure.photo_calib is not None and exposure.photo_calib.njy_per_unit == 1.0
    unit = "nJy" if calibrated else exposure.metadata.get("BUNIT")
    if unit is not None:
        cards.append({"name": "BUNIT", "value": unit, "comment": "unit of the image"})
    return cards


def _wcs_cards(wcs: WCS | None) -> Cards:
    if wcs is None:
        return []
    return [
        {"name": card.keyword, "value": card.value, "comment": card.comment}
        for card in wcs.to_header(relax=True).cards
        if card.keyword not in ("COMMENT", "HISTORY", "DATE-OBS", "MJD-OBS", "MJDREF", "")
    ]


def _wcs_from_header(header: fits.Header) -> WCS | None:
    if "CTYPE1" not in header:
        return None
    wcs = WCS(header)
    wcs.pixel_shape = (int(header["NAXIS1"]), int(header["NAXIS2"]))
    return wcs


def _photo_calib_from_header(header: fits.Header) -> PhotoCalib | None:
    if "CALIBM" not in header:
        return None
    return PhotoCalib(float(header["CALIBM"]), float(header["CALIBE"]))


def _visit_info_from_header(header: fits.Header) -> VisitInfo | None:
    if "EXPID" not in header:
        return None
    types = {field.name: field.type for field in fields(VisitInfo)}
    casts: dict[str, tuple[Callable[[Any], Any], Any]] = {
        "str": (str, ""),
        "int": (int, 0),
        "float": (float, "nan"),
    }
    values = {}
    for attribute, keyword in _VISIT_INFO_KEYS.items():
        cast_to, missing = casts[cast(str, types[attribute])]
        values[attribute] = cast_to(header.get(keyword, missing))
    return VisitInfo(**values)


def _native(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array in the machine's byte order, which numba and sep need."""
    return array.astype(array.dtype.newbyteorder("="), copy=False)
