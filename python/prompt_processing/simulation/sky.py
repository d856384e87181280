"""Deterministic catalogue of the whole sky, generated tile by tile on demand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from astropy import units as u
from astropy_healpix import HEALPix
from numpy.typing import NDArray

from .colours import (
    BANDS,
    galaxy_magnitudes,
    power_law_magnitudes,
    stellar_magnitudes,
)

NSIDE = 512
"""Tiles are HEALPix pixels, nested, 6.9 arcmin wide."""

TILE_ARCMIN2 = 4 * np.pi * (180 / np.pi * 60) ** 2 / (12 * NSIDE**2)


class Kind(IntEnum):
    """Kind of a source."""

    STAR = 0
    GALAXY = 1
    TRANSIENT = 2
    MOVER = 3


@dataclass(frozen=True, slots=True)
class SkyDensity:
    """Surface densities and magnitudes of sources.

    Attributes
    ----------
    stars, galaxies
        Number per square arcminute, down to `faint_limit`.
    transients
        New point sources per square arcminute, including those in galaxies.
    movers
        Solar-system objects per square arcminute.
    supernova_fraction
        Fraction of transients with a host galaxy.
    variable_fraction
        Fraction of stars that vary.
    bright_limit, faint_limit
        r-band limits of stars and galaxies, AB magnitudes.
    transient_magnitudes, mover_magnitudes
        Bright and faint limits of a uniform distribution, AB magnitudes.
    """

    stars: float = 6.0
    galaxies: float = 22.0
    transients: float = 0.45
    movers: float = 0.04
    supernova_fraction: float = 0.35
    variable_fraction: float = 0.04
    bright_limit: float = 12.5
    faint_limit: float = 24.8
    transient_magnitudes: tuple[float, float] = (21.3, 24.0)
    mover_magnitudes: tuple[float, float] = (19.0, 23.5)


STAR = np.dtype(
    [
        ("id", "i8"),
        ("ra", "f8"),
        ("dec", "f8"),
        ("mag", "f4", (len(BANDS),)),
        ("amplitude", "f4"),
        ("period", "f4"),
        ("phase", "f4"),
    ]
)
"""Mean magnitude; semi-amplitude (mag, 0 if constant), period (days) and phase (turns) of variation."""

GALAXY = np.dtype(
    [
        ("id", "i8"),
        ("ra", "f8"),
        ("dec", "f8"),
        ("mag", "f4", (len(BANDS),)),
        ("half_light_radius", "f4"),
        ("axis_ratio", "f4"),
        ("position_angle", "f4"),
        ("sersic_index", "f4"),
    ]
)
"""Half-light radius: arcsec, geometric mean of the axes. Position angle: radians east of north."""

TRANSIENT = np.dtype(
    [
        ("id", "i8"),
        ("ra", "f8"),
        ("dec", "f8"),
        ("mag", "f4", (len(BANDS),)),
        ("host", "i8"),
        ("decline", "f4"),
    ]
)
"""Magnitude at the catalogue's epoch; id of the host galaxy or -1; decline, magnitudes per day."""

MOVER = np.dtype(
    [
        ("id", "i8"),
        ("ra", "f8"),
        ("dec", "f8"),
        ("mag", "f4", (len(BANDS),)),
        ("rate_ra", "f4"),
        ("rate_dec", "f4"),
    ]
)
"""Position at the catalogue's epoch; rates, arcsec per hour, that of RA on the great circle."""

_MOVER_MARGIN_DEG = 0.25
"""Margin for movers: the fastest moves less than 900 arcsec in half an hour."""

_FASTEST_ARCSEC_PER_HOUR = 1500.0


@dataclass(slots=True)
class SkyCatalogue:
    """Stars, galaxies, transients and moving objects anywhere on the sky.

    A source depends only on the seed and its tile, not on the queried region, so
    that neighbouring detectors, visits and templates see the same sky.

    Attributes
    ----------
    seed : `int`
    density : `SkyDensity`
    epoch_mjd
        Epoch of the transients' magnitudes and the movers' positions, TAI.
        Movers are complete within about half an hour of it, slow ones for a night.
    """

    seed: int
    density: SkyDensity = field(default_factory=SkyDensity)
    epoch_mjd: float = 60836.3
    _tiles: dict[tuple[Kind, int], NDArray[Any]] = field(default_factory=dict, repr=False)

    def stars(self, ra: float, dec: float, radius: float) -> NDArray[Any]:
        """Return the stars of a circle (degrees) as an array of type `STAR`."""
        return self._within(Kind.STAR, ra, dec, radius)

    def galaxies(self, ra: float, dec: float, radius: float) -> NDArray[Any]:
        """Return the galaxies of a circle (degrees) as an array of type `GALAXY`."""
        return self._within(Kind.GALAXY, ra, dec, radius)

    def transients(self, ra: float, dec: float, radius: float) -> NDArray[Any]:
        """Return the transients of a circle (degrees) as an array of type `TRANSIENT`."""
        return self._within(Kind.TRANSIENT, ra, dec, radius)

    def movers(self, ra: float, dec: float, radius: float, mjd: float) -> NDArray[Any]:
        """Return the movers in a circle (degrees) at a time, as `MOVER` with their positions at that time."""
        movers = self._tiles_around(Kind.MOVER, ra, dec, radius + _MOVER_MARGIN_DEG).copy()
        hours = (mjd - self.epoch_mjd) * 24
        movers["ra"] += movers["rate_ra"] * hours / 3600 / np.cos(np.radians(movers["dec"]))
        movers["dec"] += movers["rate_dec"] * hours / 3600
        return movers[separation_deg(movers["ra"], movers["dec"], ra, dec) <= radius]

    def _within(self, kind: Kind, ra: float, dec: float, radius: float) -> NDArray[Any]:
        # Supernovae may lie a few arcseconds outside the tile of their host.
        sources = self._tiles_around(kind, ra, dec, radius + 0.01)
        return sources[separation_deg(sources["ra"], sources["dec"], ra, dec) <= radius]

    def _tiles_around(self, kind: Kind, ra: float, dec: float, radius: float) -> NDArray[Any]:
        tiles = _healpix().cone_search_lonlat(ra * u.deg, dec * u.deg, radius * u.deg)
        return np.concatenate([self._tile(kind, int(tile)) for tile in np.sort(tiles)])

    def _tile(self, kind: Kind, tile: int) -> NDArray[Any]:
        key = (kind, tile)
        if key not in self._tiles:
            self._tiles[key] = _MAKERS[kind](self, tile, np.random.default_rng([self.seed, kind, tile]))
        return self._tiles[key]


def separation_deg(
    ra: NDArray[np.float64], dec: NDArray[np.float64], ra0: float, dec0: float
) -> NDArray[np.float64]:
    """Return the angle from positions to a point (haversine), degrees."""
    d1, d2 = np.radians(dec), np.radians(dec0)
    half = np.sin((d1 - d2) / 2) ** 2 + np.cos(d1) * np.cos(d2) * np.sin(np.radians(ra - ra0) / 2) ** 2
    return np.degrees(2 * np.arcsin(np.sqrt(half)))


def _healpix() -> HEALPix:
    return HEALPix(NSIDE, order="nested")


def _blank(
    dtype: np.dtype[Any], kind: Kind, tile: int, rng: np.random.Generator, density: float
) -> NDArray[Any]:
    """Make a tile's sources at random positions, uniform in the two coordinates of a HEALPix pixel."""
    sources = np.zeros(rng.poisson(density * TILE_ARCMIN2), dtype)
    dx, dy = rng.random((2, len(sources)))
    ra, dec = _healpix().healpix_to_lonlat(np.full(len(sources), tile), dx, dy)
    sources["ra"], sources["dec"] = ra.to_value(u.deg), dec.to_value(u.deg)
    # 22 bits of tile, 4 of kind, 16 of number.
    sources["id"] = (tile << 20) + (int(kind) << 16) + np.arange(len(sources))
    return sources


def _make_stars(sky: SkyCatalogue, tile: int, rng: np.random.Generator) -> NDArray[Any]:
    density = sky.density
    stars = _blank(STAR, Kind.STAR, tile, rng, density.stars)
    n = len(stars)
    r = power_law_magnitudes(rng, n, density.bright_limit, density.faint_limit, 0.20)
    stars["mag"] = stellar_magnitudes(rng, r)
    varies = rng.random(n) < density.variable_fraction
    stars["amplitude"] = np.where(varies, np.exp(rng.normal(np.log(0.15), 0.8, n)).clip(0.02, 1.0), 0)
    stars["period"] = 10 ** rng.uniform(-1.0, 1.0, n)
    stars["phase"] = rng.random(n)
    return stars


def _make_galaxies(sky: SkyCatalogue, tile: int, rng: np.random.Generator) -> NDArray[Any]:
    density = sky.density
    galaxies = _blank(GALAXY, Kind.GALAXY, tile, rng, density.galaxies)
    n = len(galaxies)
    r = power_law_magnitudes(rng, n, 15.5, density.faint_limit, 0.40)
    red = rng.random(n) < np.clip(0.25 + 0.06 * (23 - r), 0.15, 0.6)
    galaxies["mag"] = galaxy_magnitudes(rng, r, red)
    # Median 0.3 arcsec at r = 24, 1 arcsec at r = 20: Shen et al. 2003 continued to faint magnitudes.
    galaxies["half_light_radius"] = (0.3 * 10 ** (-0.13 * (r - 24)) * np.exp(rng.normal(0, 0.35, n))).clip(
        0.08, 6
    )
    galaxies["axis_ratio"] = np.where(red, rng.beta(6, 2.5, n), rng.beta(3, 2, n)).clip(0.2, 1)
    galaxies["position_angle"] = rng.uniform(0, np.pi, n)
    galaxies["sersic_index"] = np.where(red, rng.normal(3.2, 0.6, n), rng.normal(1.2, 0.3, n)).clip(0.8, 4.5)
    return galaxies


def _make_transients(sky: SkyCatalogue, tile: int, rng: np.random.Generator) -> NDArray[Any]:
    density = sky.density
    transients = _blank(TRANSIENT, Kind.TRANSIENT, tile, rng, density.transients)
    n = len(transients)
    brightness = rng.uniform(*density.transient_magnitudes, n)
    transients["mag"] = brightness[:, np.newaxis] + rng.normal(0, 0.05, (n, len(BANDS)))
    transients["host"] = -1
    transients["decline"] = rng.normal(0.0, 0.08, n)
    galaxies = sky._tile(Kind.GALAXY, tile)
    hosts = np.flatnonzero(galaxies["mag"][:, BANDS.index("r")] < 23.5)
    in_galaxy = np.flatnonzero(rng.random(n) < density.supernova_fraction)
    if len(hosts) == 0 or len(in_galaxy) == 0:
        return transients
    host = galaxies[rng.choice(hosts, len(in_galaxy))]
    # Offsets follow the light of an exponential disc.
    radius = rng.gamma(2.0, host["half_light_radius"] / 1.678)
    angle = rng.uniform(0, 2 * np.pi, len(in_galaxy))
    major = radius * np.cos(angle) / np.sqrt(host["axis_ratio"])
    minor = radius * np.sin(angle) * np.sqrt(host["axis_ratio"])
    pa = host["position_angle"]
    north, east = major * np.cos(pa) - minor * np.sin(pa), major * np.sin(pa) + minor * np.cos(pa)
    transients["host"][in_galaxy] = host["id"]
    transients["dec"][in_galaxy] = host["dec"] + north / 3600
    transients["ra"][in_galaxy] = host["ra"] + east / 3600 / np.cos(np.radians(host["dec"]))
    return transients


def _make_movers(sky: SkyCatalogue, tile: int, rng: np.random.Generator) -> NDArray[Any]:
    density = sky.density
    movers = _blank(MOVER, Kind.MOVER, tile, rng, density.movers)
    n = len(movers)
    brightness = rng.uniform(*density.mover_magnitudes, n)
    # Solar colours.
    movers["mag"] = brightness[:, np.newaxis] + np.array([1.8, 0.45, 0.0, -0.12, -0.15, -0.16])
    # Main belt: about 35 arcsec per hour. A tenth are near-Earth objects, which leave trails.
    rate = np.where(rng.random(n) < 0.1, 10 ** rng.uniform(2, 3.17, n), rng.normal(35, 10, n).clip(5, None))
    direction = rng.uniform(0, 2 * np.pi, n)
    rate = np.minimum(rate, _FASTEST_ARCSEC_PER_HOUR)
    movers["rate_ra"], movers["rate_dec"] = rate * np.cos(direction), rate * np.sin(direction)
    return movers


_MAKERS: dict[Kind, Callable[[SkyCatalogue, int, np.random.Generator], NDArray[Any]]] = {
    Kind.STAR: _make_stars,
    Kind.GALAXY: _make_galaxies,
    Kind.TRANSIENT: _make_transients,
    Kind.MOVER: _make_movers,
}
