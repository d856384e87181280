"""Read the description in a file of ``lsst-images`` without importing that package, which takes a second."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.time import Time

from prompt_processing.images.photo_calib import PhotoCalib
from prompt_processing.images.psf import Psf
from prompt_processing.images.visit_info import VisitInfo

from .cell_psf import is_cell_psf, psf_of_cells
from .names import bits_of_planes
from .pixel_grid import psf_of_grid
from .psf_text import psf_from_metadata

__all__ = [
    "description_of",
    "is_layout",
    "mask_bits",
    "photo_calib_of",
    "psf_of",
    "visit_info_of",
]

_AB_NJY = "nJy"


def is_layout(primary: fits.Header) -> bool:
    """Return whether a primary header is that of a file of ``lsst-images``."""
    return "DATAMODL" in primary and "JSONADDR" in primary


def description_of(hdus: fits.HDUList) -> dict[str, Any]:
    """Return the description of the object in a file."""
    description = json.loads(np.asarray(hdus["JSON"].data[0]["JSON"]).tobytes())
    assert isinstance(description, dict)
    return description


def mask_bits(description: Mapping[str, Any]) -> dict[int, int] | None:
    """Return our bits of the planes of a mask by the number in the file; `None` if all are the same."""
    bits = bits_of_planes(description["mask"]["planes"])
    is_same = all(value == 1 << n for n, value in bits.items())
    n_planes = sum(plane is not None for plane in description["mask"]["planes"])
    return None if is_same and len(bits) == n_planes else bits


def psf_of(description: Mapping[str, Any], hdus: fits.HDUList, shape: tuple[int, int]) -> Psf | None:
    """Return the PSF of an image, `None` if it has none that can be read."""
    metadata = description.get("metadata", {})
    ours = psf_from_metadata(metadata)
    if ours is not None:
        return ours
    model = description.get("psf")
    if not isinstance(model, dict) or metadata.get("psf_is_known") is False:
        return None
    y0, x0 = description["image"]["yx0"]
    if is_cell_psf(model):
        return psf_of_cells(model, str(hdus.filename()), shape, x0, y0)
    if "sigma" in model and "stamp_size" in model:
        half = int(model["stamp_size"]) // 2
        profile = np.exp(-0.5 * (np.arange(-half, half + 1) / float(model["sigma"])) ** 2)
        image = np.outer(profile, profile)
        return Psf((image / image.sum()).astype(np.float32)[np.newaxis])
    try:
        solution = model["piff"]["objects"]["piff"]["objects"]["interp"]["tables"]["solution"]
        source = solution["table"]["columns"][0]["data"]["source"]
    except (KeyError, IndexError, TypeError):
        return None
    name, _, version = source.removeprefix("fits:").partition("[")[0].partition(",")
    values = np.asarray(hdus[name, int(version or 1)].data[0][0], float)
    psf = psf_of_grid(model, values, shape)
    return None if psf is None else psf.shifted(x0, y0)


def photo_calib_of(description: Mapping[str, Any]) -> PhotoCalib | None:
    """Return the calibration of an image in nJy, or of one with a constant factor."""
    if _text(description["image"]["data"].get("unit")) == _AB_NJY:
        return PhotoCalib(1.0, 0.0)
    scaling = description.get("photometric_scaling")
    if not isinstance(scaling, dict):
        return None
    coefficients = np.asarray(_inline(scaling.get("coefficients", [])), float)
    return PhotoCalib(float(coefficients[0, 0]), 0.0) if coefficients.shape == (1, 1) else None


def visit_info_of(description: Mapping[str, Any]) -> VisitInfo | None:
    """Return the observation of an image that others wrote."""
    info = description.get("obs_info")
    if not isinstance(info, dict) or info.get("exposure_id") is None or info.get("detector_num") is None:
        return None
    middle = float("nan")
    if info.get("datetime_begin") and info.get("datetime_end"):
        begin, end = (
            Time(*info[key], format="jd", scale="tai") for key in ("datetime_begin", "datetime_end")
        )
        middle = float((begin + 0.5 * (end - begin)).mjd)
    ra, dec = info.get("tracking_radec") or (float("nan"), float("nan"))

    def number(key: str) -> float:
        return float("nan") if info.get(key) is None else float(info[key])

    return VisitInfo(
        instrument=info.get("instrument") or "",
        exposure=int(info["exposure_id"]),
        detector=int(info["detector_num"]),
        physical_filter=info.get("physical_filter") or "",
        band=description.get("band") or "",
        mid_mjd_tai=middle,
        exposure_time=number("exposure_time"),
        boresight_ra=float(ra),
        boresight_dec=float(dec),
        rotation=number("boresight_rotation_angle"),
        airmass=number("boresight_airmass"),
        observation_reason=info.get("observation_reason") or "",
        target_name=info.get("object") or "",
    )


def _text(unit: Any) -> str:
    return unit if isinstance(unit, str) else str((unit or {}).get("name", ""))


def _inline(values: Any) -> Any:
    return values["data"] if isinstance(values, dict) else values
