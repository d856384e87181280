"""The sources of one of the `.regimes`: stars, galaxies, and what changed between the images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .regimes import Regime

__all__ = ["BRIGHTEST_SNR", "Sky", "make_sky"]

FAINTEST_SNR, BRIGHTEST_SNR = 4.0, 12_000.0
"""Range of the stars' signal-to-noise ratios; they become twice as many with each magnitude."""
STAR_COUNTS_SLOPE = 0.3
ALONE_FWHM = 6.0
"""Least distance of two changes, in units of the wider PSF."""


@dataclass(slots=True, eq=False)
class Sky:
    """Sources on the science image's pixels.

    Attributes
    ----------
    x, y : `~numpy.ndarray`, shape (n,)
        Pixels of the science image.
    science_flux, template_flux : `~numpy.ndarray`, shape (n,)
        Electrons of a frame of depth 1.
    extent : `~numpy.ndarray`, shape (n, 3)
        Half-light ellipse ``xx, yy, xy``, pixels squared; zeros for points.
    bulge : `~numpy.ndarray`, shape (n,)
        Share of the flux in a de Vaucouleurs profile.
    kind : `~numpy.ndarray` of str, shape (n,)
        ``star``, ``galaxy``, ``variable`` or ``transient``.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    science_flux: NDArray[np.float64]
    template_flux: NDArray[np.float64]
    extent: NDArray[np.float64]
    bulge: NDArray[np.float64]
    kind: NDArray[np.str_]


def make_sky(regime: Regime, shape: tuple[int, int], unit: float, rng: np.random.Generator) -> Sky:
    """Draw the sources of a regime, and what changed.

    Parameters
    ----------
    regime : `Regime`
        Numbers and kinds of the sources.
    shape : `tuple` of `int`
        Height and width of the science image, pixels.
    unit : `float`
        Flux of a point source of signal-to-noise ratio 1, electrons of a frame of depth 1.
    rng : `~numpy.random.Generator`
        Source of all random numbers.
    """
    height, width = shape
    area = height * width / 1e6
    n_stars, n_galaxies = round(regime.stars * area), round(regime.galaxies * area)
    steepness = 2.5 * STAR_COUNTS_SLOPE
    share = rng.uniform(0, 1, n_stars)
    faint, bright = FAINTEST_SNR**-steepness, BRIGHTEST_SNR**-steepness
    star_flux = unit * (faint + share * (bright - faint)) ** (-1 / steepness)
    star_flux[: min(regime.halos, n_stars)] = unit * BRIGHTEST_SNR * 10
    galaxy_flux = unit * 10 ** rng.uniform(0.8, 3.2, n_galaxies)
    size = rng.lognormal(np.log(2.5), 0.4, n_galaxies) * (galaxy_flux / unit / 100) ** 0.15
    extents = _ellipses(size, rng.uniform(0.3, 1.0, n_galaxies), rng.uniform(0, np.pi, n_galaxies))
    kind = np.array(["star"] * n_stars + ["galaxy"] * n_galaxies, dtype="U10")
    flux = np.concatenate([star_flux, galaxy_flux])
    extent = np.concatenate([np.zeros((n_stars, 3)), extents])
    bulge = np.concatenate([np.zeros(n_stars), rng.uniform(0, 0.8, n_galaxies)])
    margin = 30
    x = rng.uniform(-margin, width + margin, len(flux))
    y = rng.uniform(-margin, height + margin, len(flux))
    colour = 10 ** (-0.4 * rng.normal(0, 1, len(flux)) * regime.colours) if regime.colours else 1.0
    sky = Sky(x, y, flux, flux * colour, extent, bulge, kind)
    if regime.large_galaxy:
        _add_large_galaxy(sky, shape, unit, rng)
    if regime.halos:
        stars = sky.x[: regime.halos], sky.y[: regime.halos]
        for axis, length in zip(stars, (width, height), strict=True):
            axis[:] = rng.uniform(0.15 * length, 0.85 * length, len(axis))
    _change(sky, regime, shape, unit, rng)
    return sky


def _ellipses(
    size: NDArray[np.float64], ratio: NDArray[np.float64], angle: NDArray[np.float64]
) -> NDArray[np.float64]:
    major, minor = size**2 / ratio, size**2 * ratio
    c, s = np.cos(angle), np.sin(angle)
    return np.stack(
        [major * c**2 + minor * s**2, major * s**2 + minor * c**2, (major - minor) * c * s], axis=-1
    )


def _append(sky: Sky, **columns: NDArray[np.float64] | NDArray[np.str_]) -> None:
    for name in sky.__slots__:
        setattr(sky, name, np.concatenate([getattr(sky, name), columns[name]]))


def _add_large_galaxy(sky: Sky, shape: tuple[int, int], unit: float, rng: np.random.Generator) -> None:
    """Add a galaxy with a bulge, a disc over most of the frame, and knots that follow the disc."""
    height, width = shape
    n_knots = 150
    x0, y0 = width * rng.uniform(0.4, 0.6), height * rng.uniform(0.4, 0.6)
    radius, angle, turn = 0.25 * min(shape), rng.uniform(0, 2 * np.pi, n_knots), rng.uniform(0, np.pi)
    distance = rng.gamma(2.0, 0.6 * radius, n_knots)
    u, v = distance * np.cos(angle), 0.6 * distance * np.sin(angle)
    x = np.concatenate([[x0, x0], x0 + u * np.cos(turn) - v * np.sin(turn)])
    y = np.concatenate([[y0, y0], y0 + u * np.sin(turn) + v * np.cos(turn)])
    flux = unit * np.concatenate([[60_000.0, 6_000.0], 10 ** rng.uniform(1, 2.3, n_knots)])
    size = np.concatenate([[radius, 0.08 * radius], rng.uniform(0.8, 4.0, n_knots)])
    ratio = np.concatenate([[0.6, 0.9], np.ones(n_knots)])
    _append(
        sky,
        x=x,
        y=y,
        science_flux=flux,
        template_flux=flux.copy(),
        extent=_ellipses(size, ratio, np.full(n_knots + 2, turn)),
        bulge=np.concatenate([[0.0, 0.8], np.zeros(n_knots)]),
        kind=np.full(n_knots + 2, "galaxy", dtype="U10"),
    )


def _change(sky: Sky, regime: Regime, shape: tuple[int, int], unit: float, rng: np.random.Generator) -> None:
    """Let stars vary, and add sources to one of the images; a third of these lie on galaxies."""
    height, width = shape
    apart = ALONE_FWHM * max(regime.science.fwhm, regime.template.fwhm / regime.scale)
    edge = min(2 * apart, 0.1 * min(shape))
    most = min(max(round(150 * height * width / 1e6), 12), max(int(height * width / (4 * apart**2)), 2))
    inside = (sky.x > edge) & (sky.x < width - edge) & (sky.y > edge) & (sky.y < height - edge)
    taken: list[tuple[float, float]] = []

    def free(x: float, y: float) -> bool:
        return all(np.hypot(x - a, y - b) > apart for a, b in taken)

    bright = inside & (sky.kind == "star") & (sky.science_flux > 20 * unit)
    bright &= sky.science_flux < 3000 * unit
    for star in rng.permutation(np.flatnonzero(bright))[: most // 3]:
        if free(sky.x[star], sky.y[star]):
            taken.append((sky.x[star], sky.y[star]))
            factor = 1 + rng.uniform(0.1, 0.9)
            which = sky.science_flux if rng.random() < 0.5 else sky.template_flux
            which[star] *= factor
            sky.kind[star] = "variable"
    hosts = np.flatnonzero(inside & (sky.kind == "galaxy"))
    for i in range(most - len(taken)):
        for attempt in range(50):
            x, y = rng.uniform(edge, width - edge), rng.uniform(edge, height - edge)
            if i % 3 == 0 and len(hosts) and attempt < 10:
                host = rng.choice(hosts)
                x, y = sky.x[host] + rng.normal(0, 2), sky.y[host] + rng.normal(0, 2)
            if free(x, y):
                break
        else:
            continue
        taken.append((x, y))
        flux = np.array([unit * 4 * 10 ** rng.uniform(0, 1.9)])
        new = rng.random() < 0.6
        _append(
            sky,
            x=np.array([x]),
            y=np.array([y]),
            science_flux=flux if new else np.zeros(1),
            template_flux=np.zeros(1) if new else flux,
            extent=np.zeros((1, 3)),
            bulge=np.zeros(1),
            kind=np.array(["transient"]),
        )
