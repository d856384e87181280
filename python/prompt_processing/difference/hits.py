"""Cosmic rays and hot pixels in sharp images: sharper than the PSF and absent from the other image."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from prompt_processing.imaging.errors import TooManyCosmicRaysError
from prompt_processing.imaging.isr.cosmic_rays import CosmicRayOptions, find_cosmic_rays

from ..images import Mask
from .prepare import SHARPEST, PreparedImage

_LOG = logging.getLogger(__name__)

SHARED = 0.4
"""Share of a pixel's light that the other image must show nearby for the light to be astronomical."""

MOST = 0.01
"""Largest share of pixels with hits; with more, the PSF itself is wrong."""

ToOther = Callable[
    [NDArray[np.float64], NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]
]


def mark_hits(image: PreparedImage, other: PreparedImage, to_other: ToOther, scale: float) -> int:
    """Mark and repair hits, in place, in an image whose stars are too sharp to find them in it alone.

    Parameters
    ----------
    image, other : `PreparedImage`
        The image, and another image of the field.
    to_other : callable
        Map from pixels of the image to pixels of the other.
    scale : `float`
        Ratio of a pixel's flux in the image to that in the other.

    Returns
    -------
    pixels : `int`
        Number of marked pixels.
    """
    if image.fwhm > SHARPEST:
        return 0
    exposure = image.exposure
    trial = replace(
        exposure, image=exposure.image.copy(), mask=exposure.mask.copy(), variance=exposure.variance.copy()
    )
    try:
        find_cosmic_rays(trial, CosmicRayOptions(sharpness=0.6, spare_stars=False), sky=0.0)
    except TooManyCosmicRaysError as error:
        _LOG.warning("%s: cosmic rays stay unmarked: %s", image.name, error)
        return 0
    found = trial.has(Mask.CR) & ~exposure.has(Mask.CR)
    rows, columns = np.nonzero(found)
    if not len(rows) or len(rows) > MOST * found.size:
        return 0
    x, y = to_other(columns.astype(float), rows.astype(float))
    height, width = other.exposure.shape
    # Pixels outside the other image cannot be compared.
    inside = (x > 1) & (x < width - 2) & (y > 1) & (y < height - 2)
    near_x, near_y = np.where(inside, np.rint(x), 1).astype(int), np.where(inside, np.rint(y), 1).astype(int)
    light = np.max(
        [other.exposure.image[near_y + j, near_x + i] for j in (-1, 0, 1) for i in (-1, 0, 1)], axis=0
    )
    noise = np.sqrt(exposure.variance[rows, columns])
    own = exposure.image[rows, columns]
    # Of a hit's neighbours, only those above the noise can be compared with the other image.
    shared = (scale * light > SHARED * own) & (own > 5 * noise)
    hit = inside & ~shared
    if not hit.any():
        return 0
    place = rows[hit], columns[hit]
    exposure.image[place], exposure.variance[place] = trial.image[place], trial.variance[place]
    exposure.mask[place] |= np.int32(int(Mask.CR | Mask.INTRP))
    image.cosmic_rays += int(np.count_nonzero(hit))
    return int(np.count_nonzero(hit))
