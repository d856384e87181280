"""Subtract the sky of an image, and repair defects that stand out from it."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from prompt_processing.imaging.blemishes.bad_lines import mark_bad_lines
from prompt_processing.imaging.blemishes.fill import fill_scattered_holes
from prompt_processing.imaging.blemishes.patterns import find_pattern
from prompt_processing.imaging.blemishes.pixel_noise import (
    dithered,
    hides_noise,
    pixel_noise,
    quantum,
    random_numbers,
    unclipped,
)
from prompt_processing.imaging.calibration.background import SkyEstimate, estimate_sky

from ..images import UNUSABLE, Exposure, Mask
from .reading.bad_pixels import SMALL_NOISE

_LOG = logging.getLogger(__name__)

NOISE_FREE = 3e-6
"""Noise over the highest pixel below which an image has none; bright stars of deep stacks reach 1e-5."""

COARSE = 0.2
"""Steps of quantised data above this fraction of the noise bias the sky's mode."""


def subtract_sky(
    exposure: Exposure, name: str, unit: float
) -> tuple[SkyEstimate, float, NDArray[np.float32] | None, float]:
    """Subtract the sky and repair what stands out from it, in place.

    Parameters
    ----------
    exposure : `~prompt_processing.images.Exposure`
        Image with its sky; pixels without data are ``NO_DATA``.
    name : `str`
        Name of the image, for messages.
    unit : `float`
        Value of one unit of the pixels in the file's unit, for messages.

    Returns
    -------
    sky : `~prompt_processing.imaging.calibration.background.SkyEstimate`
        The subtracted sky.
    noise : `float`
        Noise of a pixel.
    plain : `~numpy.ndarray` of float32, shape (height, width), or `None`
        The image without its steps, if it is coarsely quantised; for code that takes medians.
    step : `float`
        These steps; 0 if it is not.
    """
    box = int(np.clip(min(exposure.shape) // 8, 48, 256))
    unusable = exposure.has(UNUSABLE & ~Mask.SAT)
    usable = ~unusable
    full = unclipped(exposure.image, usable)
    if full is not None:
        _LOG.warning(
            "%s: its sky is clipped at %.4g. Random numbers stand for the noise; fainter sources are lost.",
            name,
            float(exposure.image[usable].min()) * unit,
        )
        exposure.image = full
    sky = estimate_sky(exposure.image, unusable, box)
    step = quantum(exposure.image, usable)
    plain: NDArray[np.float32] | None = None
    if step > COARSE * sky.noise:
        # Modes and medians of few different values are off by up to half a step.
        plain = dithered(exposure.image, step)
        sky = estimate_sky(plain, unusable, box)
    else:
        step = 0.0
    level = sky.background.image()
    shown = exposure.image if plain is None else plain
    above = shown - level
    pattern = find_pattern(above, usable)
    if pattern is not None:
        _LOG.warning(
            "%s: a periodic pattern on the sky (fringes, or interference) with an rms of %.3g is subtracted.",
            name,
            float(pattern.std()) * unit,
        )
        exposure.image -= pattern
        if plain is not None:
            plain = dithered(exposure.image, step)
        shown = exposure.image if plain is None else plain
        sky = estimate_sky(shown, unusable, box)
        level = sky.background.image()
        above = shown - level
    noise = pixel_noise(above, usable)
    if not np.isfinite(noise) or noise <= 0:
        noise = sky.noise
    if plain is not None:
        above = exposure.image - level
    peak = float(above.max())
    if noise < NOISE_FREE * peak:
        # Rarely: unusable pixels may be of any height.
        peak = float(np.max(above, where=usable, initial=-np.inf))
    if noise < NOISE_FREE * peak:
        noise = SMALL_NOISE * peak
        _LOG.warning(
            "%s: its sky has no noise (simulated, or smoothed?). Random numbers of %.3g stand for it.",
            name,
            noise * unit,
        )
        exposure.image += random_numbers(exposure.image).normal(0, noise, exposure.shape).astype(np.float32)
        sky = estimate_sky(exposure.image, unusable, box)
        plain, step, level = None, 0.0, sky.background.image()
    elif plain is not None and hides_noise(exposure.image, usable, step):
        # The faintest pixels, which measure the noise elsewhere, have one value.
        noise = sky.noise
        _LOG.warning(
            "%s: its values are multiples of %.3g, much more than the sky scatters by. Random numbers within "
            "these steps stand for the lost noise, %.3g; fainter changes are lost.",
            name,
            step * unit,
            noise * unit,
        )
        exposure.image, plain, step = plain, None, 0.0
    else:
        noise = float(np.sqrt(max(noise**2 - step**2 / 12, (0.1 * noise) ** 2)))
    exposure.image -= level
    exposure.image[exposure.has(Mask.NO_DATA)] = 0
    mark_bad_lines(exposure, noise)
    fill_scattered_holes(exposure, noise)
    if plain is not None:
        plain = dithered(exposure.image, step)
    return sky, noise, plain, step
