"""Cosmic rays and hot pixels in sharp images: what is sharper than the PSF, and not in the other image."""

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
"""Share of a pixel's light that the other image must have near it for the light to be the sky's."""

MOST = 0.01
"""Share of the pixels; with more, it is not hits that are sharper than the PSF."""

ToOther = Callable[
    [NDArray[np.float64], NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]
]


def mark_hits(image: PreparedImage, other: PreparedImage, to_other: ToOther, scale: float) -> int:
    """Mark and repair hits of an image whose stars are too sharp to find them in one image alone, in place.

    Parameters
    ----------
    image, other : `PreparedImage`
        The image, and another one of the field.
    to_other : callable
        From pixels of the image to pixels of the other.
    scale : `float`
        Fluxes of a pixel in the image over those in the other.

    Returns
    -------
    pixels : `int`
        Marked.
    """
    if image.fwhm > SHARPEST:
        return 0
    exposure = image.exposure
    trial = replace(
        exposure, image=exposure.image.copy(), mask=exposure.mask.copy(), variance=exposure.variance.copy()
    )
    try:
        find_cosmic_rays(trial, CosmicRayOptions(sharpness=0.6), sky=0.0)
    except TooManyCosmicRaysError as error:
        _LOG.warning("%s: cosmic rays stay unmarked: %s", image.name, error)
        return 0
    found = trial.has(Mask.CR) & ~exposure.has(Mask.CR)
    rows, columns = np.nonzero(found)
    if not len(rows) or len(rows) > MOST * found.size:
        return 0
    x, y = to_other(columns.astype(float), rows.astype(float))
    height, width = other.exposure.shape
    # Off the other image there is nothing to compare with.
    inside = (x > 1) & (x < width - 2) & (y > 1) & (y < height - 2)
    near_x, near_y = np.where(inside, np.rint(x), 1).astype(int), np.where(inside, np.rint(y), 1).astype(int)
    light = np.max(
        [other.exposure.image[near_y + j, near_x + i] for j in (-1, 0, 1) for i in (-1, 0, 1)], axis=0
    )
    noise = np.sqrt(exposure.variance[rows, columns])
    own = exposure.image[rows, columns]
    # Of neighbours of hits only what stands out tells whether the sky has it.
    shared = (scale * light > SHARED * own) & (own > 5 * noise)
    hit = inside & ~shared
    if not hit.any():
        return 0
    place = rows[hit], columns[hit]
    exposure.image[place], exposure.variance[place] = trial.image[place], trial.variance[place]
    exposure.mask[place] |= np.int32(int(Mask.CR | Mask.INTRP))
    image.cosmic_rays += int(np.count_nonzero(hit))
    return int(np.count_nonzero(hit))
