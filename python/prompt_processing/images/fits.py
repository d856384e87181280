"""Exposures as FITS files in the layout of ``lsst-images``.

The primary HDU holds the keywords, followed by ``IMAGE``, ``MASK`` and
``VARIANCE`` (tile-compressed, each with the WCS), the PSF, and a description
of the object as JSON. `prompt_processing.images.layout` has the parts. Any
FITS reader reads the pixels, and ``lsst-images`` the object.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import fitsio
import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning
from astropy.wcs import WCS
from lsst.sphgeom import Region
from numpy.typing import NDArray

from prompt_processing.images.robust import MAD_TO_SIGMA

from .damaged_files import naming_the_file
from .exposure import Exposure, box_around, shifted_parts
from .layout.content import (
    description_of,
    is_layout,
    mask_bits,
    photo_calib_of,
    psf_of,
    visit_info_of,
)
from .layout.identity import Identity
from .mask import renumbered
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
_OWN_KEYS = {
    *_VISIT_INFO_KEYS.values(),
    "CALIBM",
    "CALIBE",
    "CHECKSUM",
    "DATASUM",
    "EXTNAME",
}
_STRUCTURE = {
    "SIMPLE",
    "BITPIX",
    "NAXIS",
    "NAXIS1",
    "NAXIS2",
    "EXTEND",
    "COMMENT",
    "HISTORY",
    "LONGSTRN",
    "",
    "FMTVER",
    "INDXADDR",
    "INDXSIZE",
    "JSONADDR",
    "JSONSIZE",
    "DATAMODL",
    "DATE",
    "CREATOR",
}
_CREATOR = "prompt_processing"
_BUTLER_PREFIX = "LSST BUTLER"

_PLANES = ("IMAGE", "MASK", "VARIANCE")
_FITS = b"SIMPLE"
"""Beginning of a file that is not compressed as a whole."""

_EXTENSIONS = {"image": "IMAGE", "mask": "MASK", "variance": "VARIANCE"}


def write_exposure(path: str | Path, exposure: Exposure, identity: Identity | None = None) -> None:
    """Write an exposure, replacing any file at ``path``.

    Parameters
    ----------
    path
        The file.
    exposure
        The exposure.
    identity
        What is known of the dataset beside its content, which decides between
        the types of ``lsst-images``.

    Notes
    -----
    The image is quantised at a quarter of its noise and the variance at a
    hundredth of its median, both with dither, which adds 0.3 per cent to the
    noise (White et al. 2012, arXiv:1201.1336). The steps come from the variance
    plane.
    """
    # Imported late: it takes a second, and is needed only when a visit's outputs are exported.
    from .layout.archive import FieldArchive
    from .layout.objects import field_image

    identity = identity or Identity()
    noise_step, variance_step = _quantisation_steps(exposure)
    steps = {"IMAGE": noise_step, "VARIANCE": variance_step}

    with warnings.catch_warnings():
        # Long keywords of raw headers become HIERARCH cards, and long comments are cut.
        warnings.simplefilter("ignore", VerifyWarning)
        archive = FieldArchive(
            {name: step for name, step in steps.items() if step is not None},
            lambda header: _write_primary(header, exposure),
            exposure.wcs,
        )
        image = field_image(exposure, identity)
        for plane in (image.image, image.variance):
            # The archive writes one WCS for all planes; otherwise each would fit its own first.
            plane.fits_wcs = None
        tree = archive.serialize_root(image, None, identity.butler_info)
        archive.write(path, tree)


@naming_the_file("an image")
def read_exposure(path: str | Path, region: Region | None = None) -> Exposure:
    """Read an exposure in the layout of ``lsst-images``, or in the one that this package wrote before.

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
    content = _content_of(path)
    parts = content.own_parts()
    rows, columns = (slice(0, length) for length in content.planes["IMAGE"].shape)
    if region is not None and parts["wcs"] is not None:
        rows, columns = box_around(region, parts["wcs"], content.planes["IMAGE"].shape)
        parts |= shifted_parts(parts["wcs"], parts["psf"], columns.start, rows.start)
    image, mask, variance = (_section(path, content, name, rows, columns) for name in _PLANES)
    return Exposure(
        image.astype(np.float32, copy=False),
        _with_own_bits(mask, content.bits),
        variance.astype(np.float32, copy=False),
        **parts,
    )


@naming_the_file("an image")
def read_plane(path: str | Path, plane: str) -> NDArray[Any]:
    """Read the ``image``, ``mask`` or ``variance`` of an exposure; shape (height, width)."""
    content = _content_of(path)
    name = _EXTENSIONS[plane]
    values = _section(path, content, name, *(slice(0, length) for length in content.planes[name].shape))
    return _with_own_bits(values, content.bits) if plane == "mask" else values


@naming_the_file("an image")
def read_exposure_parts(path: str | Path) -> dict[str, Any]:
    """Read all parts of an exposure except its pixels: wcs, psf, photo_calib, visit_info, metadata."""
    return _content_of(path).own_parts()


@dataclass(frozen=True, slots=True, eq=False)
class _Plane:
    """Place of a plane in its file: its header as stored, and the address of its data."""

    header: Mapping[str, Any]
    start: int

    @property
    def shape(self) -> tuple[int, int]:
        return _shape_of(self.header)


@dataclass(frozen=True, slots=True, eq=False)
class _Content:
    """All of a file but its pixels."""

    planes: Mapping[str, _Plane]
    parts: Mapping[str, Any]
    bits: Mapping[int, int] | None
    """Our bits of the mask's planes where they differ."""

    def own_parts(self) -> dict[str, Any]:
        """Return the parts for an exposure, which may change them."""
        wcs = self.parts["wcs"]
        return {
            **self.parts,
            "wcs": None if wcs is None else wcs.deepcopy(),
            "metadata": dict(self.parts["metadata"]),
        }


def _content_of(path: str | Path) -> _Content:
    status = os.stat(path)
    return _read_content(str(path), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=48)
def _read_content(path: str, modified_ns: int, size: int) -> _Content:
    """Read all but the pixels.

    A worker reads the templates of a field at each visit, and their headers take as long as a tenth of their
    pixels.
    """
    with _opened(path) as hdus:
        parts, bits = _parts_of(hdus, path)
        planes = {
            name: _Plane(dict(hdus[name].header), int(hdus[name].fileinfo()["datLoc"]))
            for name in _PLANES
            if name in hdus
        }
    return _Content(planes, parts, bits)


def _opened(path: str | Path) -> fits.HDUList:
    """Open a file; headers of compressed images stay as they are stored, which takes a third of the time."""
    return fits.open(path, memmap=True, disable_image_compression=True)


def _shape_of(header: Mapping[str, Any]) -> tuple[int, int]:
    """Return height and width of an image by its header as stored, compressed or not."""
    return int(header.get("ZNAXIS2", header["NAXIS2"])), int(header.get("ZNAXIS1", header["NAXIS1"]))


def _section(path: str | Path, content: _Content, name: str, rows: slice, columns: slice) -> NDArray[Any]:
    """Read a part of a plane, in the machine's byte order."""
    # Imported late: a worker is ready before the compiler of its functions is loaded.
    from .layout.stored_tiles import has_row_tiles, read_row_tiles

    plane = content.planes[name]
    with open(path, "rb") as file:
        if has_row_tiles(plane.header) and file.read(len(_FITS)) == _FITS:
            return read_row_tiles(file, plane.header, plane.start, rows, columns)
    with fitsio.FITS(str(path)) as compressed:
        values = compressed[name][rows, :]
    return np.ascontiguousarray(_native(values)[:, columns])


def _parts_of(hdus: fits.HDUList, path: str | Path) -> tuple[dict[str, Any], dict[int, int] | None]:
    """Return all parts but the pixels, and our bits of the mask's planes where they differ."""
    bits = None
    primary = hdus[0].header
    header = hdus["IMAGE"].header
    wcs, psf = _wcs_from_header(header), None
    photo_calib, visit_info, metadata = header_parts(primary)
    if is_layout(primary):
        description = description_of(hdus)
        bits = mask_bits(description)
        shape = _shape_of(header)
        psf = psf_of(description, hdus, shape)
        photo_calib = photo_calib or photo_calib_of(description)
        visit_info = visit_info or visit_info_of(description)
        is_known = description.get("metadata", {}).get("wcs_is_known", True)
        if not is_known:
            wcs = None
        elif primary.get("CREATOR") != _CREATOR and description.get("sky_projection") is not None:
            # Others' headers are rounded, or approximate.
            from .layout.others import wcs_of_file

            wcs = wcs_of_file(path, shape)
    # Others have a PSF of their own kind under this name.
    if psf is None and "PSF" in hdus and "PSFORDER" in hdus["PSF"].header:
        psf_header = hdus["PSF"].header
        psf = Psf(
            _native(np.array(hdus["PSF"].data)),
            int(psf_header["PSFORDER"]),
            float(psf_header["PSFXC"]),
            float(psf_header["PSFYC"]),
            float(psf_header["PSFSCALE"]),
        )
    if "BUNIT" not in metadata and "BUNIT" in header:
        metadata["BUNIT"] = header["BUNIT"]
    parts = {
        "wcs": wcs,
        "psf": psf,
        "photo_calib": photo_calib,
        "visit_info": visit_info,
        "metadata": metadata,
    }
    return parts, bits


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


def header_parts(
    primary: Mapping[str, Any],
) -> tuple[PhotoCalib | None, VisitInfo | None, dict[str, Any]]:
    """Return calibration, observation and further keywords of the primary header of a file."""
    metadata = {
        keyword: value
        for keyword, value in primary.items()
        if keyword not in _OWN_KEYS | _STRUCTURE and not keyword.startswith(_BUTLER_PREFIX)
    }
    return _photo_calib_from_header(primary), _visit_info_from_header(primary), metadata


def _write_primary(header: fits.Header, exposure: Exposure) -> None:
    header.set("CREATOR", _CREATOR, "software that wrote this file")
    for key, value in exposure.metadata.items():
        name = key.upper()
        if name not in _OWN_KEYS | _STRUCTURE | {"BUNIT"} and not name.startswith(_BUTLER_PREFIX):
            _set(header, name, value)
    if exposure.visit_info is not None:
        for attribute, keyword in _VISIT_INFO_KEYS.items():
            _set(header, keyword, getattr(exposure.visit_info, attribute), attribute.replace("_", " "))
    if exposure.photo_calib is not None:
        _set(header, "CALIBM", float(exposure.photo_calib.njy_per_unit), "nJy per unit")
        _set(header, "CALIBE", float(exposure.photo_calib.njy_per_unit_err), "its error")
    calibrated = exposure.photo_calib is not None and exposure.photo_calib.njy_per_unit == 1.0
    unit = "nJy" if calibrated else exposure.metadata.get("BUNIT")
    if unit is not None:
        _set(header, "BUNIT", unit, "unit of the image")


def _set(header: fits.Header, keyword: str, value: Any, comment: str = "") -> None:
    """Set a keyword, unless a header cannot hold the value: there is no NaN in FITS."""
    if isinstance(value, str):
        value = "".join(c if " " <= c <= "~" else "?" for c in value)
    elif isinstance(value, float | np.floating) and not math.isfinite(value):
        return
    header.set(keyword, value, comment)


def _wcs_from_header(header: fits.Header) -> WCS | None:
    if "CTYPE1" not in header:
        return None
    wcs = WCS(header)
    wcs.pixel_shape = _shape_of(header)[::-1]
    return wcs


def _photo_calib_from_header(header: Mapping[str, Any]) -> PhotoCalib | None:
    if "CALIBM" not in header:
        return None
    return PhotoCalib(float(header["CALIBM"]), float(header["CALIBE"]))


def _visit_info_from_header(header: Mapping[str, Any]) -> VisitInfo | None:
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


def _with_own_bits(mask: NDArray[Any], bits: Mapping[int, int] | None) -> NDArray[np.int32]:
    mask = mask.astype(np.int32, copy=False)
    return mask if bits is None else renumbered(mask, bits)


def _native(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array in the machine's byte order, which numba and sep need."""
    return array.astype(array.dtype.newbyteorder("="), copy=False)
