"""What a convolution makes of masked pixels: fill them before, spread their flags after."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from ..images import Mask
from .row_bands import in_bands


def filled_image(
    image: NDArray[np.float32], mask: NDArray[np.int32], planes: int, keep: int
) -> NDArray[np.float32]:
    """Copy an image with its unusable pixels replaced by the mean of their usable neighbours.

    Parameters
    ----------
    image : `~numpy.ndarray` of float32, shape (height, width)
        May hold NaN, which counts as unusable.
    mask : `~numpy.ndarray` of int32, shape (height, width)
        Bits of `Mask`.
    planes : `int`
        Planes that make a pixel unusable.
    keep : `int`
        Planes whose pixels keep a finite value nevertheless (saturated cores: a hole
        in a bright star would ring farther than the clipped core does).

    Returns
    -------
    filled : `~numpy.ndarray` of float32, shape (height, width)
        Finite everywhere; 0 where nothing usable is within 3 pixels.
    """
    out = np.empty_like(image)
    in_bands(
        lambda start, stop: _fill(image, mask, np.int32(planes), np.int32(keep), out, start, stop),
        image.shape[0],
    )
    return out


@numba.njit(cache=True, nogil=True)
def _fill(
    image: NDArray[np.float32],
    mask: NDArray[np.int32],
    planes: int,
    keep: int,
    out: NDArray[np.float32],
    start: int,
    stop: int,
) -> None:
    height, width = image.shape
    for row in range(start, stop):
        for column in range(width):
            value = image[row, column]
            flags = mask[row, column]
            if np.isfinite(value) and (not (flags & planes) or (flags & keep)):
                out[row, column] = value
                continue
            out[row, column] = 0.0
            for reach in range(1, 4):
                total, count = 0.0, 0
                for j in range(max(row - reach, 0), min(row + reach + 1, height)):
                    for i in range(max(column - reach, 0), min(column + reach + 1, width)):
                        neighbour = image[j, i]
                        if not (mask[j, i] & planes) and np.isfinite(neighbour):
                            total += neighbour
                            count += 1
                if count >= 2:
                    out[row, column] = total / count
                    break


def combined_mask(science: NDArray[np.int32], template: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the planes that a difference inherits, shape (height, width).

    The science image's but its detections; of the template, what makes it unusable
    (``SAT`` as ``SAT_TEMPLATE``) and where sources were injected.
    """
    out = np.empty_like(science)
    detected = int(Mask.DETECTED | Mask.DETECTED_NEGATIVE)
    planes = (np.int32(~detected), np.int32(int(Mask.NO_DATA | Mask.BAD | Mask.INJECTED_TEMPLATE)))
    saturated = np.int32(int(Mask.SAT)), np.int32(int(Mask.SAT_TEMPLATE))
    in_bands(
        lambda start, stop: _combine(science, template, *planes, *saturated, out, start, stop),
        science.shape[0],
    )
    return out


@numba.njit(cache=True, nogil=True)
def _combine(
    science: NDArray[np.int32],
    template: NDArray[np.int32],
    kept: int,
    lost: int,
    saturated: int,
    saturated_template: int,
    out: NDArray[np.int32],
    start: int,
    stop: int,
) -> None:
    for row in range(start, stop):
        for column in range(science.shape[1]):
            flags = template[row, column]
            value = (science[row, column] & kept) | (flags & lost)
            if flags & saturated:
                value |= saturated_template
            out[row, column] = value


def spread_plane(mask: NDArray[np.int32], planes: int, new: int, radius: int) -> None:
    """Set planes within a radius (pixels) of where others are set, in place.

    Parameters
    ----------
    mask : `~numpy.ndarray` of int32, shape (height, width)
        Changed in place.
    planes : `int`
        Where any of these is set ...
    new : `int`
        ... these are set around it.
    radius : `int`
        Of the disc, pixels.
    """
    seeds = np.empty(mask.shape, np.uint8)
    wanted = np.int32(planes)
    in_bands(lambda start, stop: _find(mask, wanted, seeds, start, stop), mask.shape[0])
    _paint(seeds, mask, np.int32(new), radius)


@numba.njit(cache=True, nogil=True)
def _find(mask: NDArray[np.int32], planes: int, seeds: NDArray[np.uint8], start: int, stop: int) -> None:
    for row in range(start, stop):
        for column in range(mask.shape[1]):
            seeds[row, column] = (mask[row, column] & planes) != 0


@numba.njit(cache=True, nogil=True)
def _paint(seeds: NDArray[np.uint8], mask: NDArray[np.int32], new: int, radius: int) -> None:
    """Draw a disc at every seed on the border of its region, a single pixel inside."""
    height, width = mask.shape
    reach = np.empty(2 * radius + 1, np.int64)
    for j in range(-radius, radius + 1):
        reach[j + radius] = int(np.sqrt((radius + 0.3) ** 2 - j * j))
    for row in range(height):
        for column in range(width):
            if not seeds[row, column]:
                continue
            mask[row, column] |= new
            inner = (
                0 < row < height - 1
                and 0 < column < width - 1
                and seeds[row - 1, column]
                and seeds[row + 1, column]
                and seeds[row, column - 1]
                and seeds[row, column + 1]
            )
            if inner:
                continue
            for j in range(max(row - radius, 0), min(row + radius + 1, height)):
                span = reach[j - row + radius]
                for i in range(max(column - span, 0), min(column + span + 1, width)):
                    mask[j, i] |= new


def spread_holes(mask: NDArray[np.int32], hole: int, new: int, radius: int, rim: int = 2) -> None:
    """Set a plane around holes, in place: far around wide ones, little around narrow ones.

    Parameters
    ----------
    mask : `~numpy.ndarray` of int32, shape (height, width)
        Changed in place.
    hole, new : `int`
        Plane of the holes, and the one to set.
    radius : `int`
        Around holes in which a square of 5 x 5 pixels has room: nothing is known there, and the kernel
        carries that as far as it reaches; pixels.
    rim : `int`
        Around all others, which `filled_image` fills from their sides; pixels.
    """
    wide, narrow = np.zeros(mask.shape, np.uint8), np.zeros(mask.shape, np.uint8)
    in_bands(lambda start, stop: _find_wide(mask, np.int32(hole), wide, narrow, start, stop), mask.shape[0])
    # The middle of a hole is 2 pixels from its rim.
    _paint(wide, mask, np.int32(new), radius + 2)
    _paint(narrow, mask, np.int32(new), rim)


@numba.njit(cache=True, nogil=True)
def _find_wide(
    mask: NDArray[np.int32],
    hole: int,
    wide: NDArray[np.uint8],
    narrow: NDArray[np.uint8],
    start: int,
    stop: int,
) -> None:
    height, width = mask.shape
    for row in range(start, stop):
        for column in range(width):
            if not mask[row, column] & hole:
                continue
            narrow[row, column] = 1
            whole = True
            for j in range(max(row - 2, 0), min(row + 3, height)):
                for i in range(max(column - 2, 0), min(column + 3, width)):
                    if not mask[j, i] & hole:
                        whole = False
            if whole:
                wide[row, column] = 1


def flag_bright_surroundings(
    mask: NDArray[np.int32],
    seeds: int,
    new: int,
    brightness: NDArray[np.float32],
    threshold: float,
    radius: int,
) -> int:
    """Grow saturated regions over all connected pixels brighter than a threshold, then by a radius.

    Parameters
    ----------
    mask : `~numpy.ndarray` of int32, shape (height, width)
        Changed in place.
    seeds : `int`
        Planes to start from.
    new : `int`
        Planes to set.
    brightness : `~numpy.ndarray` of float32, shape (height, width)
        The star's own light: the image in which it is saturated.
    threshold : `float`
        In the unit of ``brightness``. No kernel fits the wings of a saturated
        star better than some fraction, so what counts is its light, not the
        distance from its core.
    radius : `int`
        Added all around, pixels.

    Returns
    -------
    pixels : `int`
        Number of pixels reached before adding the radius.
    """
    region = np.zeros(mask.shape, np.uint8)
    count = int(_flood(mask, np.int32(seeds), brightness, threshold, region))
    if count:
        _paint(region, mask, np.int32(new), radius)
    return count


@numba.njit(cache=True, nogil=True)
def _flood(
    mask: NDArray[np.int32],
    seeds: int,
    brightness: NDArray[np.float32],
    threshold: float,
    region: NDArray[np.uint8],
) -> int:
    height, width = mask.shape
    stack = [np.int64(0)]
    stack.pop()
    count = 0
    for row in range(height):
        for column in range(width):
            if (mask[row, column] & seeds) and not region[row, column]:
                region[row, column] = 1
                stack.append(np.int64(row) * width + column)
            while len(stack) > 0:
                position = stack.pop()
                count += 1
                j, i = position // width, position % width
                for step in range(4):
                    jj = j + (step == 0) - (step == 1)
                    ii = i + (step == 2) - (step == 3)
                    if jj < 0 or jj >= height or ii < 0 or ii >= width or region[jj, ii]:
                        continue
                    if brightness[jj, ii] > threshold or (mask[jj, ii] & seeds):
                        region[jj, ii] = 1
                        stack.append(jj * width + ii)
    return count
