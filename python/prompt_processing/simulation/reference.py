"""Reference catalogue of the simulated sky."""

from __future__ import annotations

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from .colours import BANDS
from .scene import njy
from .sky import SkyCatalogue

POSITION_ERROR_MAS = 4.0
MAGNITUDE_ERROR = 0.005


def reference_stars(
    sky: SkyCatalogue,
    ra: float,
    dec: float,
    radius: float,
    seed: int,
    bright: float = 14.0,
    faint: float = 23.0,
) -> Table:
    """List the stars in a circle, with the errors of an external catalogue.

    Parameters
    ----------
    sky : `SkyCatalogue`
    ra, dec, radius
        Degrees.
    seed
        Seed of the catalogue's errors, a few mas and 0.005 mag; the errors of a
        star do not depend on the circle.
    bright, faint
        Limits in r, AB magnitudes.

    Returns
    -------
    stars : `~astropy.table.Table`
        ``id``, ``ra``, ``dec`` (ICRS degrees), and ``<band>_flux``, ``<band>_fluxErr`` (nJy) for ugrizy.
    """
    stars = sky.stars(ra, dec, radius)
    r = stars["mag"][:, BANDS.index("r")]
    stars = stars[(r >= bright) & (r <= faint)]
    errors = _errors(stars["id"], seed)
    shift = errors[:, :2] * POSITION_ERROR_MAS / 1000 / 3600
    table = Table(
        {
            "id": stars["id"],
            "ra": stars["ra"] + shift[:, 0] / np.cos(np.radians(stars["dec"])),
            "dec": stars["dec"] + shift[:, 1],
        }
    )
    for column, band in enumerate(BANDS):
        flux = njy(stars["mag"][:, column])
        # Gaia-like: photon noise adds to the floor at the faint end.
        relative = np.hypot(MAGNITUDE_ERROR, 0.03 * 10 ** (0.4 * (stars["mag"][:, column] - 23.5))) * 0.921
        table[f"{band}_flux"] = flux * (1 + relative * errors[:, 2 + column])
        table[f"{band}_fluxErr"] = flux * relative
    for name in ("ra", "dec"):
        table[name].unit = "deg"
    return table


def _errors(ids: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    """Return eight standard normal deviates for each star, which depend only on its id and the seed."""
    key = ids.astype(np.uint64)[:, np.newaxis] * np.uint64(0x9E3779B97F4A7C15)
    key = key + (np.arange(16, dtype=np.uint64) + np.uint64(seed) * np.uint64(1000)) * np.uint64(
        0xBF58476D1CE4E5B9
    )
    # SplitMix64, a counter-based generator, so that the order of calls does not matter.
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    uniform = ((key ^ (key >> np.uint64(31))) >> np.uint64(11)).astype(float) * 2.0**-53
    radius = np.sqrt(-2 * np.log(np.maximum(uniform[:, :8], 1e-16)))
    return np.asarray(radius * np.cos(2 * np.pi * uniform[:, 8:]))
