"""An object on the sky, with the reference stars around it."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from lsst.daf.butler import Butler, MissingDatasetTypeError
from lsst.daf.butler.registry import MissingCollectionError  # type: ignore[attr-defined]
from lsst.sphgeom import Angle, Circle, LonLat, UnitVector3d
from numpy.typing import NDArray

from prompt_processing.images.photo_calib import NJY_ZERO_POINT

from ..detector.data import instruments, output_chains
from ..sources import Sources
from ..text import escaped, sexagesimal

__all__ = ["RADIUS_ARCSEC", "STYLE", "Star", "sky_chart", "stars_near"]

_LOG = logging.getLogger("lsst.prompt_processing.navigator")

RADIUS_ARCSEC = 60.0
_REFCATS = "refcats"
_MEASURED = "single_visit_star"
_MOST_STARS = 200
_FAINTEST_MAG = 24.0
_UNREADABLE = (OSError, ValueError, LookupError, ImportError, AttributeError)

STYLE = """
.sky { width: 300px; max-width: 100%; background: #fff; border: 1px solid #d0d7de; }
.sky circle.star { fill: #1b1f24; stroke: #fff; stroke-width: 0.4; }
.sky circle.source { fill: none; stroke: #d55e00; stroke-width: 0.8; }
.sky path { fill: none; stroke: #d55e00; stroke-width: 0.8; }
.sky text { font-size: 5px; fill: #45505c; }
.sky .scale { stroke: #45505c; }
"""


@dataclass(frozen=True, slots=True)
class Star:
    """A star near an object.

    Attributes
    ----------
    ra, dec
        Degrees.
    mag
        AB magnitude; NaN if it is unknown.
    """

    ra: float
    dec: float
    mag: float


def stars_near(sources: Sources, ra: float, dec: float, visit: int, detector: int) -> tuple[list[Star], str]:
    """Return stars within `RADIUS_ARCSEC` of a position, brightest first, and where they come from.

    Parameters
    ----------
    sources
        Where the repository is.
    ra, dec
        Position, degrees.
    visit, detector
        Where to look for measured stars if the repository has no reference catalogue.

    Raises
    ------
    ~prompt_processing.navigator.sources.UnavailableError
        Raised if the repository is unavailable.
    """
    with sources.butler() as butler:
        found = _reference(butler, ra, dec)
        if found is not None:
            stars = [star for table in found[0] for star in _inside(table, ra, dec)]
            # Those without a magnitude last.
            stars.sort(key=lambda star: math.inf if math.isnan(star.mag) else star.mag)
            return stars[:_MOST_STARS], f"reference stars of {found[1]}"
        for instrument in instruments(butler):
            for chain in output_chains(butler, instrument):
                place = {"instrument": instrument, "visit": visit, "detector": detector}
                table = _read(butler, _MEASURED, chain, place)
                if table is not None:
                    return _inside(table, ra, dec), f"stars that visit {visit} measured"
    return [], "no star"


def _reference(butler: Butler, ra: float, dec: float) -> tuple[list[Any], str] | None:
    """Return the shards around a position of the first reference catalogue that has one, and its name."""
    try:
        info = butler.collections.get_info(_REFCATS, include_summary=True)
    except MissingCollectionError:
        return None
    centre = UnitVector3d(LonLat.fromDegrees(ra % 360, dec))
    circle = Circle(centre, Angle(math.radians(RADIUS_ARCSEC / 3600)))
    pixelization = butler.dimensions.skypix_dimensions["htm7"].pixelization
    pixels = [pixel for begin, end in pixelization.envelope(circle) for pixel in range(begin, end)]
    for name in sorted(info.dataset_types or ()):
        if set(butler.get_dataset_type(name).dimensions.names) != {"htm7"}:
            continue
        tables = [_read(butler, name, _REFCATS, {"htm7": pixel}) for pixel in pixels]
        found = [table for table in tables if table is not None]
        if found:
            return found, name
    return None


def _read(butler: Butler, name: str, collection: str, place: dict[str, Any]) -> Any:
    try:
        ref = butler.find_dataset(name, place, collections=collection)
        return None if ref is None else butler.get(ref)
    except (MissingDatasetTypeError, MissingCollectionError):
        return None
    except _UNREADABLE as error:
        # A file of another stack or a damaged one: the object is shown without it.
        _LOG.warning("Cannot read %s: %s", name, error)
        return None


def _inside(table: Any, ra: float, dec: float) -> list[Star]:
    names = set(table.colnames)
    if not {"ra", "dec"} <= names:
        return []
    x, y = _offsets(np.asarray(table["ra"], float), np.asarray(table["dec"], float), ra, dec)
    flux = next((one for one in ("r_flux", "psfFlux", *sorted(names)) if one in names and _is_flux(one)), "")
    near = np.flatnonzero(np.hypot(x, y) <= RADIUS_ARCSEC)
    values = np.asarray(table[flux], float)[near] if flux else np.full(near.size, math.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        mags = np.where(values > 0, NJY_ZERO_POINT - 2.5 * np.log10(values), math.nan)
    order = np.argsort(mags)[:_MOST_STARS]
    return [
        Star(float(table["ra"][one]), float(table["dec"][one]), float(mag))
        for one, mag in zip(near[order], mags[order], strict=True)
    ]


def _is_flux(name: str) -> bool:
    return name == "psfFlux" or name.endswith("_flux")


def _offsets(
    ra: NDArray[np.float64], dec: NDArray[np.float64], ra0: float, dec0: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return offsets to the east and to the north, arcsec."""
    east = (ra - ra0 + 180) % 360 - 180
    return east * math.cos(math.radians(dec0)) * 3600, (dec - dec0) * 3600


def sky_chart(
    ra: float, dec: float, stars: Iterable[Star], positions: Iterable[tuple[float, float]], what: str
) -> str:
    """Return a chart, north up and east left: stars filled, DiaSources open, the object in the cross.

    Parameters
    ----------
    ra, dec
        The object, degrees.
    stars
        Stars; the brighter, the larger.
    positions
        Right ascension and declination of its DiaSources, degrees.
    what
        What the stars are, for the text below.
    """
    shown, parts = list(stars), []
    for star in shown:
        x, y = _place(star.ra, star.dec, ra, dec)
        size = 1.0 if math.isnan(star.mag) else min(max(0.45 * (_FAINTEST_MAG - star.mag), 0.6), 4.0)
        mag = "" if math.isnan(star.mag) else f", {star.mag:.2f} mag"
        words = f"{sexagesimal(star.ra, star.dec)}{mag}, {math.hypot(x, y):.1f} arcsec away"
        parts.append(
            f'<circle class="star" cx="{-x:.2f}" cy="{-y:.2f}" r="{size:.2f}" data-words="{words}"/>'
        )
    for one in positions:
        x, y = _place(*one, ra, dec)
        if math.hypot(x, y) <= RADIUS_ARCSEC:
            parts.append(f'<circle class="source" cx="{-x:.2f}" cy="{-y:.2f}" r="1.6"/>')
    edge = RADIUS_ARCSEC
    cross = '<path d="M-8 0h5M3 0h5M0-8v5M0 3v5"/>'
    frame = (
        f'<path class="scale" d="M{20 - edge:g} {edge - 5:g}h-15"/><text x="{5 - edge:g}" '
        f'y="{edge - 8:g}">15 arcsec</text><text x="0" y="{6 - edge:g}" text-anchor="middle">N</text>'
        f'<text x="{3 - edge:g}" y="1.5">E</text>'
    )
    label = f"{len(shown)} {escaped(what)} within {RADIUS_ARCSEC:g} arcsec"
    return (
        f'<svg class="sky" viewBox="{-edge:g} {-edge:g} {2 * edge:g} {2 * edge:g}" role="img" '
        f'aria-label="{label}">{"".join(parts)}{cross}{frame}</svg><div><small>{label}</small></div>'
    )


def _place(ra: float, dec: float, ra0: float, dec0: float) -> tuple[float, float]:
    x, y = _offsets(np.array([ra]), np.array([dec]), ra0, dec0)
    return float(x[0]), float(y[0])
