"""Parts of images at the resolution that a screen needs, with a cache of limited size."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from prompt_processing.images.layout.sections import ImageSections
from prompt_processing.telemetry.handover import in_this_context

__all__ = ["ArrayCache", "Region", "Tile", "TiledImage"]

_BAND_ROWS = 128
_COARSE = 4
"""From this binning on, a tile is cut from a binned copy of the whole image."""
_THREADS = 2


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of pixels; the first pixel's centre is (0, 0), as in the catalogues."""

    x_min: float
    x_max: float
    y_min: float
    y_max: float

    def padded(self, fraction: float) -> Region:
        """Return the region with a margin, as a fraction of its size, on each side."""
        x, y = fraction * (self.x_max - self.x_min), fraction * (self.y_max - self.y_min)
        return Region(self.x_min - x, self.x_max + x, self.y_min - y, self.y_max + y)


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """Part of an image.

    Attributes
    ----------
    values : `~numpy.ndarray`, shape (rows, columns)
        Mean of ``binning`` times ``binning`` pixels; of a mask, their bits.
    x, y : `float`
        Edge of the first pixel.
    width, height : `float`
        Size in pixels of the image.
    binning : `int`
        Pixels of the image per pixel of the tile, in each direction.
    """

    values: NDArray[Any]
    x: float
    y: float
    width: float
    height: float
    binning: int


class ArrayCache:
    """The arrays that were used last, up to a number of bytes; threads may share it.

    Parameters
    ----------
    limit
        Bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._arrays: OrderedDict[Hashable, NDArray[Any]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Bytes now."""
        return self._size

    def get(self, key: Hashable, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Return an array, made if it is absent."""
        with self._lock:
            if (found := self._arrays.get(key)) is not None:
                self._arrays.move_to_end(key)
                return found
        made = make()
        with self._lock:
            if key not in self._arrays:
                self._arrays[key] = made
                self._size += made.nbytes
            while self._size > self._limit and len(self._arrays) > 1:
                _, dropped = self._arrays.popitem(last=False)
                self._size -= dropped.nbytes
        return made


class TiledImage:
    """One image file, whose planes are read in tiles.

    Parameters
    ----------
    name
        What identifies the file in the cache, such as its URI and time.
    sections
        The file.
    cache
        Shared cache.
    """

    def __init__(self, name: Hashable, sections: ImageSections, cache: ArrayCache) -> None:
        self.name = name
        self.sections = sections
        self._cache = cache

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.sections.shape

    def tile(self, region: Region, most: int, plane: str = "IMAGE") -> Tile:
        """Read a region.

        Parameters
        ----------
        region
            Any; what is outside the image is left out.
        most
            Largest number of rows and columns of the tile.
        plane
            Plane of the file.

        Raises
        ------
        OSError
            Raised if the file cannot be read.
        """
        height, width = self.shape
        x0, x1 = _inside(region.x_min, region.x_max, width)
        y0, y1 = _inside(region.y_min, region.y_max, height)
        binning = 1
        while max(x1 - x0, y1 - y0) > most * binning:
            binning *= 2
        # Whole bins, so that neighbouring tiles match.
        x0, y0 = x0 // binning * binning, y0 // binning * binning
        x1, y1 = min(-(-x1 // binning) * binning, width), min(-(-y1 // binning) * binning, height)
        if binning >= _COARSE:
            copy = self._binned(plane, binning)
            values = copy[y0 // binning : -(-y1 // binning), x0 // binning : -(-x1 // binning)]
        else:
            values = self.cut(plane, slice(y0, y1), slice(x0, x1))
            if binning > 1:
                values = binned(values, binning)
        rows, columns = values.shape
        # Bins at the upper edges may be cut; their tile is as large as the others.
        return Tile(values, x0 - 0.5, y0 - 0.5, columns * binning, rows * binning, binning)

    def cut(self, plane: str, rows: slice, columns: slice) -> NDArray[Any]:
        """Read pixels inside the image, in bands of rows that are kept for the next call."""
        first, last = rows.start // _BAND_ROWS, (max(rows.stop, rows.start + 1) - 1) // _BAND_ROWS
        bands = _in_threads(lambda number: self._band(plane, number), range(first, last + 1))
        start = first * _BAND_ROWS
        joined = bands[0] if len(bands) == 1 else np.concatenate([band[:, columns] for band in bands])
        if len(bands) == 1:
            joined = joined[:, columns]
        return joined[rows.start - start : rows.stop - start]

    def sample(self) -> NDArray[Any]:
        """Return about a million values of the image, for its stretch."""
        binning = _COARSE
        return self._binned("IMAGE", binning)

    def _band(self, plane: str, number: int) -> NDArray[Any]:
        height, width = self.shape
        rows = slice(number * _BAND_ROWS, min((number + 1) * _BAND_ROWS, height))
        return self._cache.get(
            (self.name, plane, number), lambda: self.sections.read(plane, rows, slice(0, width))
        )

    def _binned(self, plane: str, binning: int) -> NDArray[Any]:
        def make() -> NDArray[Any]:
            if binning > _COARSE:
                return binned(self._binned(plane, binning // 2), 2)
            height, width = self.shape
            # Bands are not kept: the whole image would push out everything else.
            bands = _in_threads(
                lambda start: binned(
                    self.sections.read(plane, slice(start, min(start + _BAND_ROWS, height)), slice(0, width)),
                    binning,
                ),
                range(0, height, _BAND_ROWS),
            )
            return np.concatenate(bands)

        return self._cache.get((self.name, plane, "binned", binning), make)


def binned(image: NDArray[Any], factor: int) -> NDArray[Any]:
    """Bin an image.

    Parameters
    ----------
    image : `~numpy.ndarray` of float32 or int32, shape (rows, columns)
    factor
        Pixels per bin in each direction; bins at the upper edges may have fewer.

    Returns
    -------
    binned : `~numpy.ndarray`
        Mean of the finite values, NaN where there are none; of integers, all bits of the bin.
    """
    rows, columns = image.shape
    shape = -(-rows // factor), -(-columns // factor)
    result: NDArray[Any]
    if image.dtype.kind == "f":
        result = np.empty(shape, np.float32)
        _bin_means(np.ascontiguousarray(image, np.float32), factor, result)
    else:
        result = np.zeros(shape, np.int32)
        _bin_bits(np.ascontiguousarray(image, np.int32), factor, result)
    return result


def _inside(low: float, high: float, size: int) -> tuple[int, int]:
    first = int(np.clip(np.floor(low + 0.5), 0, size - 1))
    last = int(np.clip(np.ceil(high + 0.5), first + 1, size))
    return first, last


def _in_threads[T](function: Callable[[int], T], numbers: range) -> list[T]:
    if len(numbers) == 1:
        return [function(numbers[0])]
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(in_this_context(function), numbers))


@numba.njit(cache=True, nogil=True)
def _bin_means(image, factor, result):  # type: ignore[no-untyped-def]
    rows, columns = image.shape
    for i in range(result.shape[0]):
        for j in range(result.shape[1]):
            total, count = 0.0, 0
            for y in range(i * factor, min((i + 1) * factor, rows)):
                for x in range(j * factor, min((j + 1) * factor, columns)):
                    value = image[y, x]
                    if np.isfinite(value):
                        total += value
                        count += 1
            result[i, j] = total / count if count else np.nan


@numba.njit(cache=True, nogil=True)
def _bin_bits(image, factor, result):  # type: ignore[no-untyped-def]
    rows, columns = image.shape
    for y in range(rows):
        for x in range(columns):
            result[y // factor, x // factor] |= image[y, x]
