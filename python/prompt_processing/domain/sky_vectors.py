"""Positions on the sky as unit vectors, in which distances need no trigonometry of poles and of 0 h."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

ARCSEC = np.pi / 180 / 3600
"""One arcsecond in radians."""


def unit_vectors(ra: ArrayLike, dec: ArrayLike) -> NDArray[np.float64]:
    """Return positions as points of the unit sphere.

    Parameters
    ----------
    ra, dec : array_like, shape (n,)
        ICRS, degrees.

    Returns
    -------
    vectors : `~numpy.ndarray` of float64, shape (n, 3)
        Cartesian, z towards the north pole.
    """
    alpha, delta = np.radians(np.asarray(ra, np.float64)), np.radians(np.asarray(dec, np.float64))
    return np.stack([np.cos(delta) * np.cos(alpha), np.cos(delta) * np.sin(alpha), np.sin(delta)], axis=-1)
