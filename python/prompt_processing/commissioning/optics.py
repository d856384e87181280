"""Guess the telescope's site and optics from headers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import astropy.units as u
import numpy as np
from astropy.coordinates import Angle, EarthLocation

from .frames import Frame
from .guess import Guess

__all__ = ["guess_optics", "guess_site", "wcs_matrix"]

_SITES = (
    ("LONG-OBS", "LAT-OBS", "ALT-OBS"),
    ("SITELONG", "SITELAT", "SITEELEV"),
    ("OBS-LONG", "OBS-LAT", "OBS-ELEV"),
    ("OBSLONG", "OBSLAT", "OBSALT"),
    ("OBSLON", "OBSLAT", "OBSALT"),
    ("LONGITUD", "LATITUDE", "HEIGHT"),
    ("GEOLON", "GEOLAT", "GEOELEV"),
    ("ESO TEL GEOLON", "ESO TEL GEOLAT", "ESO TEL GEOELEV"),
    ("OBSGEO-L", "OBSGEO-B", "OBSGEO-H"),
    ("SITE-LON", "SITE-LAT", "SITE-ELE"),
    ("TELLONG", "TELLAT", "TELALT"),
    ("LON", "LAT", "ELEVATIO"),
)
"""Keywords of longitude, latitude and height."""
_PIXEL_SIZES = (
    ("XPIXSZ", 1e-3),
    ("PIXSIZE1", 1e-3),
    ("PIXSIZE", 1e-3),
    ("PIXELSIZ", 1e-3),
    ("CCDPSIZE", 1e-3),
    ("CCDXPIXE", 1e3),
    ("ESO DET CHIP1 PSZX", 1e-3),
    ("ESO DET CHIP PSZX", 1e-3),
)
"""Keywords of the size of a pixel, and their unit in mm."""
_EAST_POSITIVE = ("ESO TEL GEOLON", "OBSGEO-L")
_SCALES = ("PIXSCALE", "PIXSCAL1", "SECPIX", "SECPIX1", "CCDSCALE", "SCALE", "PIXELSCL")


def guess_site(frames: Sequence[Frame]) -> Guess | None:
    """Guess the position of the telescope; `None` if no header has one."""
    for header in (frame.header for frame in frames):
        xyz = [header.get(f"OBSGEO-{axis}") for axis in "XYZ"]
        if all(isinstance(value, int | float) for value in xyz) and any(xyz):
            place = EarthLocation.from_geocentric(*xyz, unit=u.m).to_geodetic()
            return Guess(
                _site(place.lon.deg, place.lat.deg, place.height.to_value(u.m)), "from OBSGEO-X, Y, Z"
            )
        for longitude, latitude, height in _SITES:
            lon, lat = _degrees(header.get(longitude)), _degrees(header.get(latitude))
            if lon is None or lat is None:
                continue
            up = header.get(height)
            return Guess(
                _site(lon, lat, float(up) if isinstance(up, int | float) else 0.0),
                f"from {longitude}, {latitude}",
                _doubt_of_site(longitude in _EAST_POSITIVE, isinstance(up, int | float)),
            )
    return None


def _doubt_of_site(is_east_positive: bool, has_height: bool) -> str:
    doubts = [
        *(
            []
            if is_east_positive
            else ["the sign of the longitude (east is positive; some software writes west so)"]
        ),
        *([] if has_height else ["the height"]),
    ]
    return ", and ".join(doubts)


def guess_optics(frames: Sequence[Frame]) -> dict[str, Guess]:
    """Guess pixel size, plate scale and parity."""
    headers = [frame.header for frame in frames if frame.kind in (None, "science")] or [frames[0].header]
    header = headers[0]
    pixel = _pixel_mm(header)
    scale = _scale(header)
    matrix = next((found for one in headers if (found := wcs_matrix(one)) is not None), None)
    if matrix is not None:
        scale = Guess(3600 * math.sqrt(abs(float(np.linalg.det(matrix)))), "from the WCS")
    made: dict[str, Guess] = {}
    if scale is None and pixel is not None and isinstance(header.get("FOCALLEN"), int | float):
        focal = float(header["FOCALLEN"])
        if focal > 0:
            made["plate_scale_arcsec_per_mm"] = Guess(
                round(206264.806 / focal, 4),
                f"206265 / FOCALLEN = {focal:g} mm",
                "the true scale: `prompt instrument check --catalogue` measures it",
            )
    made["pixel_mm"] = pixel or Guess(0.009, "", "the size of a pixel: the camera's data sheet")
    if "plate_scale_arcsec_per_mm" not in made:
        if scale is not None:
            made["plate_scale_arcsec_per_mm"] = Guess(
                round(scale.value / made["pixel_mm"].value, 5), scale.why, scale.doubt
            )
        else:
            made["plate_scale_arcsec_per_mm"] = Guess(
                round(1.0 / made["pixel_mm"].value, 4),
                "1 arcsec per pixel",
                "206265 / focal length in mm; `prompt instrument check --catalogue` measures it",
            )
    if matrix is None:
        made["parity_flipped_x"] = Guess(
            False, "", "`prompt instrument check --catalogue` solves it from an image with stars"
        )
    else:
        made["parity_flipped_x"] = Guess(bool(np.linalg.det(matrix) > 0), "from the WCS")
    return made


def _pixel_mm(header: Mapping[str, Any]) -> Guess | None:
    for keyword, unit_mm in _PIXEL_SIZES:
        value = header.get(keyword)
        if isinstance(value, int | float) and value > 0:
            size = float(value) * unit_mm
            binning = header.get("XBINNING", 1)
            if keyword == "PIXSIZE1" and isinstance(binning, int):
                # INDI writes the size of a pixel before binning, others that of the image's pixels.
                size *= max(binning, 1)
            height = header.get("YPIXSZ")
            doubt = ""
            if keyword == "XPIXSZ" and isinstance(height, int | float) and abs(height / value - 1) > 0.005:
                size = math.sqrt(float(value) * float(height)) * unit_mm
                doubt = (
                    f"the pixels are not square ({value:.3g} x {height:.3g} um): this is their geometric mean"
                )
            if 1e-4 < size < 1:
                return Guess(round(size, 6), f"from {keyword}", doubt)
    return None


def _scale(header: Mapping[str, Any]) -> Guess | None:
    for keyword in _SCALES:
        value = header.get(keyword)
        if isinstance(value, int | float) and 0.001 < value < 600:
            return Guess(
                float(value), f"from {keyword}", "whether it is that of a binned or an unbinned pixel"
            )
    return None


def wcs_matrix(header: Mapping[str, Any]) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """Return the WCS matrix, degrees per pixel, if a header has a WCS that someone has solved."""
    cd = [header.get(f"CD{i}_{j}") for i in (1, 2) for j in (1, 2)]
    if all(isinstance(value, int | float) for value in cd):
        matrix = np.array(cd, float).reshape(2, 2)
    elif all(isinstance(header.get(f"CDELT{i}"), int | float) for i in (1, 2)):
        turn = math.radians(float(header.get("CROTA2", 0.0) or 0.0))
        sizes = np.array([float(header["CDELT1"]), float(header["CDELT2"])])
        matrix = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]) * sizes
    else:
        return None
    # Placeholders have a scale of 1 degree or of nothing.
    scale = 3600 * math.sqrt(abs(float(np.linalg.det(matrix))))
    return matrix if 0.001 < scale < 600 else None


def _degrees(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        pass
    try:
        return (
            float(Angle(str(value).strip(), u.deg).deg) if isinstance(value, str) and value.strip() else None
        )
    except (TypeError, ValueError):
        return None


def _site(longitude: float, latitude: float, height: float) -> dict[str, float]:
    return {
        "longitude_deg": round(float(longitude), 5),
        "latitude_deg": round(float(latitude), 5),
        "height_m": round(float(height), 1),
    }
