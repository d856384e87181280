"""Subtract a template from a science image after matching their PSFs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from prompt_processing.images import UNUSABLE, Exposure, Mask
from prompt_processing.images.kernel import MatchingKernel
from prompt_processing.imaging.errors import BadKernelError, TooFewKernelStarsError
from prompt_processing.imaging.masked_pixels import (
    blank,
    combined_mask,
    filled_image,
    flag_bright_surroundings,
    spread_holes,
    spread_plane,
)
from prompt_processing.imaging.templates.warp import AFFINE_KEYS, warped_noise_correlation

from .background import quiet_pixels, remove_fine_background, remove_residual_background, scale_variance
from .block_convolution import BlockGrid, convolve_blocks
from .decorrelation import DifferenceFilters
from .identity import are_one_image, identity_fit
from .kernel import KernelFit, KernelOptions, fit_kernel, kernel_sigma, make_basis
from .kernel_stamps import StampFilters, choose_positions, cut_stamps, stamp_width
from .source_noise import PHOTON_NOISE, photon_noise
from .variance import filtered_variance


@dataclass(frozen=True, slots=True)
class SubtractionOptions:
    """Options of the subtraction.

    Attributes
    ----------
    kernel : `KernelOptions`
        Options of the kernel fit.
    stamps : `int`
        Number of sources to fit the kernel on.
    minimum_snr : `float`
        Least signal-to-noise ratio of those sources.
    whitening_half : `int`
        Half width of the noise-whitening filter, pixels.
    grid : `int`
        Points along each side where the whitening filter is computed.
    background_box : `int`
        Boxes of the residual background, pixels.
    fine_background_box : `int`
        Boxes for the remaining fine structure, if any, pixels; wider for wide PSFs.
    bright_sigma : `float`
        Pixels connected to a saturated core and this many sky sigmas bright are
        flagged: no kernel fits wings to better than about a per cent.
    maximum_flux_ratio : `float`
        A kernel whose sum differs from 1 by more than this factor is refused.
    sharpening_sigma : `float`
        Smallest sigma of a kernel, pixels; below, the image to be matched
        is smoothed first.
    blurry_sigma : `float`
        Sigma of the kernel from one image to the other, pixels, above which the sharper image is convolved;
        below, the less noisy one is. The axis along which a kernel widens least decides.
    convolve : {"science", "template"} or `None`
        Image to convolve with the fitted kernel, overriding that rule.
    """

    kernel: KernelOptions = field(default_factory=KernelOptions)
    stamps: int = 250
    minimum_snr: float = 30.0
    whitening_half: int = 12
    grid: int = 5
    background_box: int = 256
    fine_background_box: int = 28
    bright_sigma: float = 20.0
    maximum_flux_ratio: float = 2.0
    sharpening_sigma: float = 0.6
    blurry_sigma: float = 0.8
    convolve: Literal["science", "template"] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Subtraction:
    """The products of a subtraction.

    Attributes
    ----------
    difference : `Exposure`
        Science minus template on the science image's flux scale, noise white; its
        PSF is that of a source which is only in the science image.
    matched : `Exposure`
        The template as subtracted, before whitening: with the science
        image's PSF (or a smoother one), or with its own where the science image was
        convolved. Mask and variance are the template's own arrays.
    kernel : `MatchingKernel`
    metrics : `dict`
        Numbers that describe the quality of the subtraction.
    """

    difference: Exposure
    matched: Exposure
    kernel: MatchingKernel
    metrics: dict[str, float | int | bool]


def subtract(
    science: Exposure,
    template: Exposure,
    stars: Table | None = None,
    options: SubtractionOptions | None = None,
) -> Subtraction:
    """Match the PSFs of two aligned images and subtract.

    Parameters
    ----------
    science : `Exposure`
        Background-subtracted, nJy, with a PSF.
    template : `Exposure`
        Template on the science image's pixels (`warp_template`), nJy.
    stars : `~astropy.table.Table`, optional
        Sources of the science image: ``x, y`` (pixels), ``snr`` or ``psfFlux``;
        without it (or with too few) bright pixels are used.
    options : `SubtractionOptions`, optional
        Options of the subtraction.

    Raises
    ------
    TooFewKernelStarsError
        Raised if too few sources are in both images.
    BadKernelError
        Raised if the kernel's sum shows that the flux scales disagree.
    ValueError
        Raised if the images differ in shape, or the science image has no PSF.
    """
    options = options or SubtractionOptions()
    if science.psf is None:
        raise ValueError("The science image has no PSF.")
    if science.shape != template.shape:
        raise ValueError(f"The science image is {science.shape}, the template {template.shape}.")
    saturated = int(Mask.SAT)
    science_image = filled_image(science.image, science.mask, int(UNUSABLE), saturated)
    template_image = filled_image(template.image, template.mask, int(UNUSABLE & ~Mask.EDGE), saturated)
    if are_one_image(science, template, science_image, template_image):
        fit, companion_sigma, sigma = identity_fit(science.shape), 0.0, 0.0
    else:
        fit, companion_sigma, sigma = _fit(science, template, science_image, template_image, stars, options)
    kernel = fit.kernel
    shape = science.shape
    filters = DifferenceFilters(
        kernel,
        companion_sigma,
        _sky_variance(science.variance),
        _sky_variance(template.variance),
        _warp_affine(template),
        sigma,
    )
    fractions = (np.arange(options.grid) + 0.5) / options.grid
    grid_x, grid_y = (g.ravel() for g in np.meshgrid(fractions * shape[1], fractions * shape[0]))
    grid = _block_grid(shape, kernel, options)
    psf, *noise_filters = filters.psf_and_noise(science.psf, grid_x, grid_y, shape, grid.margin)
    reach = _reach(kernel.image_at(shape[1] / 2, shape[0] / 2))
    mask = _difference_mask(science, template, (science_image, template_image), reach, options)
    image, matched = _convolve_images((science_image, template_image), filters, grid)
    # The filled template is no longer needed: reused memory is faster than new memory.
    variance = template_image
    filtered_variance((science.variance, template.variance), noise_filters, grid.margin, variance)
    quiet, usable_fraction = quiet_pixels(image, variance, mask)
    background = remove_residual_background(image, quiet, options.background_box)
    fine = remove_fine_background(
        image, quiet, max(options.fine_background_box, math.ceil(7 * psf.fwhm_at()))
    )
    background = math.hypot(background, fine)
    # Pure rounding errors do not measure the noise.
    scale = 1.0 if sigma == 0 and companion_sigma == 0 else scale_variance(image, variance, quiet)
    blank(mask, int(Mask.NO_DATA), image, variance)
    blank(template.mask, int(Mask.NO_DATA), matched)
    ratios = kernel.weights_at(grid_x, grid_y)[:, 0]
    metrics: dict[str, float | int | bool] = {
        "scienceConvolved": kernel.convolves_science,
        "companionSigma": companion_sigma,
        "kernelSize": kernel.size,
        "kernelStamps": len(fit.used),
        "kernelStampsUsed": int(fit.used.sum()),
        "kernelChi2": float(np.median(fit.chi2[fit.used])),
        "kernelCondition": fit.condition,
        "kernelSum": float(ratios.mean()),
        "kernelSumRange": float(np.ptp(ratios)),
        "varianceScale": scale,
        "residualBackground": background,
        "differenceFwhm": psf.fwhm_at(),
        "usableFraction": usable_fraction,
    }
    common = (science.wcs, psf, science.photo_calib, science.visit_info)
    photons = photon_noise(filters, science.psf, (shape[1] - 1) / 2, (shape[0] - 1) / 2)
    difference = Exposure(image, mask, variance, *common, {**metrics, PHOTON_NOISE: photons})
    matched_psf = filters.matched_psf(science.psf, template.psf)
    # Nothing modifies these planes any more, so they are shared instead of copied.
    matched_exposure = Exposure(
        *(matched, template.mask, template.variance, science.wcs, matched_psf),
        *(science.photo_calib, science.visit_info, dict(template.metadata)),
    )
    return Subtraction(difference, matched_exposure, kernel, metrics)


def _fit(
    science: Exposure,
    template: Exposure,
    science_image: NDArray[np.float32],
    template_image: NDArray[np.float32],
    stars: Table | None,
    options: SubtractionOptions,
) -> tuple[KernelFit, float, float]:
    """Choose which image to convolve, and fit the kernel."""
    assert science.psf is not None
    height, width = science.shape
    centre = ((width - 1) / 2, (height - 1) / 2)
    science_moments = science.psf.moments_at(*centre)
    template_moments = science_moments if template.psf is None else template.psf.moments_at(*centre)
    to_science = kernel_sigma(template_moments, science_moments)
    to_template = kernel_sigma(science_moments, template_moments)
    affine = _warp_affine(template)
    noise = _sky_variance(science.variance), _sky_variance(template.variance)
    # The less noisy image is convolved, because noise in that image biases the fit. The exception is an
    # image so blurred along either axis that the other one would need more smoothing than can be undone.
    gain = math.copysign(to_template[0] ** 2, to_template[0]) - math.copysign(
        to_science[0] ** 2, to_science[0]
    )
    convolves_science = gain > 0 if abs(gain) > 2 * options.blurry_sigma**2 else noise[0] < noise[1]
    if options.convolve is not None:
        convolves_science = options.convolve == "science"
    low, mean = to_template if convolves_science else to_science
    # Unless the other image is clearly blurrier, it is smoothed, so that no kernel has to sharpen. The
    # whitening later undoes this in the noise and in the PSF.
    companion_sigma = 0.0
    if low < options.sharpening_sigma:
        companion_sigma = math.sqrt(options.sharpening_sigma**2 - math.copysign(low**2, low))
    sigma = math.sqrt(max(math.copysign(mean**2, mean) + companion_sigma**2, 0.0))
    basis = make_basis(sigma, options.kernel)
    fwhm = max(science.psf.fwhm_at(), 2.0 if template.psf is None else template.psf.fwhm_at())
    window = 2 * int(np.clip(round(2.2 * fwhm), 8, 18)) + 1
    width = stamp_width(window, basis.half)
    x, y = choose_positions(science, stars, options.stamps, options.minimum_snr, width // 2 + 1)
    correlation = None if affine is None else warped_noise_correlation(affine)
    if convolves_science:
        pair = (science, template, science_image, template_image)
        stamp_filters = StampFilters.make(width, companion_sigma, sigma, noise[0], noise[1], None)
    else:
        pair = (template, science, template_image, science_image)
        stamp_filters = StampFilters.make(width, companion_sigma, sigma, noise[1], noise[0], correlation)
    stamps = cut_stamps(*pair, x, y, window, basis.half, stamp_filters)
    fit = fit_kernel(stamps, basis, science.shape, options.kernel, convolves_science=convolves_science)
    if fit.used.sum() < 3:
        raise TooFewKernelStarsError("Too few sources are alike in both images.", stamps=len(fit.used))
    ratio = fit.kernel.sum_at(*centre)
    if not 1 / options.maximum_flux_ratio < ratio < options.maximum_flux_ratio:
        raise BadKernelError("The flux scales of image and template disagree.", ratio=ratio)
    return fit, companion_sigma, sigma


def _sky_variance(variance: NDArray[np.float32]) -> float:
    """Return the typical variance of the sky."""
    values = variance[::11, ::11]
    values = values[values > 0]
    if not values.size:
        raise BadKernelError("No pixel has a variance.")
    return float(np.median(values))


def _warp_affine(template: Exposure) -> tuple[float, float, float, float] | None:
    """Return the affine map of the template's warp, if its metadata has one."""
    if not all(key in template.metadata for key in AFFINE_KEYS):
        return None
    xx, xy, yx, yy = (float(template.metadata[key]) for key in AFFINE_KEYS)
    return xx, xy, yx, yy


def _block_grid(shape: tuple[int, int], kernel: MatchingKernel, options: SubtractionOptions) -> BlockGrid:
    """Choose blocks whose margin holds kernel and whitening together."""
    margin = kernel.size // 2 + options.whitening_half
    return BlockGrid(shape, margin, 160 if margin <= 20 else 192)


def _convolve_images(
    images: tuple[NDArray[np.float32], NDArray[np.float32]], filters: DifferenceFilters, grid: BlockGrid
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the white difference and the matched template."""
    difference, matched = np.empty(grid.shape, np.float32), np.empty(grid.shape, np.float32)
    power = filters.template_power(grid.transform)

    def spectra(x: NDArray[np.float64], y: float) -> list[list[NDArray[np.complex64] | None]]:
        at_y = np.full(x.shape, y)
        science, template, moving = filters.spectra(x, at_y, grid.transform, power)
        if filters.kernel.convolves_science:
            ratio = filters.kernel.weights_at(x, at_y)[:, :1, np.newaxis].astype(np.complex64)
            return [[science, -template], [None, 1 / ratio]]
        return [[science, -template], [None, moving]]

    convolve_blocks(images, [difference, matched], grid, spectra)
    return difference, matched


def _reach(kernel: NDArray[np.float64]) -> int:
    """Return the radius that holds 99 per cent of a kernel's absolute weight, pixels."""
    half = kernel.shape[0] // 2
    rows, columns = np.mgrid[-half : half + 1, -half : half + 1]
    distance = np.hypot(rows, columns).ravel()
    order = np.argsort(distance)
    share = np.cumsum(np.abs(kernel.ravel()[order]))
    return max(2, math.ceil(distance[order][np.searchsorted(share, 0.99 * share[-1])]))


def _difference_mask(
    science: Exposure,
    template: Exposure,
    images: tuple[NDArray[np.float32], NDArray[np.float32]],
    reach: int,
    options: SubtractionOptions,
) -> NDArray[np.int32]:
    """Combine the masks, spread as far as the kernel smears."""
    mask = combined_mask(science.mask, template.mask)
    psf_radius = 3 if science.psf is None else max(2, round(science.psf.fwhm_at()))
    sky = float(np.sqrt(np.nanmedian(science.variance[::16, ::16])))
    threshold = options.bright_sigma * sky
    for plane, image in zip((Mask.SAT, Mask.SAT_TEMPLATE), images, strict=True):
        flag_bright_surroundings(mask, int(plane), int(plane), image, threshold, reach + psf_radius)
    # A filled hole is accurate to a few per cent at its rim, so 2 pixels suffice there.
    for plane in (Mask.BAD, Mask.CR):
        spread_plane(mask, int(plane), int(plane), 1)
    spread_holes(mask, int(Mask.NO_DATA), int(Mask.EDGE), reach)
    for border in (mask[:reach], mask[-reach:], mask[:, :reach], mask[:, -reach:]):
        border |= np.int32(int(Mask.EDGE))
    return mask
