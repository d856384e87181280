"""Compress images as FITS tiles, one row a tile, with all cores.

CFITSIO takes three to four times the processor time, on one core (``benchmarks/image_writers.py``).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numba
import numpy as np
from numpy.typing import NDArray

from prompt_processing.telemetry.handover import in_this_context

__all__ = ["ZBLANK", "CompressedTiles", "compress_floats", "compress_integers", "dither_numbers"]

_BLOCK = 32
_MAX_LOW_BITS = 25
ZBLANK = -2147483647
"""Integer that stands for NaN in quantised images, as in CFITSIO."""

_ZERO = -2147483646
_LARGEST = 2147483000.0
_N_RANDOM = 10000
_BAND_ROWS = 128


class CompressedTiles:
    """The tiles of an image, in order.

    Attributes
    ----------
    heap : `bytes`
        Compressed bytes of all tiles.
    sizes : `~numpy.ndarray` of int64, shape (rows,)
        Number of bytes of each tile.
    scales : `~numpy.ndarray` of float64, shape (rows,), or `None`
        Quantisation step of each tile; `None` for integers.
    """

    def __init__(self, heap: bytes, sizes: NDArray[np.int64], scales: NDArray[np.float64] | None) -> None:
        self.heap = heap
        self.sizes = sizes
        self.scales = scales

    def table(self) -> bytes:
        """Return the rows of the FITS table that refer to the heap."""
        starts = np.concatenate([[0], np.cumsum(self.sizes)[:-1]])
        names = [("size", ">i4"), ("start", ">i4")]
        if self.scales is not None:
            names += [("scale", ">f8"), ("zero", ">f8")]
        table = np.zeros(len(self.sizes), names)
        table["size"], table["start"] = self.sizes, starts
        if self.scales is not None:
            table["scale"] = self.scales
        return table.tobytes()


def compress_floats(image: NDArray[np.float32], step: float, dither_seed: int) -> CompressedTiles:
    """Quantise with subtractive dither, and compress by Rice's method.

    Parameters
    ----------
    image : `~numpy.ndarray` of float32, shape (height, width)
        Infinite values become NaN.
    step
        Quantisation step, in the unit of the image; larger in rows whose range would need more than 32 bits.
    dither_seed
        From 1 to 10000.

    Notes
    -----
    SUBTRACTIVE_DITHER_2 of the FITS standard 4.0, section 10.2, in which zeros stay zeros.
    """
    image = np.ascontiguousarray(image, np.float32)
    scales = np.full(image.shape[0], step)
    randoms = dither_numbers()

    def compress(first: int) -> tuple[bytes, NDArray[np.int64]]:
        band = image[first : first + _BAND_ROWS]
        heap, sizes = _room(band.shape)
        end = _encode_floats(
            band, scales[first : first + _BAND_ROWS], randoms, first + dither_seed - 1, heap, sizes
        )
        return heap[:end].tobytes(), sizes

    return _in_bands(compress, image.shape[0], scales)


def compress_integers(image: NDArray[np.int32]) -> CompressedTiles:
    """Compress 32-bit integers by Rice's method; shape (height, width)."""
    image = np.ascontiguousarray(image, np.int32)

    def compress(first: int) -> tuple[bytes, NDArray[np.int64]]:
        band = image[first : first + _BAND_ROWS]
        heap, sizes = _room(band.shape)
        end = _encode_integers(band, heap, sizes)
        return heap[:end].tobytes(), sizes

    return _in_bands(compress, image.shape[0], None)


def _in_bands(
    compress: Callable[[int], tuple[bytes, NDArray[np.int64]]],
    n_rows: int,
    scales: NDArray[np.float64] | None,
) -> CompressedTiles:
    with ThreadPoolExecutor(max(1, min(len(os.sched_getaffinity(0)), 8))) as pool:
        bands = list(pool.map(in_this_context(compress), range(0, n_rows, _BAND_ROWS)))
    heap = b"".join(band for band, _ in bands)
    return CompressedTiles(heap, np.concatenate([sizes for _, sizes in bands]), scales)


def _room(shape: tuple[int, ...]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    rows, columns = shape
    # At worst, each block has 5 bits more than its pixels, and the last word is not full.
    longest = 4 * columns + columns // 8 + 64
    return np.empty(rows * longest, np.uint8), np.empty(rows, np.int64)


@cache
def dither_numbers() -> NDArray[np.float32]:
    """Return the random numbers that the FITS standard prescribes (appendix I)."""
    values = np.empty(_N_RANDOM, np.float32)
    seed = 1.0
    for i in range(_N_RANDOM):
        product = 16807.0 * seed
        seed = product - 2147483647.0 * int(product / 2147483647.0)
        values[i] = seed / 2147483647.0
    return values


@numba.njit(cache=True, nogil=True)
def _encode_row(values, heap, start):  # type: ignore[no-untyped-def]
    """Write the compressed row from ``heap[start]`` on; return the index after its last byte."""
    n = values.shape[0]
    folded = np.empty(_BLOCK, np.uint32)
    bits = np.uint64(np.uint32(values[0]))
    have = 32
    last = values[0]
    for first in range(0, n, _BLOCK):
        count = min(_BLOCK, n - first)
        total = np.uint64(0)
        for i in range(count):
            value = values[first + i]
            difference = np.int32(value - last)
            last = value
            positive = np.uint32(np.uint32(difference) << np.uint32(1)) ^ np.uint32(
                difference >> np.int32(31)
            )
            folded[i] = positive
            total += np.uint64(positive)
        low = 0
        if total > 0:
            mean = (np.float64(total) - count // 2 - 1) / count
            rest = np.uint64(max(mean, 0.0)) >> np.uint64(1)
            while rest > 0:
                low, rest = low + 1, rest >> np.uint64(1)
        while have >= 32:
            have -= 32
            start = _put(heap, start, bits >> np.uint64(have))
        if total == 0:
            bits, have = bits << np.uint64(5), have + 5
            continue
        if low >= _MAX_LOW_BITS:
            bits, have = (bits << np.uint64(5)) | np.uint64(_MAX_LOW_BITS + 1), have + 5
            for i in range(count):
                while have >= 32:
                    have -= 32
                    start = _put(heap, start, bits >> np.uint64(have))
                bits, have = (bits << np.uint64(32)) | np.uint64(folded[i]), have + 32
            continue
        bits, have = (bits << np.uint64(5)) | np.uint64(low + 1), have + 5
        one = np.uint64(1) << np.uint64(low)
        for i in range(count):
            if have >= 32:
                have -= 32
                start = _put(heap, start, bits >> np.uint64(have))
            zeros = np.int64(folded[i] >> np.uint32(low))
            rest = one | (np.uint64(folded[i]) & (one - np.uint64(1)))
            length = zeros + 1 + low
            while length > 32:
                # A long count of zeros: in words of its own.
                part = zeros if zeros < 32 else np.int64(32)
                bits, have = bits << np.uint64(part), have + part  # type: ignore[assignment]
                zeros, length = zeros - part, length - part
                if have >= 32:
                    have -= 32
                    start = _put(heap, start, bits >> np.uint64(have))
            bits, have = (bits << np.uint64(length)) | rest, have + length  # type: ignore[assignment]
    while have >= 32:
        have -= 32
        start = _put(heap, start, bits >> np.uint64(have))
    if have > 0:
        word = np.uint32((bits << np.uint64(32 - have)) & np.uint64(0xFFFFFFFF))
        for shift in range(24, 24 - have, -8):
            heap[start] = np.uint8((word >> np.uint32(shift)) & np.uint32(0xFF))
            start += 1
    return start


@numba.njit(cache=True, nogil=True, inline="always")
def _put(heap, start, word):  # type: ignore[no-untyped-def]
    heap[start] = np.uint8((word >> np.uint64(24)) & np.uint64(0xFF))
    heap[start + 1] = np.uint8((word >> np.uint64(16)) & np.uint64(0xFF))
    heap[start + 2] = np.uint8((word >> np.uint64(8)) & np.uint64(0xFF))
    heap[start + 3] = np.uint8(word & np.uint64(0xFF))
    return start + 4


@numba.njit(cache=True, nogil=True)
def _encode_integers(image, heap, sizes):  # type: ignore[no-untyped-def]
    end = 0
    for row in range(image.shape[0]):
        start = end
        end = _encode_row(image[row], heap, start)
        sizes[row] = end - start
    return end


@numba.njit(cache=True, nogil=True)
def _encode_floats(image, scales, randoms, first_seed, heap, sizes):  # type: ignore[no-untyped-def]
    columns = image.shape[1]
    values = np.empty(columns, np.int32)
    end = 0
    for row in range(image.shape[0]):
        largest = np.float32(0.0)
        for column in range(columns):
            value = abs(image[row, column])
            if value > largest and value < np.inf:
                largest = value
        if largest / scales[row] > _LARGEST:
            scales[row] = largest / _LARGEST
        inverse = 1.0 / scales[row]
        seed = (first_seed + row) % _N_RANDOM
        random = np.int64(randoms[seed] * 500)
        for column in range(columns):
            value = image[row, column]
            if value == 0:
                values[column] = _ZERO
            elif abs(value) < np.inf:
                scaled = np.float64(value) * inverse + np.float64(randoms[random]) - 0.5
                values[column] = np.int32(np.floor(scaled + 0.5))
            else:
                values[column] = ZBLANK
            random += 1
            if random == _N_RANDOM:
                seed = (seed + 1) % _N_RANDOM
                random = np.int64(randoms[seed] * 500)
        start = end
        end = _encode_row(values, heap, start)
        sizes[row] = end - start
    return end
