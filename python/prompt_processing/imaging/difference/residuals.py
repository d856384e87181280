"""Residuals of a difference where nothing changed, compared with its noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from prompt_processing.images import UNUSABLE, Exposure, Mask
from prompt_processing.imaging.percentiles import percentiles
from prompt_processing.imaging.psf_flux import forced_psf_flux

GAUSSIAN_CORE = (15.865, 84.135)
"""Percentiles one standard deviation from the mean."""

BRIGHT = 20.0
"""Least signal-to-noise ratio of stars whose residuals are measured."""

ENOUGH = 400
"""Number of such stars that is enough."""

FEWEST_STARS = 8
"""Fewest stars that measure the scatter of fluxes."""

_LEAST_SHARE_BEFORE = 0.5
"""Share of a source's flux that the template has of a source that is not new."""


@dataclass(frozen=True, slots=True)
class Residuals:
    """Robust scatter of the difference over the root of its variance; 1 for pure noise.

    Attributes
    ----------
    sky : `float`
        Scatter of all usable pixels without a detection.
    stars : `float`
        Scatter of pixels within a seeing disc of stars; NaN without stars.
    bright_stars : `float`
        The same for the brightest tenth of these stars.
    n_stars : `int`
        Number of stars used.
    """

    sky: float
    stars: float
    bright_stars: float
    n_stars: int


def robust_sigma(values: NDArray[np.floating]) -> float:
    """Return half the distance between the percentiles at one standard deviation of a Gaussian."""
    if values.size < 10:
        return float("nan")
    low, high = percentiles(values, GAUSSIAN_CORE)
    return float(0.5 * (high - low))


def measure_residuals(
    difference: Exposure, stars: Table | None = None, minimum_snr: float = BRIGHT, most: int = ENOUGH
) -> Residuals:
    """Measure the scatter of a difference.

    Parameters
    ----------
    difference : `Exposure`
        Difference with its variance.
    stars : `~astropy.table.Table`, optional
        Sources of the science image: ``x, y`` (pixels), ``snr``.
    minimum_snr : `float`, optional
        Least signal-to-noise ratio of the stars.
    most : `int`, optional
        Maximum number of stars to use, spread evenly over brightness.
    """
    # A quarter of a million pixels measure the scatter to three thousandths.
    step = -(-min(difference.shape) // 1000)
    part = np.s_[::step, ::step]
    sky = robust_sigma(_normalised(difference, part, int(Mask.DETECTED | Mask.DETECTED_NEGATIVE)))
    if stars is None or not len(stars):
        return Residuals(sky, float("nan"), float("nan"), 0)
    fwhm = 4.0 if difference.psf is None else difference.psf.fwhm_at()
    ratios = _around(difference, bright_sample(stars, minimum_snr, most), max(fwhm / 2, 1.0))
    if not len(ratios):
        return Residuals(sky, float("nan"), float("nan"), 0)
    brightest = ratios[: max(len(ratios) // 10, 1)]
    return Residuals(
        sky,
        robust_sigma(np.concatenate(ratios)),
        robust_sigma(np.concatenate(brightest)),
        len(ratios),
    )


def bright_sample(stars: Table, minimum_snr: float = BRIGHT, most: int = ENOUGH) -> Table:
    """Return the stars whose residuals are measured, brightest first, spread evenly over brightness.

    Parameters
    ----------
    stars : `~astropy.table.Table`
        Sources of the science image: ``snr``.
    minimum_snr : `float`, optional
        Least signal-to-noise ratio.
    most : `int`, optional
        Number of stars that is enough; fewer than twice as many are returned.
    """
    snr = np.asarray(stars["snr"], float)
    chosen = np.flatnonzero(np.isfinite(snr) & (snr > minimum_snr))
    chosen = chosen[np.argsort(-snr[chosen])]
    return stars[chosen[:: max(len(chosen) // most, 1)]]


def stars_in_both(stars: Table, science: Exposure, template: Exposure) -> Table:
    """Return the sources of a science image that the template has too.

    New sources are changes and not residuals: in a field with few stars they would make a good subtraction
    look like a failed one.

    Parameters
    ----------
    stars : `~astropy.table.Table`
        Sources of the science image: ``x, y`` (pixels).
    science, template : `Exposure`
        Images on the same pixels and flux scale.

    Returns
    -------
    stars : `~astropy.table.Table`
        Those with at least half of their flux in the template, and those that cannot be measured there.
    """
    if science.psf is None or template.psf is None or not len(stars):
        return stars
    x, y = np.asarray(stars["x"], float), np.asarray(stars["y"], float)
    light, before = forced_psf_flux(science, x, y)[0], forced_psf_flux(template, x, y)[0]
    with np.errstate(invalid="ignore"):
        new = before < _LEAST_SHARE_BEFORE * light
    return stars[~new]


def flux_scatter(difference: Exposure, science: Exposure, stars: Table | None, most: int = 200) -> float:
    """Return the scatter of stars' difference fluxes, as a share of their flux, beyond the noise's.

    No change smaller than a few times that is significant, whatever its signal-to-noise ratio.

    Parameters
    ----------
    difference, science : `Exposure`
        Difference and science image, both with PSF.
    stars : `~astropy.table.Table` or `None`
        Sources of the science image: ``x, y`` (pixels), ``snr``.
    most : `int`, optional
        Number of brightest stars to use.

    Returns
    -------
    scatter : `float`
        0 if it is below the noise, or stars are too few.
    """
    if stars is None or not len(stars):
        return 0.0
    rows = np.argsort(-np.nan_to_num(np.asarray(stars["snr"], float)))[:most]
    x, y = (np.asarray(stars[name], float)[rows] for name in ("x", "y"))
    flux, error, flag = forced_psf_flux(difference, x, y)
    light, _, other = forced_psf_flux(science, x, y)
    usable = ((flag | other) & np.int32(int(UNUSABLE | Mask.SAT_TEMPLATE))) == 0
    with np.errstate(invalid="ignore", divide="ignore"):
        # The noise must not hide what is looked for.
        usable &= np.isfinite(flux) & (light > 0) & (error > 0) & (error < 0.05 * light)
    if np.count_nonzero(usable) < FEWEST_STARS:
        return 0.0
    shares, noise = flux[usable] / light[usable], error[usable] / light[usable]
    squared = float(np.percentile(np.abs(shares), 68.27)) ** 2 - float(np.median(noise)) ** 2
    return float(np.sqrt(max(squared, 0.0)))


def _normalised(difference: Exposure, part: Any, planes: int = 0) -> NDArray[np.float32]:
    """Return the usable pixels of a part of the difference over the root of their variance."""
    planes |= int(UNUSABLE | Mask.SAT_TEMPLATE | Mask.STREAK)
    image, variance = difference.image[part], difference.variance[part]
    usable = (difference.mask[part] & np.int32(planes)) == 0
    usable &= np.isfinite(image)
    usable &= variance > 0
    return np.asarray(image[usable] / np.sqrt(variance[usable]), np.float32)


def _around(difference: Exposure, stars: Table, radius: float) -> list[NDArray[np.float32]]:
    """Return the normalised residuals in a disc around each star whose pixels are all usable."""
    height, width = difference.shape
    half = int(np.ceil(radius))
    rows, columns = np.mgrid[-half : half + 1, -half : half + 1]
    disc = np.hypot(rows, columns) <= radius
    dy, dx = rows[disc], columns[disc]
    found = []
    for x, y in zip(np.asarray(stars["x"], float), np.asarray(stars["y"], float), strict=True):
        if not (half <= x < width - half - 1 and half <= y < height - half - 1):
            continue
        ratios = _normalised(difference, (round(float(y)) + dy, round(float(x)) + dx))
        if len(ratios) == len(dy):
            found.append(ratios)
    return found
