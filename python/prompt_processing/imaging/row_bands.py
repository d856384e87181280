"""Share the rows of an image among threads."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from prompt_processing.domain.planes import new_plane
from prompt_processing.images import Background
from prompt_processing.telemetry.handover import in_this_context

ROWS = 256
"""Rows of a background interpolated at once: few enough to stay in a core's cache."""


def available_cores(limit: int = 8) -> int:
    """Return how many cores this process may run on, at most ``limit``."""
    return max(1, min(len(os.sched_getaffinity(0)), limit))


def in_bands(function: Callable[[int, int], None], length: int, threads: int | None = None) -> None:
    """Call ``function(start, stop)`` on consecutive parts of ``range(length)``, in threads.

    Parameters
    ----------
    function : callable
        Function that writes only to its own part. It must release the interpreter
        lock to benefit from threads (``numba`` with ``nogil=True``).
    length : `int`
        Total number of rows, or items.
    threads : `int`, optional
        Number of threads; by default one per core available to this process.

    Notes
    -----
    These threads replace numba's, whose pools do not survive the fork of a
    server's workers and break when two threads enter at once.
    """
    threads = min(threads or available_cores(), max(length, 1))
    if threads == 1:
        function(0, length)
        return
    edges = [length * i // threads for i in range(threads + 1)]
    # The caller's thread takes a part as well: to start a thread costs as much as 100 000 pixels.
    with ThreadPoolExecutor(threads - 1) as pool:
        others = [pool.submit(in_this_context(function), start, stop) for start, stop in pairwise(edges[1:])]
        function(edges[0], edges[1])
    for other in others:
        other.result()


def copy_plane(plane: NDArray[Any]) -> NDArray[Any]:
    """Copy an image plane, shape (height, width), in threads: touching new memory dominates the time."""
    out = new_plane(plane.shape, plane.dtype)

    def copy(start: int, stop: int) -> None:
        out[start:stop] = plane[start:stop]

    in_bands(copy, plane.shape[0])
    return out


def scale_plane(plane: NDArray[np.float32], factor: float) -> None:
    """Multiply an image plane, shape (height, width), in place and in threads."""

    def multiply(start: int, stop: int) -> None:
        plane[start:stop] *= np.float32(factor)

    in_bands(multiply, plane.shape[0])


def background_plane(background: Background) -> NDArray[np.float32]:
    """Return the result of `Background.image`, computed in threads."""
    out = new_plane(background.shape, np.float32)

    rows = background.by_rows()

    def interpolate(start: int, stop: int) -> None:
        for first in range(start, stop, ROWS):
            last = min(first + ROWS, stop)
            out[first:last] = rows(first, last)

    in_bands(interpolate, background.shape[0])
    return out


def subtract_background(image: NDArray[np.float32], background: Background) -> None:
    """Subtract a background from an image of its shape, in place and in threads."""
    rows = background.by_rows()

    def subtract(start: int, stop: int) -> None:
        for first in range(start, stop, ROWS):
            last = min(first + ROWS, stop)
            image[first:last] -= rows(first, last)

    in_bands(subtract, image.shape[0])


def pixels_with(mask: NDArray[np.int32], some: int, none: int = 0) -> NDArray[np.bool_]:
    """Find pixels by their mask, in threads.

    Parameters
    ----------
    mask : `~numpy.ndarray` of int32, shape (height, width)
        Bits of `~prompt_processing.images.Mask`.
    some : `int`
        Planes of which at least one is set.
    none : `int`, optional
        Planes of which none is set.

    Returns
    -------
    pixels : `~numpy.ndarray` of bool, shape (height, width)
        Pixels that meet both conditions.
    """
    out = new_plane(mask.shape, np.bool_)
    planes = np.int32(some), np.int32(none)
    in_bands(lambda start, stop: _find(mask, *planes, out, start, stop), mask.shape[0])
    return out


@numba.njit(cache=True, nogil=True)
def _find(mask, some, none, out, start, stop):  # type: ignore[no-untyped-def]
    for y in range(start, stop):
        for x in range(mask.shape[1]):
            out[y, x] = ((mask[y, x] & some) != 0) & ((mask[y, x] & none) == 0)
