"""Sizes, shapes and PSF-likeness of single sources, before any PSF is known."""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from prompt_processing.imaging.row_bands import in_bands

PROFILE = np.dtype(
    [(name, np.float64) for name in ("x", "y", "xx", "yy", "xy", "height", "misfit", "light")]
    + [("planes", np.int32), ("good", np.bool_)]
)
"""An elliptical Gaussian for each source: centre (pixels), second moments (pixels squared), height (unit of
the image), squared residuals within 2 sigma beyond the noise's in units of the Gaussian's own square, its
summed light, the mask planes within 2 sigma, and whether it converged."""

START_SIGMA = 1.0
"""First guess of the width, pixels: small, so that a source is measured before its neighbours contribute."""


def measure_profiles(
    image: NDArray[np.float32],
    mask: NDArray[np.int32],
    x: ArrayLike,
    y: ArrayLike,
    noise: float,
    unusable: int,
    max_sigma: float = 12.0,
) -> NDArray[np.void]:
    """Measure the adaptive moments of sources, and how unlike a Gaussian they are.

    Parameters
    ----------
    image : `~numpy.ndarray` of float32, shape (height, width)
        Background-subtracted.
    mask : `~numpy.ndarray` of int32, shape (height, width)
        Bits of `~prompt_processing.images.Mask`.
    x, y : array_like, shape (n,)
        Positions near the peaks, pixels.
    noise : `float`
        Noise of a sky pixel, unit of the image.
    unusable : `int`
        Mask planes of pixels to leave out.
    max_sigma : `float`, optional
        Largest sigma to follow, pixels.

    Returns
    -------
    profiles : `~numpy.ndarray` of `PROFILE`, shape (n,)
    """
    px, py = (np.ascontiguousarray(np.atleast_1d(a), np.float64) for a in (x, y))
    out = np.zeros(px.size, PROFILE)
    in_bands(
        lambda start, stop: _measure(
            image, mask, np.int32(unusable), px, py, float(noise) ** 2, max_sigma, out, start, stop
        ),
        px.size,
    )
    return out


def fwhm_of(profiles: NDArray[np.void]) -> NDArray[np.float64]:
    """Return the width of circles of the same area, pixels."""
    determinant = np.maximum(profiles["xx"] * profiles["yy"] - profiles["xy"] ** 2, 0)
    return np.asarray(2.3548 * determinant**0.25)


@numba.njit(cache=True, nogil=True)
def _measure(
    image: NDArray[np.float32],
    mask: NDArray[np.int32],
    unusable: int,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    variance: float,
    max_sigma: float,
    out: NDArray[np.void],
    start: int,
    stop: int,
) -> None:
    height, width = image.shape
    largest = max_sigma * max_sigma
    for i in range(start, stop):
        cx, cy = x[i], y[i]
        xx, yy, xy = START_SIGMA**2, START_SIGMA**2, 0.0
        good = False
        for _ in range(60):
            determinant = xx * yy - xy * xy
            if not (determinant > 0 and 0 <= cx <= width - 1 and 0 <= cy <= height - 1):
                break
            total = sx = sy = sxx = syy = sxy = 0.0
            # The weight is exp(-(a u^2 + b u v + c v^2)).
            a, b, c = 0.5 * yy / determinant, -xy / determinant, 0.5 * xx / determinant
            half_y = math.ceil(3 * math.sqrt(yy))
            for row in range(max(int(cy) - half_y, 0), min(int(cy) + half_y + 2, height)):
                v = row - cy
                first, last = _within(4.5, a, b, c, v, cx, width)
                # From pixel to pixel, it changes by a factor that itself changes by a constant factor.
                u = first - cx
                weight = math.exp(-(a * u * u + b * u * v + c * v * v))
                factor, change = math.exp(-(a * (2 * u + 1) + b * v)), math.exp(-2 * a)
                for column in range(first, last):
                    value = image[row, column]
                    if not (mask[row, column] & unusable) and math.isfinite(value):
                        u = column - cx
                        light = weight * value
                        total += light
                        sx += light * u
                        sy += light * v
                        sxx += light * u * u
                        syy += light * v * v
                        sxy += light * u * v
                    weight *= factor
                    factor *= change
            if not total > 0:
                break
            mx, my = sx / total, sy / total
            new_xx, new_yy = 2 * (sxx / total - mx * mx), 2 * (syy / total - my * my)
            new_xy = 2 * (sxy / total - mx * my)
            # A Gaussian seen through its own Gaussian is shifted by half of its offset.
            cx, cy = cx + min(max(2 * mx, -1.0), 1.0), cy + min(max(2 * my, -1.0), 1.0)
            new_xx, new_yy = max(new_xx, 0.02), max(new_yy, 0.02)
            limit = 0.98 * math.sqrt(new_xx * new_yy)
            new_xy = min(max(new_xy, -limit), limit)
            if new_xx > largest or new_yy > largest or math.hypot(cx - x[i], cy - y[i]) > 4.0:
                break
            change = abs(new_xx - xx) + abs(new_yy - yy) + abs(new_xy - xy)
            xx, yy, xy = new_xx, new_yy, new_xy
            if change < 2e-3 * (xx + yy):
                good = True
                break
        result = out[i]
        result["x"], result["y"], result["xx"], result["yy"], result["xy"] = cx, cy, xx, yy, xy
        result["good"] = good
        if good:
            _compare(image, mask, unusable, variance, result)


@numba.njit(cache=True, nogil=True)
def _within(
    limit: float, a: float, b: float, c: float, v: float, middle: float, width: int
) -> tuple[int, int]:
    """Return the first column with ``a u^2 + b u v + c v^2`` within a limit, and the one after the last."""
    squared = b * b * v * v - 4 * a * (c * v * v - limit)
    if squared < 0:
        return 0, 0
    reach, centre = math.sqrt(squared) / (2 * a), middle - b * v / (2 * a)
    return max(math.ceil(centre - reach), 0), min(math.floor(centre + reach) + 1, width)


@numba.njit(cache=True, nogil=True)
def _compare(
    image: NDArray[np.float32], mask: NDArray[np.int32], unusable: int, variance: float, result: np.void
) -> None:
    """Compare the pixels within 2 sigma with the Gaussian of these moments."""
    height, width = image.shape
    cx, cy, xx, yy, xy = result["x"], result["y"], result["xx"], result["yy"], result["xy"]
    determinant = xx * yy - xy * xy
    a, b, c = 0.5 * yy / determinant, -xy / determinant, 0.5 * xx / determinant
    half_y = math.ceil(2 * math.sqrt(yy))
    gg = gd = dd = 0.0
    n = planes = 0
    for row in range(max(int(cy) - half_y, 0), min(int(cy) + half_y + 2, height)):
        v = row - cy
        first, last = _within(2.0, a, b, c, v, cx, width)
        for column in range(first, last):
            u = column - cx
            planes |= mask[row, column]
            value = image[row, column]
            if mask[row, column] & unusable or not math.isfinite(value):
                continue
            g = math.exp(-(a * u * u + b * u * v + c * v * v))
            gg += g * g
            gd += g * value
            dd += value * value
            n += 1
    result["planes"] = planes
    result["misfit"] = np.inf
    if gg > 0:
        result["height"] = gd / gg
        result["light"] = gd / gg * 2 * math.pi * math.sqrt(determinant)
        if gd > 0:
            result["misfit"] = (dd - gd * gd / gg - max(n - 1, 0) * variance) / (gd * gd / gg)
