"""Exposures that the stack's ``afw`` wrote."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
from astropy.io import fits
from astropy.time import Time
from lsst.sphgeom import Region
from numpy.typing import NDArray

from ..damaged_files import naming_the_file
from ..exposure import Exposure, box_around, shifted_parts
from ..mask import Mask, renumbered
from ..photo_calib import AB_ZERO_POINT_NJY, PhotoCalib
from ..visit_info import VisitInfo
from .archive import Archive, Stored, kind_of, text_of
from .errors import StackFileError, UnreadableTypeError
from .psf import read_psf
from .transforms import sky_wcs, wcs_of_header

__all__ = ["read_exposure", "read_exposure_parts", "read_photo_calib", "read_plane"]

_LOG = logging.getLogger(__name__)

_PLANES = ("image", "mask", "variance")

_ALIKE = {"UNMASKEDNAN": Mask.NO_DATA, "SENSOR_EDGE": Mask.EDGE}
"""Planes of the stack with another name here. Those without a counterpart are dropped."""

_STRUCTURE = {
    *("SIMPLE", "BITPIX", "NAXIS", "EXTEND", "COMMENT", "HISTORY", "LONGSTRN", ""),
    *("AR_HDU", "EXPINFO_V"),
}

_VARIES = 1e-3
"""Relative variation of a photometric calibration over an image above which a warning is logged."""


@naming_the_file("an image of the stack", StackFileError, UnreadableTypeError)
def read_exposure(path: str | Path, region: Region | None = None) -> Exposure:
    """Read an exposure.

    Parameters
    ----------
    path
        The file.
    region
        If given and the image has a WCS, read only the rows and columns that the region covers.

    Returns
    -------
    exposure
        Pixel (0, 0) is the lower left of the image, whatever the stack's coordinates of it. ``psf`` is
        `None` if the file has none, or one of a kind that is not read: measure it then.

    Raises
    ------
    StackFileError
        Raised if the file has no image, mask and variance.
    """
    parts = read_exposure_parts(path)
    wcs = parts["wcs"]
    rows = columns = None
    if region is not None and wcs is not None:
        rows, columns = box_around(region, wcs, wcs.array_shape)
        parts |= shifted_parts(wcs, parts["psf"], columns.start, rows.start)
    image, mask, variance = _read_planes(path, _PLANES, rows, columns)
    return Exposure(image, mask, variance, **parts)


@naming_the_file("an image of the stack", StackFileError, UnreadableTypeError)
def read_plane(path: str | Path, plane: str) -> NDArray[Any]:
    """Read the ``image``, ``mask`` (bits of `Mask`) or ``variance``; shape (height, width).

    Raises
    ------
    StackFileError
        Raised if the file lacks the plane.
    """
    return _read_planes(path, (plane,))[0]


def _read_planes(
    path: str | Path, planes: Iterable[str], rows: slice | None = None, columns: slice | None = None
) -> list[NDArray[Any]]:
    """Read some planes, or some rows and columns of them."""
    with fits.open(path, memmap=True) as hdus:
        found = [(plane, *_plane(hdus, plane, path)) for plane in planes]
    with fitsio.FITS(str(path)) as file:
        return [_values(file[number], plane, header, rows, columns) for plane, number, header in found]


def _values(
    hdu: Any, plane: str, header: fits.Header, rows: slice | None, columns: slice | None
) -> NDArray[Any]:
    values = hdu.read() if rows is None else hdu[rows, :][:, columns]
    values = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    if plane != "mask":
        return values.astype(np.float32, copy=False)
    ours = {**Mask.__members__, **_ALIKE}
    bits = {key.removeprefix("MP_"): int(bit) for key, bit in header.items() if key.startswith("MP_")}
    return renumbered(values, {bit: int(ours[name]) for name, bit in bits.items() if name in ours})


@naming_the_file("an image of the stack", StackFileError, UnreadableTypeError)
def read_exposure_parts(path: str | Path) -> dict[str, Any]:
    """Read all parts of an exposure except its pixels: wcs, psf, photo_calib, visit_info, metadata."""
    with warnings.catch_warnings():
        # Keywords that are not standard.
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        with fits.open(path, memmap=True) as hdus:
            primary = hdus[0].header
            _, header = _plane(hdus, "image", path)
            shape = (int(header["NAXIS2"]), int(header["NAXIS1"]))
            x0, y0 = _origin(header)
            archive = Archive(hdus) if Archive.is_in(hdus) else None
            wcs = psf = None
            if archive is not None and (identity := _id(primary, "SKYWCS", "WCS")):
                wcs = sky_wcs(archive, identity, header, shape, x0, y0)
            if wcs is None:
                wcs = wcs_of_header(header, shape)
            if archive is not None and (identity := _id(primary, "PSF")):
                try:
                    psf = read_psf(archive, identity, shape, x0, y0)
                except StackFileError as error:
                    _LOG.info("The PSF of %s has to be measured: %s", path, error)
            return {
                "wcs": wcs,
                "psf": psf,
                "photo_calib": _photo_calib(primary, archive, shape, (x0, y0), path),
                "visit_info": _visit_info(primary, archive),
                "metadata": {**_metadata(primary), **_unit(header, primary)},
            }


@naming_the_file("a photometric calibration of the stack", StackFileError, UnreadableTypeError)
def read_photo_calib(path: str | Path) -> PhotoCalib:
    """Read a photometric calibration from a file of its own; of one that varies, the mean of its field.

    Raises
    ------
    StackFileError
        Raised if the file has none.
    """
    with fits.open(path, memmap=True) as hdus:
        archive = Archive(hdus)
        stored = next(archive.named("PhotoCalib"), None)
        if stored is None:
            raise StackFileError(f"{path} has no photometric calibration.")
        row = stored.row()
        return PhotoCalib(float(row["calibrationMean"]), float(row["calibrationErr"]))


def _plane(hdus: fits.HDUList, plane: str, path: str | Path) -> tuple[int, fits.Header]:
    """Return the number and the header of the HDU of a plane."""
    for number, hdu in enumerate(hdus):
        if kind_of(hdu) == plane.upper() and getattr(hdu, "is_image", False):
            return number, hdu.header
    raise StackFileError(f"{path} has no {plane} plane: it is not an exposure of the stack.")


def _origin(header: fits.Header) -> tuple[int, int]:
    """Return the stack's coordinates of the lower left pixel."""
    if str(header.get("CTYPE1A", "")).strip() == "LINEAR":
        return round(float(header.get("CRVAL1A", 0))), round(float(header.get("CRVAL2A", 0)))
    return -round(float(header.get("LTV1", 0))), -round(float(header.get("LTV2", 0)))


def _id(primary: fits.Header, *names: str) -> int:
    """Return the number in the archive of a part of the exposure; 0 if it has none."""
    for name in names:
        for keyword in (f"ARCHIVE_ID_{name}", f"{name}_ID"):
            if primary.get(keyword):
                return int(primary[keyword])
    return 0


def _photo_calib(
    primary: fits.Header,
    archive: Archive | None,
    shape: tuple[int, int],
    origin: tuple[int, int],
    path: str | Path,
) -> PhotoCalib | None:
    identity = _id(primary, "PHOTOCALIB")
    if archive is None or not identity:
        flux_of_zero = float(primary.get("FLUXMAG0", 0) or 0)
        if not flux_of_zero > 0:
            return None
        error = float(primary.get("FLUXMAG0ERR", 0) or 0)
        factor = AB_ZERO_POINT_NJY / flux_of_zero
        return PhotoCalib(factor, factor * error / flux_of_zero)
    row = archive[identity].row()
    mean, error = float(row["calibrationMean"]), float(row["calibrationErr"])
    if not _flag(row, 0) and int(row["field"]) in archive:
        values = _chebyshev(archive[int(row["field"])], shape, origin)
        # The oldest files have the calibration itself in the field, later ones its ratio to the mean.
        version = int(row["version"]) if "version" in row else 0
        ratio = values / mean if version < 1 else values
        middle = mean * float(np.mean(ratio))
        spread = float(np.ptp(ratio))
        if spread > _VARIES:
            _LOG.warning(
                "The photometric calibration of %s varies by %.1f %% over the image; its mean is used.",
                path,
                100 * spread,
            )
        return PhotoCalib(middle, error)
    return PhotoCalib(mean, error)


def _chebyshev(stored: Stored, shape: tuple[int, int], origin: tuple[int, int]) -> NDArray[np.float64]:
    """Evaluate a field at 5 x 5 points of an image."""
    row = stored.row()
    coefficients = np.asarray(row["coefficients"], float).reshape(-1, int(row["order_x"]) + 1)
    scaled = []
    for axis, length, first in (("x", shape[1], origin[0]), ("y", shape[0], origin[1])):
        low, high = float(row[f"bbox_min_{axis}"]) - 0.5, float(row[f"bbox_max_{axis}"]) + 0.5
        pixels = first + np.linspace(0, length - 1, 5)
        scaled.append((2 * pixels - low - high) / (high - low))
    x, y = np.meshgrid(*scaled)
    return np.asarray(np.polynomial.chebyshev.chebval2d(x, y, coefficients.T))


def _visit_info(primary: fits.Header, archive: Archive | None) -> VisitInfo | None:
    exposure = primary.get("IDNUM", primary.get("EXPID", 0))
    if not isinstance(exposure, int) or not exposure:
        return None
    physical, band = str(primary.get("FILTER", "")).strip(), ""
    if archive is not None and (identity := _id(primary, "FILTER")) and identity in archive:
        label = archive[identity]
        if label.name == "FilterLabel":
            row = label.row()
            has_band, has_physical = _flag(row, 0), _flag(row, 1)
            band = text_of(row["band"]) if has_band else ""
            physical = text_of(row["physical"]) if has_physical else physical
    detector = 0
    if archive is not None and (identity := _id(primary, "DETECTOR")) and identity in archive:
        detector = int(archive[identity].row()["id"])
    middle = float("nan")
    if "DATE-AVG" in primary:
        scale = str(primary.get("TIMESYS", "TAI")).strip().lower()
        middle = float(Time(str(primary["DATE-AVG"]), format="isot", scale=scale).tai.mjd)
    on_sky = str(primary.get("ROTTYPE", "")).strip() == "SKY"
    return VisitInfo(
        instrument=str(primary.get("INSTRUMENT", primary.get("INSTRUME", ""))).strip(),
        exposure=exposure,
        detector=detector,
        physical_filter=physical,
        band=band,
        mid_mjd_tai=middle,
        exposure_time=_number_of(primary, "EXPTIME"),
        boresight_ra=_number_of(primary, "BORE-RA"),
        boresight_dec=_number_of(primary, "BORE-DEC"),
        rotation=_number_of(primary, "BORE-ROTANG") if on_sky else float("nan"),
        airmass=_number_of(primary, "BORE-AIRMASS"),
        observation_reason=str(primary.get("REASON", "")).strip(),
        target_name=str(primary.get("OBJECT", "")).strip(),
    )


def _number_of(header: fits.Header, keyword: str) -> float:
    value = header.get(keyword)
    return float(value) if isinstance(value, int | float) else float("nan")


def _flag(row: Mapping[str, Any], bit: int) -> bool:
    return bool(np.atleast_1d(row["flags"])[bit])


def _metadata(primary: fits.Header) -> dict[str, Any]:
    return {
        card.keyword: card.value
        for card in primary.cards
        if card.keyword not in _STRUCTURE
        and not card.keyword.startswith("ARCHIVE_ID_")
        and not card.keyword.endswith("_ID")
        and not isinstance(card.value, fits.card.Undefined)
    }


def _unit(header: fits.Header, primary: fits.Header) -> dict[str, str]:
    """Return the unit of the image, which the stack writes beside it, or as a result of its reduction."""
    # The primary header may still have the raw's.
    unit = header.get("BUNIT", primary.get("LSST ISR UNITS"))
    return {} if unit is None else {"BUNIT": str(unit).strip()}
