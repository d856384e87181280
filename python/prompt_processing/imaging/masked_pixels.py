"""Handle masked pixels in convolutions: fill them before, spread their flags after."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from prompt_processing.domain.planes import new_plane
from prompt_processing.images import Mask

from .row_bands import in_bands

CHUNK = 64
"""Number of pixels of a row searched at once for holes."""


def filled_image(
    image: NDArray[np.float32], mask: NDArray[np.int32], planes: int, keep: int
) -> NDArray[np.float32]:
    """Copy an image with its unusable pixels replaced by the mean of their usable neighbours.

    Parameters
    ----------
    image : `~numpy.ndarray` of float32, shape (height, width)
        Image; NaN counts as unusable.
    mask : `~numpy.ndarray` of int32, shape (height, width)
        Bits of `Mask`.
    planes : `int`
        Planes that make a pixel unusable.
    keep : `int`
        Planes whose pixels still keep a finite value (saturated cores: a hole
        in a bright star would ring farther than the clipped core does).

    Returns
    -------
    filled : `~numpy.ndarray` of float32, shape (height, width)
        Filled image, finite everywhere; 0 where no usable pixel is within 3 pixels.
    """
    out = new_plane(image.shape, np.float32)
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
        for first in range(0, width, CHUNK):
            last = min(first + CHUNK, width)
            values, flags, filled = image[row, first:last], mask[row, first:last], out[row, first:last]
            # Most have no hole. A loop without branches that counts in as many bits as it reads is
            # vectorised over many pixels.
            holes = np.int32(0)
            for k in range(last - first):
                hole = ((flags[k] & planes) != 0) & ((flags[k] & keep) == 0)
                hole |= not abs(values[k]) < np.float32(np.inf)
                filled[k] = np.float32(0) if hole else values[k]
                holes += np.int32(1) if hole else np.int32(0)
            if not holes:
                continue
            for column in range(first, last):
                kept = not (mask[row, column] & planes) or (mask[row, column] & keep)
                if np.isfinite(image[row, column]) and kept:
                    continue
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

    All planes of the science image except its detections; of the template, those that make it
    unusable (``SAT`` as ``SAT_TEMPLATE``) and those of injected sources.
    """
    out = new_plane(science.shape, np.int32)
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
    """Set planes, in place, within a radius (pixels) of pixels with others.

    Parameters
    ----------
    mask : `~numpy.ndarray` of int32, shape (height, width)
        Changed in place.
    planes : `int`
        Planes to spread from ...
    new : `int`
        ... and planes to set around them.
    radius : `int`
        Radius of the disc, pixels.
    """
    # Seeds are few, and memory that is never written costs nothing.
    seeds = np.zeros(mask.shape, np.uint8)
    positions = _seeds(mask, planes, seeds)
    _paint(positions, seeds, mask, np.int32(new), radius)


def _seeds(mask: NDArray[np.int32], planes: int, seeds: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Set ``seeds`` where any of the planes is set, and return those positions in the flat image."""
    wanted = np.int32(planes)
    found: list[NDArray[np.int64]] = []
    in_bands(
        lambda start, stop: found.append(_find(mask, wanted, seeds, start, stop)),
        mask.shape[0],
    )
    return np.concatenate(found)


@numba.njit(cache=True, nogil=True)
def _find(
    mask: NDArray[np.int32], planes: int, seeds: NDArray[np.uint8], start: int, stop: int
) -> NDArray[np.int64]:
    width = mask.shape[1]
    flat, begin, end = mask.reshape(-1), start * width, stop * width
    # Flags are rare: chunks are tested many pixels at once, and only those with flags are searched.
    chunks = np.empty(-(-(end - begin) // CHUNK), np.int64)
    n_chunks = count = 0
    for first in range(begin, end, CHUNK):
        flags = flat[first : min(first + CHUNK, end)]
        found = np.int32(0)
        for k in range(len(flags)):
            found += np.int32(1) if flags[k] & planes else np.int32(0)
        if found:
            chunks[n_chunks] = first
            n_chunks += 1
            count += int(found)
    positions, flat_seeds = np.empty(count, np.int64), seeds.reshape(-1)
    count = 0
    for first in chunks[:n_chunks]:
        for position in range(first, min(first + CHUNK, end)):
            if flat[position] & planes:
                flat_seeds[position] = 1
                positions[count] = position
                count += 1
    return positions


@numba.njit(cache=True, nogil=True)
def _paint(
    positions: NDArray[np.int64], seeds: NDArray[np.uint8], mask: NDArray[np.int32], new: int, radius: int
) -> None:
    """Draw a disc at every seed on the border of its region, a single pixel inside."""
    height, width = mask.shape
    reach = np.empty(2 * radius + 1, np.int64)
    for j in range(-radius, radius + 1):
        reach[j + radius] = int(np.sqrt((radius + 0.3) ** 2 - j * j))
    for position in positions:
        row, column = position // width, position % width
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
        Radius around holes that contain a square of 5 x 5 pixels, pixels: the values there are unknown,
        and the kernel spreads them as far as it reaches.
    rim : `int`
        Radius around all other holes, which `filled_image` fills from their sides, pixels.
    """
    wide, narrow = np.zeros(mask.shape, np.uint8), np.zeros(mask.shape, np.uint8)
    positions = _seeds(mask, hole, narrow)
    middles = positions[_find_wide(positions, narrow, wide)]
    # The middle of a hole is 2 pixels from its rim.
    _paint(middles, wide, mask, np.int32(new), radius + 2)
    _paint(positions, narrow, mask, np.int32(new), rim)


@numba.njit(cache=True, nogil=True)
def _find_wide(
    positions: NDArray[np.int64], holes: NDArray[np.uint8], wide: NDArray[np.uint8]
) -> NDArray[np.bool_]:
    """Find pixels of holes that are surrounded by holes only, and set ``wide`` there."""
    height, width = holes.shape
    found = np.zeros(len(positions), np.bool_)
    for k in range(len(positions)):
        row, column = positions[k] // width, positions[k] % width
        whole = True
        for j in range(max(row - 2, 0), min(row + 3, height)):
            for i in range(max(column - 2, 0), min(column + 3, width)):
                if not holes[j, i]:
                    whole = False
        if whole:
            wide[row, column] = 1
            found[k] = True
    return found


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
        The image in which the star is saturated, as a measure of the star's light.
    threshold : `float`
        Threshold in the unit of ``brightness``. A kernel fits a saturated star's
        wings only to some fraction of their light, so the limit is one of
        light, not of distance from the core.
    radius : `int`
        Radius added on all sides, pixels.

    Returns
    -------
    pixels : `int`
        Number of pixels reached before adding the radius.
    """
    region = np.zeros(mask.shape, np.uint8)
    reached = _flood(_seeds(mask, seeds, region), np.int32(seeds), mask, brightness, threshold, region)
    _paint(reached, region, mask, np.int32(new), radius)
    return len(reached)


@numba.njit(cache=True, nogil=True)
def _flood(
    positions: NDArray[np.int64],
    seeds: int,
    mask: NDArray[np.int32],
    brightness: NDArray[np.float32],
    threshold: float,
    region: NDArray[np.uint8],
) -> NDArray[np.int64]:
    """Grow a region from its pixels; return the positions of all its pixels."""
    height, width = mask.shape
    found = list(positions)
    done = 0
    while done < len(found):
        j, i = found[done] // width, found[done] % width
        done += 1
        for step in range(4):
            jj = j + (step == 0) - (step == 1)
            ii = i + (step == 2) - (step == 3)
            if jj < 0 or jj >= height or ii < 0 or ii >= width or region[jj, ii]:
                continue
            if brightness[jj, ii] > threshold or (mask[jj, ii] & seeds):
                region[jj, ii] = 1
                found.append(jj * width + ii)
    return np.array(found)


def blank(mask: NDArray[np.int32], plane: int, *images: NDArray[np.float32]) -> None:
    """Set images to NaN, in place, where a plane of the mask is set."""
    for image in images:
        in_bands(
            lambda start, stop, image=image: _blank(mask, np.int32(plane), image, start, stop),  # type: ignore[misc]
            mask.shape[0],
        )


@numba.njit(cache=True, nogil=True)
def _blank(mask: NDArray[np.int32], plane: int, image: NDArray[np.float32], start: int, stop: int) -> None:
    for row in range(start, stop):
        for column in range(mask.shape[1]):
            if mask[row, column] & plane:
                image[row, column] = np.nan
