"""A PSF from a few stars, or from its width alone: an elliptical Moffat profile."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from prompt_processing.images import Exposure, Psf
from prompt_processing.images.psf import FWHM_PER_SIGMA, adaptive_moments

from ..measurement import fit_psf

BETAS = (2.2, 3.0, 4.0, 6.0)
"""Exponents to try, from heavy wings to almost a Gaussian."""

OVERSAMPLING = 5
"""Points along a pixel's side over which to average the profile."""


def moffat_psf(
    moments: tuple[float, float, float], beta: float = 3.0, size_in_fwhm: float = 8.0, max_size: int = 61
) -> Psf:
    """Make a constant PSF.

    Parameters
    ----------
    moments : `tuple` of `float`
        Adaptive second moments ``ixx, iyy, ixy`` of the PSF, pixels squared.
    beta : `float`, optional
        Exponent of the profile.
    size_in_fwhm : `float`, optional
        Width of the image.
    max_size : `int`, optional
        Upper limit to that width, pixels.
    """
    ixx, iyy, ixy = moments
    fwhm = FWHM_PER_SIGMA * np.sqrt(0.5 * (ixx + iyy) + np.hypot(0.5 * (ixx - iyy), ixy))
    half = min(int(np.ceil(size_in_fwhm * fwhm / 2)), max_size // 2)
    wanted = np.array([[ixx, ixy], [ixy, iyy]])
    shape = wanted.copy()
    image = np.zeros((2 * half + 1, 2 * half + 1))
    for _ in range(8):
        image = _profile(shape, beta, half)
        xx, yy, xy = adaptive_moments(image)
        shape = shape + (wanted - np.array([[xx, xy], [xy, yy]]))
        values, axes = np.linalg.eigh(shape)
        # The pixel's own width cannot be removed from a narrower profile.
        shape = axes @ np.diag(np.maximum(values, 0.02)) @ axes.T
    return Psf((image / image.sum())[np.newaxis].astype(np.float32))


def round_psf(fwhm: float, beta: float = 3.0) -> Psf:
    """Make a round PSF of a width (pixels; that of the Gaussian of the same adaptive moments)."""
    variance = (fwhm / FWHM_PER_SIGMA) ** 2
    return moffat_psf((variance, variance, 0.0), beta)


def _profile(shape: NDArray[np.float64], beta: float, half: int) -> NDArray[np.float64]:
    """Return a Moffat profile whose Gaussian of the same width at half maximum has a covariance."""
    n = (2 * half + 1) * OVERSAMPLING
    offsets = (np.arange(n) + 0.5) / OVERSAMPLING - half - 0.5
    x, y = np.meshgrid(offsets, offsets)
    (a, b), (_, d) = np.linalg.inv(shape)
    radius2 = (a * x * x + 2 * b * x * y + d * y * y) / (2 * np.log(2))
    values = (1 + radius2 * (2 ** (1 / beta) - 1)) ** -beta
    return np.asarray(values.reshape(2 * half + 1, OVERSAMPLING, -1, OVERSAMPLING).mean(axis=(1, 3)))


def fit_parametric_psf(
    exposure: Exposure,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    moments: tuple[float, float, float],
    betas: Sequence[float] = BETAS,
) -> Psf:
    """Choose the profile that fits some stars best.

    Parameters
    ----------
    exposure : `~prompt_processing.images.Exposure`
        Background-subtracted, with a variance.
    x, y : `~numpy.ndarray`, shape (n,)
        Positions of at least one star, pixels.
    moments : `tuple` of `float`
        Their common adaptive moments ``ixx, iyy, ixy``, pixels squared.
    betas : sequence of `float`, optional
        Exponents to try.
    """
    best, least = moffat_psf(moments), np.inf
    for beta in betas:
        psf = moffat_psf(moments, beta)
        trial = Exposure(exposure.image, exposure.mask, exposure.variance, psf=psf)
        fits = fit_psf(trial, x, y, radius=2.5 * psf.fwhm_at())
        with np.errstate(invalid="ignore", divide="ignore"):
            each = fits.chi2 / fits.n_pixels
        total = float(np.nanmedian(each)) if np.isfinite(each).any() else np.inf
        if total < least:
            best, least = psf, total
    return best
