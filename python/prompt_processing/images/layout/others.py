"""Parts of files that other writers of ``lsst-images`` made, for which its reader is needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.wcs import WCS
from lsst.images import XY, Box
from lsst.images.serialization import open_archive
from numpy.typing import NDArray

from prompt_processing.images.tan_sip import tan_sip_wcs

__all__ = ["wcs_of_file"]


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
        tree = reader.get_tree()
        projection = reader.get_component("sky_projection")
        y0, x0 = getattr(tree, "image", tree).yx0
    wcs = projection.as_fits_wcs(Box.from_shape(shape, start=(y0, x0)))
    if wcs is not None:
        wcs.pixel_shape = shape[1], shape[0]
        return wcs

    def sky(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        radians = projection.pixel_to_sky_transform.apply_forward(XY(pixels[:, 0] + x0, pixels[:, 1] + y0))
        return np.degrees(np.column_stack([radians.x, radians.y]))

    return tan_sip_wcs(sky, shape)
