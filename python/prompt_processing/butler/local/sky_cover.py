"""Which part of a region of the sky images cover."""

from __future__ import annotations

import numpy as np
from lsst.sphgeom import Region
from numpy.typing import NDArray

from prompt_processing.domain.sky_vectors import positions
from prompt_processing.images import Exposure, Mask

__all__ = ["SkyCover"]

_POINTS = 48
"""Points along each side of the square around a region: about 20 arcsec apart for a detector of LSSTCam."""


class SkyCover:
    """The points of a grid over a region that none of some images covers yet.

    Parameters
    ----------
    region : `~lsst.sphgeom.Region`
        The region.
    """

    def __init__(self, region: Region) -> None:
        circle = region.getBoundingCircle()
        centre = circle.getCenter()
        middle = np.array([centre.x(), centre.y(), centre.z()])
        # Any two directions across the line of sight.
        first = np.cross(middle, np.eye(3)[np.argmin(np.abs(middle))])
        first /= np.linalg.norm(first)
        steps = np.tan(circle.getOpeningAngle().asRadians()) * np.linspace(-1, 1, _POINTS)
        across, along = (grid.reshape(-1, 1) for grid in np.meshgrid(steps, steps))
        points = middle + across * first + along * np.cross(middle, first)
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        self._missing: NDArray[np.float64] = points[region.contains(*points.T)]

    @property
    def is_full(self) -> bool:
        """Whether all points are covered."""
        return len(self._missing) == 0

    def add(self, image: Exposure) -> None:
        """Take away the points that an image covers; one with a hole anywhere covers none.

        Parameters
        ----------
        image : `~prompt_processing.images.Exposure`
            Image with a WCS.
        """
        if image.wcs is None or self.is_full or _has_holes(image):
            return
        x, y = image.wcs.all_world2pix(*positions(self._missing), 0, quiet=True)
        height, width = image.shape
        self._missing = self._missing[~((x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1))]


def _has_holes(image: Exposure) -> bool:
    # Sums and unions need no image of booleans: they take a quarter of the time.
    flags = int(np.bitwise_or.reduce(image.mask, axis=None))
    return bool(flags & int(Mask.NO_DATA)) or not np.isfinite(image.image.sum() + image.variance.sum())
