"""Colours and sizes of the simulated populations, in AB magnitudes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BANDS = "ugrizy"
"""Bands in the order of every ``mag`` column."""


def band_index(band: str) -> int:
    """Return the column of a band; bands other than ugrizy (white light, a grating) count as r."""
    index = BANDS.find(band) if len(band) == 1 else -1
    return BANDS.index("r") if index < 0 else index


def power_law_magnitudes(
    rng: np.random.Generator, size: int, bright: float, faint: float, slope: float
) -> NDArray[np.float64]:
    """Draw magnitudes whose cumulative count grows as ``10**(slope * mag)`` between two limits.

    Parameters
    ----------
    rng : `~numpy.random.Generator`
    size
        Number of magnitudes.
    bright, faint
        Limits, AB magnitudes.
    slope
        Per magnitude: 0.6 for a uniform Euclidean population.

    Returns
    -------
    magnitudes : `~numpy.ndarray`, shape (size,)
    """
    lowest = 10 ** (slope * (bright - faint))
    return faint + np.log10(lowest + (1 - lowest) * rng.random(size)) / slope


def stellar_magnitudes(
    rng: np.random.Generator, r: NDArray[np.float64], blue_fraction_at_r22: float = 0.45
) -> NDArray[np.float32]:
    """Draw magnitudes along a stellar locus of turn-off stars and, increasingly when faint, M dwarfs.

    Parameters
    ----------
    rng : `~numpy.random.Generator`
    r : `~numpy.ndarray`, shape (n,)
        r-band magnitudes.
    blue_fraction_at_r22
        Fraction of stars near the main-sequence turn-off at r = 22.

    Returns
    -------
    magnitudes : `~numpy.ndarray` of float32, shape (n, 6)
        In the order of `BANDS`.
    """
    n = len(r)
    blue_fraction = np.clip(blue_fraction_at_r22 + 0.06 * (22 - r), 0.2, 0.95)
    blue = rng.random(n) < blue_fraction
    g_i = np.where(blue, rng.normal(0.65, 0.25, n), rng.normal(2.2, 0.45, n)).clip(-0.4, 3.4)
    # The locus: g-r saturates at 1.4, where the M dwarfs begin, and r-i takes over.
    g_r = np.minimum(0.74 * g_i, 1.4) + rng.normal(0, 0.02, n)
    r_i = g_i - g_r
    u_g = np.clip(0.75 + 1.25 * g_r, 0.3, 2.8) + rng.normal(0, 0.05, n)
    i_z = 0.55 * r_i + rng.normal(0, 0.02, n)
    z_y = 0.30 * r_i + rng.normal(0, 0.02, n)
    return _from_colours(r, u_g, g_r, r_i, i_z, z_y)


def galaxy_magnitudes(
    rng: np.random.Generator, r: NDArray[np.float64], red: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Draw magnitudes of red-sequence and star-forming galaxies; shape (n, 6), as `stellar_magnitudes`."""
    n = len(r)

    def colour(of_red: float, of_blue: float, scatter: float) -> NDArray[np.float64]:
        return np.where(red, of_red, of_blue) + rng.normal(0, scatter, n)

    return _from_colours(
        r,
        colour(1.6, 0.8, 0.25),
        colour(1.0, 0.45, 0.18),
        colour(0.45, 0.22, 0.10),
        colour(0.30, 0.12, 0.08),
        colour(0.12, 0.06, 0.06),
    )


def _from_colours(
    r: NDArray[np.float64],
    u_g: NDArray[np.float64],
    g_r: NDArray[np.float64],
    r_i: NDArray[np.float64],
    i_z: NDArray[np.float64],
    z_y: NDArray[np.float64],
) -> NDArray[np.float32]:
    return np.stack([r + g_r + u_g, r + g_r, r, r - r_i, r - r_i - i_z, r - r_i - i_z - z_y], axis=-1).astype(
        np.float32
    )
