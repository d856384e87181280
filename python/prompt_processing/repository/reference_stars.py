"""Divide a reference catalogue into the shards that the Butler looks up."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from astropy.table import Table
from lsst.sphgeom import HtmPixelization, LonLat, UnitVector3d

HTM_LEVEL = 7
"""HTM level of the shards, the same as the Butler's common sky pixels."""


def shards(reference_stars: Table) -> Iterator[tuple[int, Table]]:
    """Split a catalogue by HTM trixel.

    Parameters
    ----------
    reference_stars : `~astropy.table.Table`
        With ``ra`` and ``dec``, ICRS degrees.

    Yields
    ------
    trixel
        Index at `HTM_LEVEL`.
    shard : `~astropy.table.Table`
        The rows within it.
    """
    pixelization = HtmPixelization(HTM_LEVEL)
    trixels = np.array(
        [
            pixelization.index(UnitVector3d(LonLat.fromDegrees(ra, dec)))
            for ra, dec in zip(
                np.asarray(reference_stars["ra"], float),
                np.asarray(reference_stars["dec"], float),
                strict=True,
            )
        ],
        dtype=np.int64,
    )
    for trixel in np.unique(trixels):
        yield int(trixel), reference_stars[trixels == trixel]
