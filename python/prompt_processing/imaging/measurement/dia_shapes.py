"""Compiled measurements of one difference source that need no fit."""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(cache=True, nogil=True)
def aperture_flux(
    image: NDArray[np.float32],
    variance: NDArray[np.float32],
    x: float,
    y: float,
    radius: float,
    result: NDArray[np.float64],
) -> bool:
    """Sum the pixels in a circle; pixels on its rim count by their share of 5 x 5 points inside.

    Parameters
    ----------
    image, variance : `~numpy.ndarray`
        Image and variance; pixels that are not finite are left out.
    x, y, radius : `float`
        Centre and radius of the circle, pixels.
    result : `~numpy.ndarray`, shape (2,)
        Receives the flux and its standard error.

    Returns
    -------
    whole : `bool`
        Whether the circle lies on the image and all its pixels are finite.
    """
    height, width = image.shape
    whole = True
    total = noise = 0.0
    for row in range(math.floor(y - radius), math.ceil(y + radius) + 1):
        for column in range(math.floor(x - radius), math.ceil(x + radius) + 1):
            distance = math.hypot(column - x, row - y)
            if distance > radius + 0.71:
                continue
            share = 1.0
            if distance > radius - 0.71:
                count = 0
                for j in range(5):
                    for i in range(5):
                        if math.hypot(column - x + (i - 2) * 0.2, row - y + (j - 2) * 0.2) <= radius:
                            count += 1
                share = count / 25.0
            if share == 0.0:
                continue
            if row < 0 or row >= height or column < 0 or column >= width:
                whole = False
                continue
            value, v = image[row, column], variance[row, column]
            if not (math.isfinite(value) and v > 0):
                whole = False
                continue
            total += share * value
            noise += share * share * v
    result[0], result[1] = total, math.sqrt(noise)
    return whole


@numba.njit(cache=True, nogil=True)
def weighted_moments(
    data: NDArray[np.float64],
    usable: NDArray[np.float64],
    dx: float,
    dy: float,
    start: float,
    result: NDArray[np.float64],
) -> bool:
    """Measure second moments under a matched Gaussian.

    Parameters
    ----------
    data : `~numpy.ndarray`, shape (n, n)
        Pixels, positive for the source.
    usable : `~numpy.ndarray`, shape (n, n)
        0 excludes a pixel.
    dx, dy : `float`
        The source's position off the middle, pixels.
    start : `float`
        First guess of the moments, pixels squared.
    result : `~numpy.ndarray`, shape (3,)
        Receives ixx, iyy, ixy; the first guess if the iteration does not converge.

    Returns
    -------
    good : `bool`
        Whether the iteration converged.
    """
    n = data.shape[0]
    half = n // 2
    xx, yy, xy = start, start, 0.0
    for _ in range(40):
        determinant = xx * yy - xy * xy
        if determinant <= 0:
            break
        total = sxx = syy = sxy = 0.0
        for r in range(n):
            v = r - half - dy
            for c in range(n):
                if not usable[r, c] > 0:
                    continue
                u = c - half - dx
                exponent = 0.5 * (yy * u * u - 2 * xy * u * v + xx * v * v) / determinant
                if exponent > 12:
                    continue
                weight = math.exp(-exponent) * data[r, c]
                total += weight
                sxx += weight * u * u
                syy += weight * v * v
                sxy += weight * u * v
        if total <= 0:
            break
        new_xx, new_yy, new_xy = 2 * sxx / total, 2 * syy / total, 2 * sxy / total
        if (
            new_xx <= 0.1
            or new_yy <= 0.1
            or new_xx * new_yy <= new_xy * new_xy
            or new_xx + new_yy > n * n / 4
        ):
            break
        change = abs(new_xx - xx) + abs(new_yy - yy) + abs(new_xy - xy)
        # Half a step, to damp oscillations of faint sources.
        xx, yy, xy = 0.5 * (xx + new_xx), 0.5 * (yy + new_yy), 0.5 * (xy + new_xy)
        if change < 1e-3 * (xx + yy):
            result[0], result[1], result[2] = xx, yy, xy
            return True
    result[0], result[1], result[2] = start, start, 0.0
    return False


@numba.njit(cache=True, nogil=True)
def lobes(
    data: NDArray[np.float64],
    variance: NDArray[np.float64],
    sign: float,
    radius: float,
    result: NDArray[np.float64],
) -> None:
    """Find the strongest lobe of either sign in means of 3 x 3 pixels.

    Parameters
    ----------
    data, variance : `~numpy.ndarray`, shape (n, n)
        Pixels; a variance of 0 excludes a pixel.
    sign : `float`
        Sign of the source.
    radius : `float`
        Radius of the search around the middle, pixels.
    result : `~numpy.ndarray`, shape (8,)
        Receives significance, dx, dy of the own lobe, the same of the opposite one; the
        share of pixels opposite by more than 2 sigma; the share of the
        absolute signal that is opposite.
    """
    n = data.shape[0]
    half = n // 2
    result[:] = 0.0
    opposite = counted = 0
    own_sum = other_sum = 0.0
    for r in range(1, n - 1):
        for c in range(1, n - 1):
            if math.hypot(r - half, c - half) > radius:
                continue
            if variance[r, c] > 0:
                ratio = sign * data[r, c] / math.sqrt(variance[r, c])
                counted += 1
                if ratio < -2:
                    opposite += 1
                if ratio > 1:
                    own_sum += ratio
                elif ratio < -1:
                    other_sum -= ratio
            total = noise = 0.0
            for j in range(-1, 2):
                for i in range(-1, 2):
                    if variance[r + j, c + i] > 0:
                        total += sign * data[r + j, c + i]
                        noise += variance[r + j, c + i]
            if noise <= 0:
                continue
            significance = total / math.sqrt(noise)
            if significance > result[0]:
                result[0], result[1], result[2] = significance, c - half, r - half
            if -significance > result[3]:
                result[3], result[4], result[5] = -significance, c - half, r - half
    result[6] = opposite / max(counted, 1)
    result[7] = other_sum / max(own_sum + other_sum, 1e-9)
