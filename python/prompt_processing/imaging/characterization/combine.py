"""Combine frames into one with less noise."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from prompt_processing.images.robust import MAD_TO_SIGMA
from prompt_processing.imaging.errors import UnusableCalibrationError
from prompt_processing.imaging.row_bands import available_cores
from prompt_processing.telemetry.handover import in_this_context

CLIP = 4.0
"""Values beyond this many standard deviations of the stack's median are rejected."""


@dataclass(frozen=True, slots=True, eq=False)
class CombinedFrame:
    """A clipped mean.

    Attributes
    ----------
    image : `~numpy.ndarray` of float32, shape (height, width)
        Mean of the values that were kept; NaN where there are none.
    variance : `~numpy.ndarray` of float32, shape (height, width)
        Variance of the mean.
    kept : `~numpy.ndarray` of uint8, shape (height, width)
        Number of values that were kept.
    scales : `~numpy.ndarray`, shape (n,)
        Factor that each frame was divided by.
    rejected : `~numpy.ndarray`, shape (n,)
        Fraction of each frame's pixels that was rejected.
    """

    image: NDArray[np.float32]
    variance: NDArray[np.float32]
    kept: NDArray[np.uint8]
    scales: NDArray[np.float64]
    rejected: NDArray[np.float64]


@numba.njit(cache=True, nogil=True)
def _combine_rows(stack, noise, clip, image, spread, kept, rejected):  # type: ignore[no-untyped-def]
    n, height, width = stack.shape
    values = np.empty(n, np.float32)
    for y in range(height):
        for x in range(width):
            m = 0
            for k in range(n):
                value = stack[k, y, x]
                if np.isfinite(value):
                    values[m] = value
                    m += 1
            image[y, x] = np.float32(np.nan)
            spread[y, x] = np.float32(np.nan)
            kept[y, x] = 0
            if m == 0:
                continue
            middle = np.median(values[:m])
            sigma = max(np.float32(MAD_TO_SIGMA) * np.median(np.abs(values[:m] - middle)), noise[y, x])
            total = 0.0
            squares = 0.0
            good = 0
            for k in range(n):
                value = stack[k, y, x]
                if np.isfinite(value):
                    deviation = value - middle
                    if m < 3 or abs(deviation) <= clip * sigma:
                        total += deviation
                        squares += deviation * deviation
                        good += 1
                    else:
                        rejected[k] += 1
            mean = total / good
            image[y, x] = middle + mean
            kept[y, x] = good
            if good > 1:
                spread[y, x] = (squares - good * mean * mean) / (good - 1)


def combine_frames(
    frames: Sequence[NDArray[np.float32]],
    scales: Sequence[float] | None = None,
    noise: NDArray[np.float32] | float = 0.0,
    clip: float = CLIP,
) -> CombinedFrame:
    """Average frames, without the values that differ from the others.

    Parameters
    ----------
    frames : sequence of `~numpy.ndarray` of float32, shape (height, width)
        Frames; values that are not finite are left out.
    scales : sequence of `float`, optional
        What to divide each frame by, for example the level of a flat.
    noise : `~numpy.ndarray` or `float`, optional
        Expected standard deviation of a scaled value. Nothing within ``clip`` times this is rejected, however
        close the other values happen to be.
    clip : `float`, optional
        See `CLIP`. With fewer than three values, nothing is rejected.

    Returns
    -------
    combined : `CombinedFrame`
        Its variance is the scatter among the frames, averaged over neighbouring pixels where only few frames
        measure it.

    Raises
    ------
    UnusableCalibrationError
        Raised if there is no frame, the frames differ in shape, or a scale is not positive.
    """
    if not frames:
        raise UnusableCalibrationError("There is no frame to combine")
    shape = frames[0].shape
    if any(frame.shape != shape for frame in frames):
        shapes = sorted({str(frame.shape) for frame in frames})
        raise UnusableCalibrationError(f"The frames differ in shape: {', '.join(shapes)}")
    factors = np.ones(len(frames)) if scales is None else np.asarray(scales, float)
    if not np.all(factors > 0):
        raise UnusableCalibrationError("A frame has no light", level=float(np.min(factors)))
    height = shape[0]
    image, spread = np.empty(shape, np.float32), np.empty(shape, np.float32)
    kept = np.empty(shape, np.uint8)
    expected = np.broadcast_to(np.asarray(noise, np.float32), shape)

    def combine(start: int) -> NDArray[np.float64]:
        rows = slice(start, min(start + 64, height))
        stack = np.stack([frame[rows] / np.float32(f) for frame, f in zip(frames, factors, strict=True)])
        rejected = np.zeros(len(frames))
        _combine_rows(
            stack, np.ascontiguousarray(expected[rows]), np.float32(clip),
            image[rows], spread[rows], kept[rows], rejected,
        )  # fmt: skip
        return rejected

    with ThreadPoolExecutor(available_cores()) as pool:
        rejected = sum(pool.map(in_this_context(combine), range(0, height, 64)), np.zeros(len(frames)))
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = (_smoothed(spread, len(frames)) / np.maximum(kept, 1)).astype(np.float32)
    return CombinedFrame(image, variance, kept, factors, rejected / image.size)


def _smoothed(spread: NDArray[np.float32], n: int) -> NDArray[np.float32]:
    """Average a noisy variance over as many pixels as make its error about 15 per cent."""
    width = int(np.ceil(np.sqrt(90.0 / max(n - 1, 1))))
    if width <= 1:
        return spread
    from scipy import ndimage

    width += 1 - width % 2
    known = np.isfinite(spread)
    values = ndimage.uniform_filter(np.where(known, spread, 0).astype(np.float32), width, mode="nearest")
    weight = ndimage.uniform_filter(known.astype(np.float32), width, mode="nearest")
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = values / weight
    # A hot pixel scatters more than its neighbours: its own value counts there.
    return np.where(known & (spread > 9 * mean), spread, mean).astype(np.float32)
