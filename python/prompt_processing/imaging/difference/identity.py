"""Identical images: no kernel can be fitted, and the difference is zero."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from prompt_processing.images import UNUSABLE, Exposure
from prompt_processing.images.kernel import MatchingKernel

from .decorrelation import DifferenceFilters
from .kernel import KernelFit
from .matching import Match, sky_variance, warp_affine
from .smoothing import NONE

SAME, SHARE = 0.3, 0.95
"""Largest plain difference, in units of its noise, of most pixels of images that share their noise; rounding
and lossy compression explain it. This share of the pixels of independent images differs by up to 2."""

SAMPLING = 7
"""Step of the compared pixels along each axis."""

HALF = 7
"""Half width of the kernel, pixels: that of the smallest fitted kernel."""


def are_one_image(
    science: Exposure,
    template: Exposure,
    science_image: NDArray[np.float32],
    template_image: NDArray[np.float32],
) -> bool:
    """Return whether two images on one grid differ by much less than their noise.

    Images of two exposures never do.
    """
    part = np.s_[::SAMPLING, ::SAMPLING]
    usable = ((science.mask[part] | template.mask[part]) & np.int32(int(UNUSABLE))) == 0
    variance = science.variance[part] + template.variance[part]
    usable &= (variance > 0) & np.isfinite(variance)
    if np.count_nonzero(usable) < 100:
        return False
    difference = science_image[part][usable] - template_image[part][usable]
    scatter = np.abs(difference - np.median(difference)) / np.sqrt(variance[usable])
    return bool(np.quantile(scatter, SHARE) < SAME)


def identity_match(science: Exposure, template: Exposure) -> Match:
    """Return the identity kernel for two equal images."""
    delta = np.zeros((1, 2 * HALF + 1, 2 * HALF + 1))
    delta[0, HALF, HALF] = 1
    height, width = science.shape
    kernel = MatchingKernel(
        delta, np.ones((1, 1)), 0, (width - 1) / 2, (height - 1) / 2, max(height, width) / 2, False
    )
    fit = KernelFit(kernel, np.ones(1, np.bool_), np.zeros(1), 1.0)
    noise = sky_variance(science.variance), sky_variance(template.variance)
    return Match(fit, NONE, DifferenceFilters(kernel, NONE, *noise, warp_affine(template)))
