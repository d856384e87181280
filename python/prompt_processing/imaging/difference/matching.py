"""Choose which of two images to convolve, and fit the kernel."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy import fft

from prompt_processing.images import Exposure
from prompt_processing.imaging.errors import BadKernelError, TooFewKernelStarsError
from prompt_processing.imaging.templates.warp import AFFINE_KEYS, warped_noise_correlation

from .decorrelation import DifferenceFilters
from .kernel import KernelFit, Stamps, fit_kernel, make_basis
from .kernel_stamps import StampFilters, choose_positions, cut_stamps, rendered_stars, stamp_width
from .options import SubtractionOptions
from .smoothing import Smoothing, least_widening

CROSSED = -0.15
"""Difference of two PSFs' moments, pixels squared, below which one is sharper than the other along some
axis. If that holds both ways, moments do not show which image to convolve."""

TRIAL_STARS = 30
"""Number of stars on which both directions are compared ..."""
TRIAL_WIDTH = 128
"""... and the width of the squares around them, pixels."""


FEW_STARS = 20
"""Number of stars below which those near the edges are used as well."""

MODEL_STARS = 5
"""Stars along each axis that are rendered with the PSF models, where the images have too few ..."""
MODEL_SNR = 1000.0
"""... and their peak, in units of the sky's noise."""


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """A kernel and the filters that it leads to.

    Attributes
    ----------
    fit : `KernelFit`
    smoothing : `Smoothing`
    filters : `DifferenceFilters`
    from_psfs : `bool`
        Whether the kernel is that between the PSF models, because too few sources are in both images.
    """

    fit: KernelFit
    smoothing: Smoothing
    filters: DifferenceFilters
    from_psfs: bool = False


def match_psfs(
    science: Exposure,
    template: Exposure,
    images: tuple[NDArray[np.float32], NDArray[np.float32]],
    stars: Table | None,
    options: SubtractionOptions,
) -> Match:
    """Choose which image to convolve, and fit the kernel.

    Parameters
    ----------
    science, template : `Exposure`
        Images on one grid; the science image has a PSF.
    images : `tuple` of `~numpy.ndarray`
        Their pixels with holes filled.
    stars : `~astropy.table.Table`, optional
        Sources of the science image, as for `subtract`.
    options : `SubtractionOptions`
        Options of the subtraction.

    Raises
    ------
    TooFewKernelStarsError
        Raised if too few sources are in both images.
    BadKernelError
        Raised if the kernel's sum shows that the flux scales disagree.
    """
    try:
        return _match_stars(science, template, images, stars, options)
    except TooFewKernelStarsError:
        if not options.from_psfs or template.psf is None:
            raise
    return _match_models(science, template, options)


def _match_models(science: Exposure, template: Exposure, options: SubtractionOptions) -> Match:
    """Fit the kernel between two images of stars that are rendered with the PSF models."""
    assert science.psf is not None
    assert template.psf is not None
    height, width = science.shape
    places = (np.arange(MODEL_STARS) + 0.5) / MODEL_STARS
    x, y = (a.ravel().astype(np.int64) for a in np.meshgrid(places * width, places * height))
    noise = np.sqrt(max(sky_variance(science.variance), sky_variance(template.variance)))
    flux = float(MODEL_SNR * noise / science.psf.image_at(width / 2, height / 2).max())
    plain = [
        Exposure(
            rendered_stars(psf, x, y, flux, science.shape),
            np.zeros_like(exposure.mask),
            np.full_like(exposure.variance, sky_variance(exposure.variance)),
            psf=psf,
            metadata=exposure.metadata,
        )
        for exposure, psf in ((science, science.psf), (template, template.psf))
    ]
    stars = Table({"x": x, "y": y, "snr": np.full(len(x), MODEL_SNR)})
    images = plain[0].image, plain[1].image
    match = _match_stars(plain[0], plain[1], images, stars, replace(options, minimum_snr=0.0))
    return replace(match, from_psfs=True)


def _match_stars(
    science: Exposure,
    template: Exposure,
    images: tuple[NDArray[np.float32], NDArray[np.float32]],
    stars: Table | None,
    options: SubtractionOptions,
) -> Match:
    """Choose which image to convolve, and fit the kernel on common sources."""
    assert science.psf is not None
    height, width = science.shape
    centre = ((width - 1) / 2, (height - 1) / 2)
    moments = science.psf.moments_at(*centre)
    others = moments if template.psf is None else template.psf.moments_at(*centre)
    to_science, to_template = least_widening(others, moments), least_widening(moments, others)
    noise = sky_variance(science.variance), sky_variance(template.variance)

    def fit(convolves_science: bool) -> tuple[Match, Stamps]:
        smoothing = Smoothing.between(
            *((moments, others) if convolves_science else (others, moments)), options.sharpening_sigma
        )
        return _fit(science, template, images, stars, options, convolves_science, smoothing, noise)

    if options.convolve is not None:
        return fit(options.convolve == "science")[0]
    if max(to_science, to_template) < CROSSED:
        found = []
        failures: list[BadKernelError | TooFewKernelStarsError] = []
        for direction in (noise[0] < noise[1], noise[0] >= noise[1]):
            try:
                match, stamps = fit(direction)
            except (BadKernelError, TooFewKernelStarsError) as error:
                failures.append(error)
                continue
            found.append((_residual(match, stamps, science, template, images), match))
        if not found:
            raise failures[0]
        return min(found, key=lambda each: each[0])[1]
    # The less noisy image is convolved, because noise in that image biases the fit. The exception is an
    # image so blurred along either axis that the other one would need more smoothing than can be undone.
    gain = to_template - to_science
    sharper = min(0.5 * (xx + yy) for xx, yy, _ in (moments, others))
    limit = 2 * min(options.blurry_sigma**2, options.blurry_share**2 * sharper)
    return fit(gain > 0 if abs(gain) > limit else noise[0] < noise[1])[0]


def _fit(
    science: Exposure,
    template: Exposure,
    images: tuple[NDArray[np.float32], NDArray[np.float32]],
    stars: Table | None,
    options: SubtractionOptions,
    convolves_science: bool,
    smoothing: Smoothing,
    noise: tuple[float, float],
) -> tuple[Match, Stamps]:
    assert science.psf is not None
    # Along axes where the other image is not clearly blurrier it is smoothed, so that no kernel has to
    # sharpen. The whitening later undoes this in the noise and in the PSF.
    basis = make_basis(smoothing.kernel_sigma, options.kernel)
    fwhm = max(science.psf.fwhm_at(), 2.0 if template.psf is None else template.psf.fwhm_at())
    window = 2 * int(np.clip(round(2.2 * fwhm), 8, 18)) + 1
    width = stamp_width(window, basis.half)
    chosen = (science, stars, options.stamps, options.minimum_snr)
    x, y = choose_positions(*chosen, width // 2 + 1)
    if len(x) < FEW_STARS:
        # In images that are small beside the PSF, edges are repeated for the filters instead.
        x, y = choose_positions(*chosen, window // 2 + basis.half)
    affine = warp_affine(template)
    if convolves_science:
        pair = (science, template, *images)
        stamp_filters = StampFilters.make(width, smoothing, noise[0], noise[1], None)
    else:
        pair = (template, science, *images[::-1])
        correlation = None if affine is None else warped_noise_correlation(affine)
        stamp_filters = StampFilters.make(width, smoothing, noise[1], noise[0], correlation)
    stamps = cut_stamps(*pair, x, y, window, basis.half, stamp_filters)
    fit = fit_kernel(stamps, basis, science.shape, options.kernel, convolves_science=convolves_science)
    if fit.used.sum() < 3:
        raise TooFewKernelStarsError("Too few sources are alike in both images.", stamps=len(fit.used))
    ratio = fit.kernel.sum_at((science.shape[1] - 1) / 2, (science.shape[0] - 1) / 2)
    if not 1 / options.maximum_flux_ratio < ratio < options.maximum_flux_ratio:
        raise BadKernelError("The flux scales of image and template disagree.", ratio=ratio)
    return Match(fit, smoothing, DifferenceFilters(fit.kernel, smoothing, *noise, affine)), stamps


def _residual(
    match: Match,
    stamps: Stamps,
    science: Exposure,
    template: Exposure,
    images: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> float:
    """Return the squared residual of bright stars in the white difference, in units of the noise."""
    peaks = stamps.target.max(axis=(1, 2))
    rows = np.argsort(-peaks)[:TRIAL_STARS]
    x, y = stamps.x[rows].astype(int), stamps.y[rows].astype(int)
    n = TRIAL_WIDTH
    offsets = np.arange(n) - n // 2
    height, width = science.shape
    row = np.clip(y[:, np.newaxis] + offsets, 0, height - 1)[:, :, np.newaxis]
    column = np.clip(x[:, np.newaxis] + offsets, 0, width - 1)[:, np.newaxis]
    own, other, _ = match.filters.spectra(
        x.astype(float), y.astype(float), n, match.filters.template_power(n)
    )
    difference = fft.irfft2(
        fft.rfft2(images[0][row, column]) * own - fft.rfft2(images[1][row, column]) * other, s=(n, n)
    )
    core = np.s_[:, n // 2 - 2 : n // 2 + 3, n // 2 - 2 : n // 2 + 3]
    noise = np.zeros_like(difference[core])
    for exposure, spectrum in ((science, own), (template, other)):
        share = np.sum(fft.irfft2(spectrum, s=(n, n)) ** 2, axis=(1, 2))
        noise += exposure.variance[row, column][core] * share[:, np.newaxis, np.newaxis]
    ratios = np.mean(difference[core] ** 2, axis=(1, 2)) / np.maximum(
        np.mean(noise, axis=(1, 2)), np.finfo(np.float32).tiny
    )
    return float(np.median(ratios))


def sky_variance(variance: NDArray[np.float32]) -> float:
    """Return the typical variance of the sky."""
    values = variance[::11, ::11]
    values = values[values > 0]
    if not values.size:
        raise BadKernelError("No pixel has a variance.")
    return float(np.median(values))


def warp_affine(template: Exposure) -> tuple[float, float, float, float] | None:
    """Return the affine map of the template's warp, if its metadata has one."""
    if not all(key in template.metadata for key in AFFINE_KEYS):
        return None
    xx, xy, yx, yy = (float(template.metadata[key]) for key in AFFINE_KEYS)
    return xx, xy, yx, yy
