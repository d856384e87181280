"""What few stars cannot tell pixel by pixel of a PSF: its wings, and how it varies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MIN_WING_STARS = 8
"""As many stars at least have a say in the wings, however bright the brightest is."""

OUTLIER = 3.0
"""Stars that are wider or longer than the others by this many times their scatter are blends or galaxies."""


def elliptical_radius(image: NDArray[np.float64], fwhm: float) -> NDArray[np.float64]:
    """Return each pixel's distance from the middle in the metric of a PSF's core.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (size, size)
        Of the PSF; the core within about one FWHM gives the metric.
    fwhm : `float`
        Of the PSF, pixels.

    Returns
    -------
    radius : `~numpy.ndarray`, shape (size, size)
        Pixels; that of the circle of the same area.
    """
    rows, columns = _offsets(image.shape[0])
    weight = np.maximum(image, 0) * np.exp(-0.5 * (rows**2 + columns**2) / (fwhm / 2.3548) ** 2)
    xx, yy, xy = (np.sum(weight * v) for v in (columns**2, rows**2, rows * columns))
    # A Gaussian weight as wide as the profile halves the ellipticity of its moments.
    e1, e2 = 2 * (xx - yy) / (xx + yy), 4 * xy / (xx + yy)
    if not np.hypot(e1, e2) < 0.8:
        return np.asarray(np.hypot(rows, columns))
    squared = (1 - e1) * columns**2 - 2 * e2 * rows * columns + (1 + e1) * rows**2
    return np.asarray(np.sqrt(squared / np.sqrt(1 - e1**2 - e2**2)))


def mean_wings(
    stamps: NDArray[np.float64], flux: NDArray[np.float64], radius: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return what stars have in common, as a profile over the radius.

    Parameters
    ----------
    stamps : `~numpy.ndarray`, shape (n, size, size)
        Stars over their fluxes, or what a model leaves of them.
    flux : `~numpy.ndarray`, shape (n,)
        Brighter stars weigh more: the sky's error is the same for all.
    radius : `~numpy.ndarray`, shape (size, size)
        Of the rings, pixels.

    Returns
    -------
    wings : `~numpy.ndarray`, shape (size, size)

    Notes
    -----
    A neighbour covers part of a ring, so the ring's median is not moved by it; one that
    covers most of a ring is outvoted by the other stars.
    """
    ring = np.minimum(np.rint(radius).astype(int), stamps.shape[1] // 2)
    rings = np.unique(ring)
    ceiling = np.sort(flux)[-min(MIN_WING_STARS, len(flux))]
    weight = np.minimum(flux, ceiling) ** 2
    profile = [_weighted_median(np.median(stamps[:, ring == k], axis=1), weight) for k in rings]
    return np.asarray(np.interp(radius, rings, profile))


def shape_variation(
    stamps: NDArray[np.float64],
    mean: NDArray[np.float64],
    terms: NDArray[np.float64],
    weight: NDArray[np.float64],
    core: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit how the PSF's size and shape vary over the image.

    Parameters
    ----------
    stamps : `~numpy.ndarray`, shape (n, size, size)
        What a model leaves of the stars, over their fluxes.
    mean : `~numpy.ndarray`, shape (size, size)
        The PSF in the middle.
    terms : `~numpy.ndarray`, shape (n, n_terms)
        Polynomial of the stars' positions, the constant first.
    weight : `~numpy.ndarray`, shape (n,)
        Of the stars.
    core : `~numpy.ndarray`, shape (size, size)
        Of the pixels.

    Returns
    -------
    variation : `~numpy.ndarray`, shape (n_terms - 1, size, size)
        Images for all terms but the constant one.
    trust : `~numpy.ndarray`, shape (n,)
        1 for a star like the others, 0 for one of another size or shape: a blend or a galaxy.

    Notes
    -----
    Stretching and shearing the mean PSF are three images; their amplitudes are what a few dozen stars
    can tell, the single pixels' variation is not. The idea is that of ``spread_model`` (Desai et al.
    2012, ApJ 757, 83).
    """
    rows, columns = _offsets(mean.shape[0])
    down, right = np.gradient(mean)
    modes = np.stack(
        [
            mean,
            columns * right + rows * down + 2 * mean,
            columns * right - rows * down,
            columns * down + rows * right,
        ]
    )
    flat, weighted = modes.reshape(4, -1), (modes * core**2).reshape(4, -1)
    amplitudes = np.linalg.solve(weighted @ flat.T, weighted @ stamps.reshape(len(stamps), -1).T)
    variation = np.zeros((terms.shape[1], *mean.shape))
    trust = np.ones(len(stamps))
    for mode, amplitude in zip(modes[1:], amplitudes[1:], strict=True):
        now = weight
        for _ in range(5):
            normal = (terms * now[:, None]).T @ terms
            fit = np.linalg.solve(normal, (terms * now[:, None]).T @ amplitude)
            pull = np.abs(amplitude - terms @ fit) * np.sqrt(weight)
            spread = 1.4826 * float(np.median(pull)) + 1e-12
            # Huber's weights: outliers pull, but with a bounded force.
            now = weight / np.maximum(pull / (1.5 * spread), 1.0)
        like_others = np.where(pull > OUTLIER * spread, 0.0, now / weight)
        trust = np.minimum(trust, like_others)
        variation += fit[:, None, None] * mode
    if trust.sum() < 0.3 * len(trust):
        trust = np.ones(len(stamps))
    return variation[1:], trust


def _offsets(size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each pixel's row and column from the middle."""
    half = size // 2
    rows, columns = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float64)
    return rows, columns


def _weighted_median(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    order = np.argsort(values)
    share = np.cumsum(weights[order]) - 0.5 * weights[order]
    return float(np.interp(0.5 * weights.sum(), share, values[order]))
