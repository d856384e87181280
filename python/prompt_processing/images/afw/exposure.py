"""Exposures that the stack's ``afw`` wrote."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
from astropy.io import fits
from astropy.time import Time
from lsst.sphgeom import Region
from numpy.typing import NDArray

from ..exposure import Exposure, box_around, shifted_wcs
from ..mask import Mask
from ..photo_calib import AB_ZERO_POINT_NJY, PhotoCalib
from ..visit_info import VisitInfo
from .archive import Archive, Stored, text_of
from .errors import StackFileError
from .psf import read_psf
from .transforms import sky_wcs, wcs_of_header

__all__ = [
    "is_exposure",
    "read_exposure",
    "read_exposure_parts",
    "read_photo_calib",
    "read_plane",
    "read_planes",
]

_LOG = logging.getLogger(__name__)

_PLANES = ("IMAGE", "MASK", "VARIANCE")

_ALIKE = {"UNMASKEDNAN": Mask.NO_DATA, "SENSOR_EDGE": Mask.EDGE}
"""Planes of the stack with another name here. Those without a counterpart are dropped."""

_STRUCTURE = {
    *("SIMPLE", "BITPIX", "NAXIS", "EXTEND", "COMMENT", "HISTORY", "LONGSTRN", ""),
    *("AR_HDU", "EXPINFO_V"),
}

_VARIES = 1e-3
"""Relative variation of a photometric calibration over an image above which a warning is logged."""


def is_exposure(path: str | Path) -> bool:
    """Return whether a FITS file has the three planes of ``afw``, each in an HDU of its own."""
    with fits.open(path, memmap=True) as hdus:
        return len(hdus) > len(_PLANES) and all(_find(hdus, name) is not None for name in _PLANES)


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
    if region is None or parts["wcs"] is None:
        return Exposure(*read_planes(path), **parts)
    with fitsio.FITS(str(path)) as file:
        shape = tuple(int(n) for n in file[_plane(path, "IMAGE")[0]].get_dims())
    rows, columns = box_around(region, parts["wcs"], (shape[0], shape[1]))
    parts["wcs"] = shifted_wcs(parts["wcs"], columns.start, rows.start)
    if parts["psf"] is not None:
        parts["psf"] = parts["psf"].shifted(columns.start, rows.start)
    return Exposure(*read_planes(path, rows, columns), **parts)


def read_planes(
    path: str | Path, rows: slice | None = None, columns: slice | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.float32]]:
    """Read image, mask (bits of `Mask`) and variance, or some rows and columns of them.

    Raises
    ------
    StackFileError
        Raised if the file lacks one of them.
    """
    image, mask, variance = (read_plane(path, name, rows, columns) for name in _PLANES)
    return image, mask, variance


def read_plane(
    path: str | Path, plane: str, rows: slice | None = None, columns: slice | None = None
) -> NDArray[Any]:
    """Read one plane, or some rows and columns of it.

    Parameters
    ----------
    path
        The file.
    plane
        ``IMAGE`` or ``VARIANCE`` (float32), or ``MASK`` (bits of `Mask`, int32).
    rows, columns
        What to read; all by default.

    Raises
    ------
    StackFileError
        Raised if the file lacks the plane.
    """
    number, header = _plane(path, plane)
    with fitsio.FITS(str(path)) as file:
        values = file[number].read() if rows is None else file[number][rows, :][:, columns]
    values = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    if plane != "MASK":
        return values.astype(np.float32, copy=False)
    bits = {key.removeprefix("MP_"): int(bit) for key, bit in header.items() if key.startswith("MP_")}
    return own_planes(values, bits)


def own_planes(mask: NDArray[Any], bits: dict[str, int]) -> NDArray[np.int32]:
    """Return a mask with the planes of `Mask`.

    Parameters
    ----------
    mask : `~numpy.ndarray` of integers
        Mask as stored.
    bits
        Number of the bit of each plane, by its name.
    """
    values = {**{name: int(plane) for name, plane in Mask.__members__.items()}, **_ALIKE}
    # Most images have few of the planes.
    present = int(np.bitwise_or.reduce(mask, axis=None))
    moves = [(bit, int(values[name])) for name, bit in bits.items() if name in values and present >> bit & 1]
    kept = sum(1 << bit for bit, value in moves if value == 1 << bit)
    result = (mask & kept).astype(np.int32)
    for bit, value in moves:
        if value != 1 << bit:
            result |= np.where(mask & (1 << bit), np.int32(value), np.int32(0))
    return result


def read_exposure_parts(path: str | Path) -> dict[str, Any]:
    """Read all parts of an exposure except its pixels: wcs, psf, photo_calib, visit_info, metadata."""
    with warnings.catch_warnings():
        # Keywords that are not standard.
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        with fits.open(path, memmap=True) as hdus:
            found = _find(hdus, "IMAGE")
            if found is None:
                raise StackFileError(f"{path} has no image plane: it is not an exposure of the stack.")
            primary, header = hdus[0].header, hdus[found].header
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


def _find(hdus: fits.HDUList, plane: str) -> int | None:
    """Return the number of the HDU of a plane; the oldest files name none of them."""
    for number, hdu in enumerate(hdus):
        kind = str(hdu.header.get("EXTTYPE", hdu.header.get("EXTNAME", ""))).strip()
        if kind == plane and getattr(hdu, "is_image", False):
            return number
    return None


def _plane(path: str | Path, plane: str) -> tuple[int, fits.Header]:
    """Return the number and the header of the HDU of a plane."""
    with fits.open(path, memmap=True) as hdus:
        number = _find(hdus, plane)
        if number is None:
            raise StackFileError(f"{path} has no {plane.lower()} plane: it is no exposure of the stack.")
        return number, hdus[number].header


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
