"""Sky positions as unit vectors, which need no special cases at the poles and at 0 h."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

ARCSEC = np.pi / 180 / 3600
"""One arcsecond in radians."""


def unit_vectors(ra: ArrayLike, dec: ArrayLike) -> NDArray[np.float64]:
    """Return positions as points on the unit sphere.

    Parameters
    ----------
    ra, dec : array_like, shape (n,)
        Right ascension and declination, ICRS, degrees.

    Returns
    -------
    vectors : `~numpy.ndarray` of float64, shape (n, 3)
        Cartesian vectors, with z towards the north pole.
    """
    alpha, delta = np.radians(np.asarray(ra, np.float64)), np.radians(np.asarray(dec, np.float64))
    return np.stack([np.cos(delta) * np.cos(alpha), np.cos(delta) * np.sin(alpha), np.sin(delta)], axis=-1)


def positions(vectors: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return right ascension, from 0 to 360, and declination of directions: the inverse of `unit_vectors`.

    Parameters
    ----------
    vectors : `~numpy.ndarray` of float64, shape (n, 3)
        Cartesian vectors of any length.

    Returns
    -------
    ra, dec : `~numpy.ndarray` of float64, shape (n,)
        Degrees.
    """
    x, y, z = vectors.T
    return np.degrees(np.arctan2(y, x)) % 360, np.degrees(np.arctan2(z, np.hypot(x, y)))
