"""Predict positions of known minor planets during a visit, and match DiaSources to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from astropy import constants
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table
from astropy.wcs import WCS
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from prompt_processing.domain.sky_vectors import positions

from .ephemerides import ORBIT_PREFIX
from .forced_photometry import positions_on_image
from .matching import Positions, match_one_to_one

AU_PER_DAY = float((constants.au / u.day).to_value(u.km / u.s))
"""One au per day in km/s."""

Vectors = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SolarSystemMatch:
    """DiaSources matched to known minor planets.

    Attributes
    ----------
    sources : `~pandas.DataFrame`
        All DiaSources, with ``ssObjectId`` of the matched ones.
    ss_sources : `~pandas.DataFrame`
        One row for each matched source, with the columns of the alerts' ``ssSource``.
    orbits
        Orbital elements by ``ssObjectId``, named as in ``mpc_orbits``.
    n_expected
        Number of known objects predicted to be on the image.
    """

    sources: pd.DataFrame
    ss_sources: pd.DataFrame
    orbits: dict[int, dict[str, Any]]
    n_expected: int


@dataclass(frozen=True, slots=True)
class _State:
    """Positions (au) and velocities (au / day) of shape (n, 3)."""

    helio: Vectors
    helio_velocity: Vectors
    topo: Vectors
    topo_velocity: Vectors


def associate_solar_system(
    sources: pd.DataFrame,
    ephemerides: Table,
    mid_mjd_tai: float,
    wcs: WCS,
    shape: tuple[int, int],
    radius: float,
) -> SolarSystemMatch:
    """Match DiaSources to the predicted positions of minor planets.

    Matches are one-to-one, closest pairs first. Predictions are evaluated at the
    middle of the visit; objects whose polynomials do not cover it are ignored.
    Only positions are used, neither brightness nor motion along a trail.

    Parameters
    ----------
    sources : `~pandas.DataFrame`
        Columns ``diaSourceId``, ``ra``, ``dec`` (degrees), ``ssObjectId``; not changed.
    ephemerides : `~astropy.table.Table`
        Result of `~prompt_processing.association.ephemerides.query_ephemerides`.
    mid_mjd_tai
        Middle of the exposure, days.
    wcs
        WCS of the image.
    shape
        Height and width of the image, pixels.
    radius
        Largest separation, arcsec.

    Returns
    -------
    match : `SolarSystemMatch`
    """
    sources = sources.copy()
    if len(ephemerides):
        tmin, tmax = np.asarray(ephemerides["tmin"]), np.asarray(ephemerides["tmax"])
        ephemerides = ephemerides[(tmin <= mid_mjd_tai) & (mid_mjd_tai <= tmax)]
    if not len(ephemerides):
        return SolarSystemMatch(sources, pd.DataFrame({"diaSourceId": pd.Series(dtype="int64")}), {}, 0)
    state = _state(ephemerides, mid_mjd_tai)
    ra, dec = positions(state.topo)
    _, _, on_image = positions_on_image(wcs, shape, ra, dec)
    matches = match_one_to_one(Positions(sources["ra"], sources["dec"]), Positions(ra, dec), radius)
    ids = np.asarray(ephemerides["ssObjectId"], np.int64)
    found = sources["ssObjectId"].astype("object").to_numpy(copy=True)
    found[matches.first] = ids[matches.second]
    sources["ssObjectId"] = pd.array(found, dtype="Int64")
    ss_sources = _ss_sources(sources.iloc[matches.first], ephemerides, state, matches.second)
    orbits = _orbits(ephemerides[matches.second])
    return SolarSystemMatch(sources, ss_sources, orbits, int(on_image.sum()))


def _state(ephemerides: Table, mid_mjd_tai: float) -> _State:
    days = mid_mjd_tai - np.asarray(ephemerides["tmin"], np.float64)

    def evaluate(body: str) -> tuple[Vectors, Vectors]:
        coefficients = [np.asarray(ephemerides[f"{body}_{axis}_poly"], np.float64).T for axis in "xyz"]
        position = [chebyshev.chebval(days, c, tensor=False) for c in coefficients]
        velocity = [chebyshev.chebval(days, chebyshev.chebder(c), tensor=False) for c in coefficients]
        return np.stack(position, axis=-1), np.stack(velocity, axis=-1)

    helio, helio_velocity = evaluate("obj")
    observer, observer_velocity = evaluate("obs")
    return _State(helio, helio_velocity, helio - observer, helio_velocity - observer_velocity)


def _angle(first: Vectors, second: Vectors) -> Vectors:
    cross = np.linalg.norm(np.cross(first, second), axis=1)
    return np.degrees(np.arctan2(cross, np.sum(first * second, axis=1)))


def _ss_sources(
    matched: pd.DataFrame, ephemerides: Table, state: _State, rows: NDArray[np.int64]
) -> pd.DataFrame:
    """Fill the columns of ``ssSource``: angles in degrees, au, km/s, offsets in arcsec, rates in deg/d."""
    helio, topo = state.helio[rows], state.topo[rows]
    helio_velocity, topo_velocity = state.helio_velocity[rows], state.topo_velocity[rows]
    helio_range, topo_range = np.linalg.norm(helio, axis=1), np.linalg.norm(topo, axis=1)
    ra, dec = matched["ra"].to_numpy(np.float64), matched["dec"].to_numpy(np.float64)
    eph_ra, eph_dec = positions(topo)

    alpha, delta = np.radians(eph_ra), np.radians(eph_dec)
    zero = np.zeros_like(alpha)
    east = np.stack([-np.sin(alpha), np.cos(alpha), zero], axis=-1)
    north = np.stack([-np.sin(delta) * np.cos(alpha), -np.sin(delta) * np.sin(alpha), np.cos(delta)], axis=-1)
    rate_ra = np.degrees(np.sum(topo_velocity * east, axis=1) / topo_range)
    rate_dec = np.degrees(np.sum(topo_velocity * north, axis=1) / topo_range)
    rate = np.hypot(rate_ra, rate_dec)
    offset_ra = ((ra - eph_ra + 180) % 360 - 180) * np.cos(np.radians(dec)) * 3600
    offset_dec = (dec - eph_dec) * 3600
    with np.errstate(invalid="ignore", divide="ignore"):
        along = (offset_ra * rate_ra + offset_dec * rate_dec) / rate
        cross = (offset_dec * rate_ra - offset_ra * rate_dec) / rate
    observed = SkyCoord(ra, dec, unit="deg")
    ecliptic, galactic = observed.barycentricmeanecliptic, observed.galactic
    columns: dict[str, object] = {
        "diaSourceId": matched["diaSourceId"].to_numpy(np.int64),
        "ssObjectId": np.asarray(ephemerides["ssObjectId"], np.int64)[rows],
        "designation": np.asarray(ephemerides["designation"], object)[rows],
        "eclLambda": ecliptic.lon.deg,
        "eclBeta": ecliptic.lat.deg,
        "galLon": galactic.l.deg,
        "galLat": galactic.b.deg,
        "elongation": _angle(topo - helio, topo),
        "phaseAngle": _angle(helio, topo),
        "topoRange": topo_range,
        "topoRangeRate": np.sum(topo * topo_velocity, axis=1) / topo_range * AU_PER_DAY,
        "helioRange": helio_range,
        "helioRangeRate": np.sum(helio * helio_velocity, axis=1) / helio_range * AU_PER_DAY,
        "ephRa": eph_ra,
        "ephDec": eph_dec,
        "ephVmag": np.asarray(ephemerides["vmag"], np.float64)[rows],
        "ephRate": rate,
        "ephRateRa": rate_ra,
        "ephRateDec": rate_dec,
        "ephOffset": np.hypot(offset_ra, offset_dec),
        "ephOffsetRa": offset_ra,
        "ephOffsetDec": offset_dec,
        "ephOffsetAlongTrack": along,
        "ephOffsetCrossTrack": cross,
        "diaDistanceRank": np.ones(len(rows), np.int32),
    }
    for name, position, velocity in (("helio", helio, helio_velocity), ("topo", topo, topo_velocity)):
        for axis, letter in enumerate("xyz"):
            columns[f"{name}_{letter}"] = position[:, axis]
            columns[f"{name}_v{letter}"] = velocity[:, axis] * AU_PER_DAY
        columns[f"{name}_vtot"] = np.linalg.norm(velocity, axis=1) * AU_PER_DAY
    return pd.DataFrame(columns)


_ORBIT_INTEGERS = frozenset({"id", "orbit_type_int", "u_param", "nopp", "nobs_total", "nobs_total_sel"})
_ORBIT_DEMANDED = (
    "id",
    "designation",
    "packed_primary_provisional_designation",
    "unpacked_primary_provisional_designation",
)


def _orbits(ephemerides: Table) -> dict[int, dict[str, Any]]:
    """Return records of ``mpc_orbits``; empty if the service does not return that table's columns."""
    names = [name for name in ephemerides.colnames if name.startswith(ORBIT_PREFIX)]
    if not {ORBIT_PREFIX + name for name in _ORBIT_DEMANDED} <= set(names):
        return {}
    orbits = {}
    for row in ephemerides:
        record = {name.removeprefix(ORBIT_PREFIX): row[name] for name in names}
        orbits[int(row["ssObjectId"])] = {
            name: _plain_element(name, value)
            for name, value in record.items()
            # Times are text in several formats; the packets require integers, or null.
            if not name.endswith(("_at", "_datetime"))
        }
    return orbits


def _plain_element(name: str, value: Any) -> int | float | str | None:
    if isinstance(value, str):
        return int(value) if name in _ORBIT_INTEGERS and value.isdecimal() else str(value) or None
    if not np.isfinite(value):
        return None
    return int(value) if name in _ORBIT_INTEGERS else float(value)
