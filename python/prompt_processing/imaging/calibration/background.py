"""Sky background on a mesh, and its noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prompt_processing.images import Background
from prompt_processing.imaging.errors import BadBackgroundError

from .sky_mesh import measure_mesh

MIN_USABLE_FRACTION = 0.02
"""Share of unmasked pixels below which no background can be measured."""


@dataclass(frozen=True, slots=True, eq=False)
class SkyEstimate:
    """The sky and its noise.

    Attributes
    ----------
    background : `Background`
        Level on the mesh.
    rms : `Background`
        Noise of one pixel on the same mesh, sources clipped.
    level, noise : `float`
        Mean level and noise over the image.
    """

    background: Background
    rms: Background
    level: float
    noise: float


def estimate_sky(
    image: NDArray[np.float32], unusable: NDArray[np.bool_] | None = None, box_size: int = 128
) -> SkyEstimate:
    """Estimate the background of an image.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (height, width)
        Any unit.
    unusable : `~numpy.ndarray`, shape (height, width), optional
        Pixels to leave out: bad ones and, on a second pass, sources.
    box_size : `int`, optional
        Width of a mesh box, pixels; smaller where the image is small.

    Returns
    -------
    sky : `SkyEstimate`

    Raises
    ------
    BadBackgroundError
        Raised if fewer than `MIN_USABLE_FRACTION` of the pixels are usable, or the
        background is not finite.

    Notes
    -----
    The estimator is SExtractor's: see `measure_mesh`.
    """
    height, width = image.shape
    if unusable is not None:
        fraction = 1.0 - np.count_nonzero(unusable) / unusable.size
        if fraction < MIN_USABLE_FRACTION:
            raise BadBackgroundError("Too few pixels to estimate the background", usable_fraction=fraction)
    box_size = max(16, min(box_size, height // 2, width // 2))
    # Every other pixel of every other row: a quarter of the time, and thousands per box suffice.
    step = 2 if box_size >= 64 else 1
    box_size -= box_size % step
    levels, noises = measure_mesh(image, unusable, box_size, step)
    level, noise = float(np.median(levels)), float(np.median(noises))
    if not (np.isfinite(level) and np.isfinite(noise) and noise > 0):
        raise BadBackgroundError("The background is not finite", level=level, noise=noise)
    background = Background(levels, box_size, (height, width))
    return SkyEstimate(background, Background(noises, box_size, (height, width)), level, noise)
