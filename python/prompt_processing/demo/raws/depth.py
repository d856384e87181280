"""Compare the variance of a template with those of the images that it is made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from prompt_processing.images import UNUSABLE, Exposure, Mask

__all__ = ["depth_ratio"]

_STEP = 3
"""Every third pixel of every third row is enough."""


def depth_ratio(template: Exposure, images: Sequence[Exposure]) -> float:
    """Return a template's variance over what the inverse variances of its images add up to.

    Parameters
    ----------
    template
        nJy, with a WCS.
    images
        Those that it is made of, calibrated, of any number of detectors.

    Returns
    -------
    ratio
        Median over pixels of sky that some image has. At each, the inverse variances of the images' pixels
        at this place are added.

    Raises
    ------
    ValueError
        Raised if the template or an image has no WCS.
    """
    rows, columns = (
        one.ravel() for one in np.mgrid[0 : template.shape[0] : _STEP, 0 : template.shape[1] : _STEP]
    )
    good = np.isfinite(template.variance[rows, columns]) & (template.variance[rows, columns] > 0)
    good &= (template.mask[rows, columns] & np.int32(int(UNUSABLE))) == 0
    rows, columns = rows[good], columns[good]
    if template.wcs is None:
        raise ValueError("The template has no WCS.")
    ra, dec = template.wcs.all_pix2world(columns, rows, 0)
    inverse = np.zeros(len(rows))
    sky = np.ones(len(rows), np.bool_)
    for image in images:
        if image.wcs is None:
            raise ValueError("An image has no WCS.")
        x, y = (np.rint(one).astype(np.int64) for one in image.wcs.all_world2pix(ra, dec, 0))
        inside = (x >= 0) & (y >= 0) & (x < image.shape[1]) & (y < image.shape[0])
        variance, mask = image.variance[y[inside], x[inside]], image.mask[y[inside], x[inside]]
        usable = ((mask & np.int32(int(UNUSABLE | Mask.DETECTED))) == 0) & (variance > 0)
        # Light of stars, and pixels that the template may or may not have taken.
        sky[inside] &= usable
        inverse[inside] += 1 / np.where(usable, variance, np.inf)
    sky &= inverse > 0
    return float(np.median(template.variance[rows[sky], columns[sky]] * inverse[sky]))
