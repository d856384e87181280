"""Wings and variation of a PSF, which a few stars do not constrain pixel by pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from prompt_processing.images.robust import MAD_TO_SIGMA
from prompt_processing.imaging.percentiles import medians_of_sorted
from prompt_processing.imaging.row_bands import in_bands

MIN_WING_STARS = 4
"""Least effective number of stars in the wings, however bright the brightest is."""

MEASURED_TO, MODELLED_FROM = 1.5, 2.5
"""Radii in FWHM: the wings follow the rings within the first, and a Moffat profile beyond the second."""

BETAS = np.arange(2.0, 7.01, 0.25)
"""Exponents of the Moffat profiles to try."""

EXPECTED_BETA = (3.5, 1.0)
"""Exponent for the atmosphere and a telescope, and its variation (Trujillo et al. 2001, MNRAS 328, 977)."""

SKY_ERROR = 0.03
"""Error of the sky around a star, in its noise, from faint sources and the background's mesh."""

OUTLIER = 3.0
"""Stars that are wider or longer than the others by this many times their scatter are blends or galaxies."""


def elliptical_radius(image: NDArray[np.float64], fwhm: float) -> NDArray[np.float64]:
    """Return each pixel's distance from the middle in the metric of a PSF's core.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (size, size)
        Image of the PSF; the core within about one FWHM defines the metric.
    fwhm : `float`
        FWHM of the PSF, pixels.

    Returns
    -------
    radius : `~numpy.ndarray`, shape (size, size)
        Radius of the circle of the same area, pixels.
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
    stamps: NDArray[np.float64],
    flux: NDArray[np.float64],
    radius: NDArray[np.float64],
    model: NDArray[np.float64],
    fwhm: float,
    noise: float,
) -> NDArray[np.float64]:
    """Return the stars' common wings that a model lacks, as a radial profile.

    Parameters
    ----------
    stamps : `~numpy.ndarray`, shape (n, size, size)
        Residuals of the stars after the model, over their fluxes.
    flux : `~numpy.ndarray`, shape (n,)
        Fluxes of the stars; brighter stars have more weight, as the sky's error is the same for all.
    radius : `~numpy.ndarray`, shape (size, size)
        Radius of the rings, pixels.
    model : `~numpy.ndarray`, shape (size, size)
        The model so far.
    fwhm : `float`
        FWHM of the PSF, pixels.
    noise : `float`
        Noise of the sky, unit of ``flux`` per pixel.

    Returns
    -------
    wings : `~numpy.ndarray`, shape (size, size)
        Correction to add to the model.

    Notes
    -----
    A neighbour covers part of a ring, so the ring's median is not moved by it; one that
    covers most of a ring is outvoted by the other stars. Far out, where a thousandth of the sky's level
    summed over the stamp is a per cent of a star, rings measure the sky and not the star. There the wings
    follow the Moffat profile that fits the inner rings, with a separate sky level for each star.
    """
    ring = np.rint(radius).astype(int)
    rings, inverse, pixels = np.unique(ring, return_inverse=True, return_counts=True)
    medians = _ring_medians(stamps, inverse.ravel(), pixels)
    ceiling = np.sort(flux)[-min(MIN_WING_STARS, len(flux))]
    weight = np.minimum(flux, ceiling) ** 2
    profile = [_weighted_median(values, weight) for values in medians.T]
    wings = np.asarray(np.interp(radius, rings, profile))
    far = rings >= MEASURED_TO * fwhm
    if np.count_nonzero(far) < 4:
        return wings
    level = np.bincount(inverse.ravel(), model.ravel()) / pixels
    light = (medians + level)[:, far] * flux[:, np.newaxis]
    trust = np.minimum(1.0, ceiling / flux) ** 2
    # A median is noisier than a mean.
    precision = pixels[far] / (0.5 * np.pi * max(noise, 1e-30) ** 2)
    free = 1 / np.sqrt(1 + precision.sum() * (SKY_ERROR * noise) ** 2)
    amplitude, beta = _fit_moffat(rings[far].astype(float), light, flux, precision, trust, fwhm, 1 - free)
    share = np.clip((radius / fwhm - MEASURED_TO) / (MODELLED_FROM - MEASURED_TO), 0, 1)
    share = share * share * (3 - 2 * share)
    return np.asarray((1 - share) * wings + share * (amplitude * moffat(radius, beta, fwhm) - model))


def moffat(radius: NDArray[np.float64], beta: float, fwhm: float) -> NDArray[np.float64]:
    """Return a Moffat profile of sum 1; lengths in pixels."""
    alpha = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    return np.asarray((beta - 1) / (np.pi * alpha**2) * (1 + (radius / alpha) ** 2) ** -beta)


def _fit_moffat(
    radius: NDArray[np.float64],
    light: NDArray[np.float64],
    flux: NDArray[np.float64],
    precision: NDArray[np.float64],
    trust: NDArray[np.float64],
    fwhm: float,
    levelled: float,
) -> tuple[float, float]:
    """Fit a profile's amplitude and exponent to stars' rings (n, n_rings), each with its own level.

    Removing the share ``levelled`` of the mean from both fits a level that is expected to be small.
    """
    share = levelled * precision / precision.sum()
    light = light - (light @ share)[:, np.newaxis]
    shapes = np.array([moffat(radius, beta, fwhm) for beta in BETAS])
    shapes -= (shapes @ share)[:, np.newaxis]
    # Chi squared of each star with each profile (n, n_betas), as a quadratic form of the profile's height.
    squares = shapes**2 @ precision
    products = flux[:, np.newaxis] * ((light * precision) @ shapes.T)
    constants = light**2 @ precision
    prior = ((BETAS - EXPECTED_BETA[0]) / EXPECTED_BETA[1]) ** 2
    now = trust
    amplitude, beta = 0.0, EXPECTED_BETA[0]
    for _ in range(4):
        heights = np.maximum(now @ products / float(now @ flux**2) / squares, 0.0)
        misfits = constants[:, np.newaxis] - 2 * heights * products
        misfits += flux[:, np.newaxis] ** 2 * (heights**2 * squares)
        best = int(np.argmin(now @ misfits + prior))
        amplitude, beta = float(heights[best]), float(BETAS[best])
        pull = np.sqrt(np.maximum(misfits[:, best], 0.0) / max(len(radius) - 2, 1))
        spread = max(float(np.median(pull)), 1.0)
        # Neighbours and unusual wings get less weight.
        now = trust / np.maximum(pull / (1.5 * spread), 1.0) ** 2
    return amplitude, beta


def shape_variation(
    stamps: NDArray[np.float64],
    mean: NDArray[np.float64],
    terms: NDArray[np.float64],
    weight: NDArray[np.float64],
    core: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit the variation of the PSF's size and shape over the image.

    Parameters
    ----------
    stamps : `~numpy.ndarray`, shape (n, size, size)
        Residuals of the stars after a model, over their fluxes.
    mean : `~numpy.ndarray`, shape (size, size)
        The PSF in the middle.
    terms : `~numpy.ndarray`, shape (n, n_terms)
        Polynomial of the stars' positions, the constant first.
    weight : `~numpy.ndarray`, shape (n,)
        Weights of the stars.
    core : `~numpy.ndarray`, shape (size, size)
        Weights of the pixels.

    Returns
    -------
    variation : `~numpy.ndarray`, shape (n_terms - 1, size, size)
        Images for all terms but the constant one.
    trust : `~numpy.ndarray`, shape (n,)
        1 for a star like the others, 0 for one of another size or shape: a blend or a galaxy.

    Notes
    -----
    Stretching and shearing the mean PSF are three images; a few dozen stars constrain their
    amplitudes, but not the variation of single pixels. The idea is that of ``spread_model`` (Desai et al.
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
            spread = MAD_TO_SIGMA * float(np.median(pull)) + 1e-12
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


def _ring_medians(
    stamps: NDArray[np.float64], ring: NDArray[np.intp], pixels: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Return the median of each stamp in each ring, shape (n, n_rings)."""
    order = np.argsort(ring, kind="stable")
    medians = np.empty((len(stamps), len(pixels)))

    def measure(first: int, last: int) -> None:
        flat = stamps[first:last].reshape(last - first, -1)[:, order]
        for k, (stop, count) in enumerate(zip(np.cumsum(pixels), pixels, strict=True)):
            medians[first:last, k] = medians_of_sorted(np.sort(flat[:, stop - count : stop], axis=1))

    in_bands(measure, len(stamps))
    return medians


def _weighted_median(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    order = np.argsort(values)
    share = np.cumsum(weights[order]) - 0.5 * weights[order]
    return float(np.interp(0.5 * weights.sum(), share, values[order]))
