"""Subtract the fringes of the night sky."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from prompt_processing.images import UNUSABLE, Exposure
from prompt_processing.images.robust import MAD_TO_SIGMA

MESH = 64
"""Scale, pixels, above which variations belong to the sky and not to the fringes."""

_PASSES = 4
_CLIP = 3.0


def smooth_sky(image: NDArray[np.float32], covered: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the sky on scales above `MESH`, from the uncovered pixels.

    Parameters
    ----------
    image : `~numpy.ndarray` of float32, shape (height, width)
        Image with its sky.
    covered : `~numpy.ndarray` of bool, shape (height, width)
        Pixels of sources and artefacts.
    """
    weight = (~covered & np.isfinite(image)).astype(np.float32)
    values = np.where(weight > 0, image, 0).astype(np.float32)
    norm = ndimage.uniform_filter(weight, MESH, mode="nearest")
    total = ndimage.uniform_filter(values, MESH, mode="nearest")
    with np.errstate(invalid="ignore", divide="ignore"):
        smooth = total / norm
    level = float(np.median(image[weight > 0])) if weight.any() else 1.0
    return np.where(norm > 0.05, smooth, level).astype(np.float32)


def subtract_fringes(exposure: Exposure, pattern: NDArray[np.float32]) -> float:
    """Fit a pattern to the sky, and subtract it in place.

    Parameters
    ----------
    exposure : `Exposure`
        Electrons, with its sky.
    pattern : `~numpy.ndarray` of float32, shape (height, width)
        Fringes relative to the sky.

    Returns
    -------
    amplitude : `float`
        Factor of the pattern; 0 if the fit is impossible.
    """
    covered = exposure.has(UNUSABLE) | ~np.isfinite(exposure.image)
    amplitude = 0.0
    smooth = smooth_sky(exposure.image, covered)
    for _ in range(_PASSES):
        rest = exposure.image - smooth * (1 + np.float32(amplitude) * pattern)
        good = rest[~covered]
        if good.size < 1000:
            return 0.0
        middle = np.median(good)
        sigma = MAD_TO_SIGMA * float(np.median(np.abs(good - middle)))
        # Sources would dominate the fit.
        use = ~covered & (np.abs(rest - middle) < _CLIP * max(sigma, 1e-6))
        smooth = smooth_sky(exposure.image, ~use)
        model = (smooth * pattern)[use].astype(float)
        norm = float(model @ model)
        if norm <= 0:
            return 0.0
        amplitude = float(model @ (exposure.image - smooth)[use].astype(float)) / norm
    exposure.image -= np.float32(amplitude) * smooth * pattern
    return amplitude
