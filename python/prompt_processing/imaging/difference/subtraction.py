"""Subtract a template from a science image after matching their PSFs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from prompt_processing.domain.planes import new_plane
from prompt_processing.images import UNUSABLE, Exposure, Mask
from prompt_processing.images.kernel import MatchingKernel
from prompt_processing.imaging.masked_pixels import (
    blank,
    combined_mask,
    filled_image,
    flag_bright_surroundings,
    spread_holes,
    spread_plane,
)

from .background import quiet_pixels, remove_fine_background, remove_residual_background, scale_variance
from .block_convolution import BlockGrid, convolve_blocks
from .decorrelation import DifferenceFilters
from .identity import are_one_image, identity_match
from .matching import match_psfs
from .model_error import add_model_error
from .options import SubtractionOptions
from .source_noise import PHOTON_NOISE, photon_noise
from .variance import filtered_variance


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
    same = are_one_image(science, template, science_image, template_image)
    if same:
        match = identity_match(science, template)
    else:
        match = match_psfs(science, template, (science_image, template_image), stars, options)
    fit, filters = match.fit, match.filters
    kernel = fit.kernel
    shape = science.shape
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
    scale = 1.0 if same else scale_variance(image, variance, quiet)
    error = add_model_error(image, variance, mask, (template.image, science_image), stars, psf.fwhm_at())
    if error > 0:
        # Between the stars of a crowded field, their error was part of the scatter.
        scale *= scale_variance(image, variance, quiet)
    blank(mask, int(Mask.NO_DATA), image, variance)
    blank(template.mask, int(Mask.NO_DATA), matched)
    ratios = kernel.weights_at(grid_x, grid_y)[:, 0]
    metrics: dict[str, float | int | bool] = {
        "scienceConvolved": kernel.convolves_science,
        "companionSigma": match.smoothing.companion_sigma,
        "kernelSize": kernel.size,
        "kernelStamps": len(fit.used),
        "kernelStampsUsed": int(fit.used.sum()),
        "kernelFromPsfs": match.from_psfs,
        "kernelChi2": float(np.median(fit.chi2[fit.used])),
        "kernelCondition": fit.condition,
        "kernelSum": float(ratios.mean()),
        "kernelSumRange": float(np.ptp(ratios)),
        "varianceScale": scale,
        "modelError": error,
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


def _block_grid(shape: tuple[int, int], kernel: MatchingKernel, options: SubtractionOptions) -> BlockGrid:
    """Choose blocks whose margin holds kernel and whitening together."""
    margin = kernel.size // 2 + options.whitening_half
    return BlockGrid(shape, margin, 160 if margin <= 20 else 192)


def _convolve_images(
    images: tuple[NDArray[np.float32], NDArray[np.float32]], filters: DifferenceFilters, grid: BlockGrid
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the white difference and the matched template."""
    difference, matched = new_plane(grid.shape, np.float32), new_plane(grid.shape, np.float32)
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
