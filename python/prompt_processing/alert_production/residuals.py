"""What is left of a difference where nothing changed, against what noise would leave."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from ..images import UNUSABLE, Exposure, Mask

GAUSSIAN_CORE = (15.865, 84.135)
"""Percentiles that are a standard deviation from the mean."""


@dataclass(frozen=True, slots=True)
class Residuals:
    """Robust scatter of the difference over the root of its variance; 1 is noise.

    Attributes
    ----------
    sky : `float`
        All usable pixels that hold no detection.
    stars : `float`
        Pixels within a seeing disc of stars; NaN without any.
    bright_stars : `float`
        The same of the brightest tenth of these stars.
    n_stars : `int`
        Stars looked at.
    """

    sky: float
    stars: float
    bright_stars: float
    n_stars: int


def robust_sigma(values: NDArray[np.floating]) -> float:
    """Return half of the distance between the percentiles of a Gaussian's standard deviation."""
    if values.size < 10:
        return float("nan")
    low, high = np.percentile(values, GAUSSIAN_CORE)
    return float(0.5 * (high - low))


def measure_residuals(
    difference: Exposure, stars: Table | None = None, minimum_snr: float = 20.0
) -> Residuals:
    """Measure the scatter of a difference.

    Parameters
    ----------
    difference : `Exposure`
        With its variance.
    stars : `~astropy.table.Table`, optional
        Sources of the science image: ``x, y`` (pixels), ``snr``.
    minimum_snr : `float`, optional
        Of the stars.
    """
    planes = int(UNUSABLE | Mask.SAT_TEMPLATE | Mask.STREAK)
    usable = (difference.mask & np.int32(planes)) == 0
    usable &= np.isfinite(difference.image)
    usable &= difference.variance > 0
    step = max(min(difference.shape) // 1000, 1)
    part = np.s_[::step, ::step]
    quiet = usable[part] & ((difference.mask[part] & int(Mask.DETECTED | Mask.DETECTED_NEGATIVE)) == 0)
    sky = robust_sigma(difference.image[part][quiet] / np.sqrt(difference.variance[part][quiet]))
    if stars is None or not len(stars):
        return Residuals(sky, float("nan"), float("nan"), 0)
    snr = np.asarray(stars["snr"], float)
    chosen = np.flatnonzero(np.isfinite(snr) & (snr > minimum_snr))
    chosen = chosen[np.argsort(-snr[chosen])]
    fwhm = 4.0 if difference.psf is None else difference.psf.fwhm_at()
    ratios = _around(difference, usable, stars[chosen], max(fwhm / 2, 1.0))
    if not len(ratios):
        return Residuals(sky, float("nan"), float("nan"), 0)
    brightest = ratios[: max(len(ratios) // 10, 1)]
    return Residuals(
        sky,
        robust_sigma(np.concatenate(ratios)),
        robust_sigma(np.concatenate(brightest)),
        len(ratios),
    )


def _around(
    difference: Exposure, usable: NDArray[np.bool_], stars: Table, radius: float
) -> list[NDArray[np.float32]]:
    """Return the normalised residuals in a disc around each star, of those that are wholly usable."""
    height, width = difference.shape
    half = int(np.ceil(radius))
    rows, columns = np.mgrid[-half : half + 1, -half : half + 1]
    disc = np.hypot(rows, columns) <= radius
    dy, dx = rows[disc], columns[disc]
    found = []
    for x, y in zip(np.asarray(stars["x"], float), np.asarray(stars["y"], float), strict=True):
        if not (half <= x < width - half - 1 and half <= y < height - half - 1):
            continue
        at = round(float(y)) + dy, round(float(x)) + dx
        if usable[at].all():
            found.append(difference.image[at] / np.sqrt(difference.variance[at]))
    return found
