"""Separate isolated stars from galaxies, cosmic rays and blends."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import sep
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from prompt_processing.images import Exposure, Mask
from prompt_processing.images.robust import MAD_TO_SIGMA
from prompt_processing.imaging.errors import TooFewStarsError

from .detection import Detections

_HURT = Mask.SAT | Mask.BAD | Mask.CR | Mask.NO_DATA | Mask.EDGE


@dataclass(frozen=True, slots=True, eq=False)
class StarCandidates:
    """Candidate stars for the PSF model.

    Attributes
    ----------
    rows : `~numpy.ndarray` of int, shape (n,)
        Rows in the catalogue of detections.
    x, y : `~numpy.ndarray`, shape (n,)
        Windowed centroids, pixels.
    flux : `~numpy.ndarray`, shape (n,)
        Flux in an aperture of 2 FWHM radius, unit of the image.
    fwhm : `float`
        FWHM of the Gaussian with the stars' half-light radius, pixels.
    """

    rows: NDArray[np.intp]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    flux: NDArray[np.float64]
    fwhm: float


def select_stars(
    exposure: Exposure,
    detections: Detections,
    min_snr: float = 40.0,
    max_candidates: int = 2500,
) -> StarCandidates:
    """Choose isolated, undamaged sources of the commonest size among the small ones.

    Parameters
    ----------
    exposure : `Exposure`
        Background-subtracted.
    detections : `Detections`
        Detections on that image.
    min_snr : `float`, optional
        Lowest signal-to-noise ratio; a quarter of it is accepted if few
        stars would be left.
    max_candidates : `int`, optional
        Maximum number of candidates, brightest first.

    Returns
    -------
    stars : `StarCandidates`

    Raises
    ------
    TooFewStarsError
        Raised if there are fewer than three.
    """
    catalogue = detections.catalogue
    if len(catalogue) < 3:
        raise TooFewStarsError("Hardly a source detected", sources=len(catalogue), needed=3)
    height, width = exposure.shape
    bad = np.asarray(_HURT.value, np.int32)
    order = np.argsort(-detections.flux)
    x, y = catalogue["x"][order], catalogue["y"][order]
    size = np.sqrt(catalogue["a"][order] * catalogue["b"][order])
    snr = detections.snr[order]
    round_ = catalogue["b"][order] > 0.5 * catalogue["a"][order]
    reach = np.maximum(3 * size, 6)
    inside = (x > reach) & (x < width - 1 - reach) & (y > reach) & (y < height - 1 - reach)
    unblended = (catalogue["flag"][order] & (sep.OBJ_TRUNC | sep.OBJ_SINGU)) == 0
    candidate = inside & round_ & unblended & (snr > min_snr)
    if np.count_nonzero(candidate) < 60:
        candidate = inside & round_ & unblended & (snr > min_snr / 4)
    rows = order[candidate][:max_candidates]
    rows = rows[_isolated(catalogue["x"], catalogue["y"], detections.flux, rows)]
    if len(rows) < 3:
        raise TooFewStarsError("Too few isolated stars", stars=len(rows), sources=len(catalogue), needed=3)
    x, y = catalogue["x"][rows].astype(float), catalogue["y"][rows].astype(float)
    # Most stars set the range: a few blends would widen it to include all their neighbours.
    outermost = max(5.0 * float(np.median(size[candidate])), 8.0)
    half_light, _ = sep.flux_radius(exposure.image, x, y, np.full(len(x), outermost), 0.5, subpix=5)
    radius, spread = _common_size(np.asarray(half_light, float))
    fwhm = 2.0 * radius
    star = np.abs(half_light - radius) < max(3.0 * spread, 0.06 * radius)
    star &= ~touches(exposure.mask, x, y, int(np.ceil(1.5 * fwhm)), int(bad))
    rows, x, y = rows[star], x[star], y[star]
    if len(rows) < 3:
        raise TooFewStarsError(
            "Too few sources of one size", stars=len(rows), sources=len(catalogue), fwhm_pixels=fwhm
        )
    xwin, ywin, flag = sep.winpos(exposure.image, x, y, np.full(len(x), fwhm / 2.3548))
    steady = (flag == 0) & (np.hypot(xwin - x, ywin - y) < 1.0)
    x, y = np.where(steady, xwin, x), np.where(steady, ywin, y)
    flux, _, _ = sep.sum_circle(exposure.image, x, y, 2.0 * fwhm, subpix=5)
    positive = flux > 0
    return StarCandidates(rows[positive], x[positive], y[positive], flux[positive], fwhm)


def _isolated(
    x: NDArray[np.float64], y: NDArray[np.float64], flux: NDArray[np.float64], rows: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """Return which rows have no neighbour of a fifth of their flux within 12 pixels."""
    pairs = cKDTree(np.column_stack([x, y])).query_pairs(12.0, output_type="ndarray")
    brightest = np.full(len(x), -np.inf)
    for one, other in (pairs.T, pairs.T[::-1]):
        np.maximum.at(brightest, one, flux[other])
    return np.asarray(brightest[rows] < 0.2 * flux[rows])


def _common_size(sizes: NDArray[np.float64]) -> tuple[float, float]:
    """Find the narrow peak of the sizes, and its spread: these are stars, and larger sources are galaxies."""
    sizes = np.sort(sizes[np.isfinite(sizes) & (sizes > 0.5)])
    if len(sizes) < 3:
        raise TooFewStarsError("Too few sources with a measurable size", sources=len(sizes), needed=3)
    # Half-sample mode (Bickel 2002): the shortest interval with half of the values, repeatedly.
    window = sizes
    while len(window) > 8:
        n = len(window) // 2
        widths = window[n:] - window[: len(window) - n]
        start = int(np.argmin(widths))
        window = window[start : start + n + 1]
    mode = float(np.median(window))
    near = sizes[np.abs(sizes - mode) < 0.15 * mode]
    spread = MAD_TO_SIGMA * float(np.median(np.abs(near - mode)))
    return mode, min(max(spread, 0.01 * mode), 0.08 * mode)


@numba.njit(cache=True, nogil=True)
def touches(mask, x, y, reach, planes):  # type: ignore[no-untyped-def]
    """Return which positions have a pixel of the given planes in the square around them."""
    height, width = mask.shape
    touches = np.zeros(len(x), np.bool_)
    for i in range(len(x)):
        column, row = int(x[i]), int(y[i])
        for j in range(max(row - reach, 0), min(row + reach + 1, height)):
            for k in range(max(column - reach, 0), min(column + reach + 1, width)):
                if mask[j, k] & planes:
                    touches[i] = True
    return touches
