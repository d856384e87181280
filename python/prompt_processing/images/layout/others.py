"""Parts of files that other writers of ``lsst-images`` made, for which its reader is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy.wcs import WCS
from lsst.images import Box, SkyProjection
from lsst.images.serialization import open_archive
from numpy.typing import NDArray

from prompt_processing.images.tan_sip import tan_sip_wcs

__all__ = ["wcs_of_file", "wcs_of_projection"]


def wcs_of_file(path: str | Path, shape: tuple[int, int]) -> WCS:
    """Return the WCS of the pixels of an image.

    Parameters
    ----------
    path
        The file.
    shape
        Height and width of the image.

    Returns
    -------
    wcs
        The projection itself where FITS can express it, else a TAN-SIP fit to it.
    """
    with open_archive(str(path)) as reader:
        tree: Any = reader.get_tree()
        start = getattr(tree, "image", tree).yx0
        return wcs_of_projection(reader.get_component("sky_projection"), Box.from_shape(shape, start=start))


def wcs_of_projection(projection: SkyProjection[Any], bbox: Box) -> WCS:
    """Return the WCS of the pixels in a box; see `wcs_of_file`."""
    wcs = projection.as_fits_wcs(bbox)
    if wcs is not None:
        wcs.pixel_shape = bbox.x.size, bbox.y.size
        return wcs

    def sky(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        radians = projection.pixel_to_sky_transform.apply_forward(
            x=pixels[:, 0] + bbox.x.min, y=pixels[:, 1] + bbox.y.min
        )
        return np.degrees(np.column_stack([radians.x, radians.y]))

    return tan_sip_wcs(sky, (bbox.y.size, bbox.x.size))
