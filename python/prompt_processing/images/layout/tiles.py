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

from prompt_processing.instruments.rice_bits import leading_zeros, reversed_bytes
from prompt_processing.telemetry.handover import in_this_context

__all__ = ["ZBLANK", "CompressedTiles", "compress_floats", "compress_integers", "dither_numbers"]

_BLOCK = 32
_EIGHTS = _BLOCK // 8
_LONG_LOW_BITS = np.uint64(14)
"""With as many, four codes do not fit into 64 bits."""
_MAX_LOW_BITS = np.uint64(25)
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
    bands : `list` [`bytes`]
        Compressed bytes of all tiles, in order.
    sizes : `~numpy.ndarray` of int64, shape (rows,)
        Number of bytes of each tile.
    scales : `~numpy.ndarray` of float64, shape (rows,), or `None`
        Quantisation step of each tile; `None` for integers.
    """

    def __init__(
        self, bands: list[bytes], sizes: NDArray[np.int64], scales: NDArray[np.float64] | None
    ) -> None:
        self.bands = bands
        self.sizes = sizes
        self.scales = scales

    @property
    def size(self) -> int:
        """Number of compressed bytes."""
        return int(self.sizes.sum())

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
    return CompressedTiles([band for band, _ in bands], np.concatenate([sizes for _, sizes in bands]), scales)


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
def _encode_row(values, folded, words):  # type: ignore[no-untyped-def]
    """Write the compressed row to ``words``; return the number of its bytes. ``folded`` is for use here."""
    _fold(values, folded)
    twos, of_twos = np.empty(_BLOCK // 2, np.uint64), np.empty(_BLOCK // 2, np.uint64)
    fours, of_fours = np.empty(_BLOCK // 4, np.uint64), np.empty(_BLOCK // 4, np.uint64)
    eights, of_eights = np.empty(_EIGHTS, np.uint64), np.empty(_EIGHTS, np.uint64)
    word, bits, have = 0, np.uint64(0), np.uint64(0)
    word, bits, have = _append(words, word, bits, have, np.uint64(np.uint32(values[0])), np.uint64(32))
    for first in range(0, values.shape[0], _BLOCK):
        block = folded[first : min(first + _BLOCK, values.shape[0])]
        count = block.shape[0]
        total = np.uint64(0)
        for i in range(count):
            total += np.uint64(block[i])
        if total == np.uint64(0):
            word, bits, have = _append(words, word, bits, have, np.uint64(0), np.uint64(5))
            continue
        mean = (np.float64(total) - count // 2 - 1) / count
        low = np.uint64(64) - leading_zeros(np.uint64(max(mean, 0.0)) >> np.uint64(1))
        if low >= _MAX_LOW_BITS:
            code = _MAX_LOW_BITS + np.uint64(1)
            word, bits, have = _append(words, word, bits, have, code, np.uint64(5))
            for i in range(count):
                code = np.uint64(block[i])
                word, bits, have = _append(words, word, bits, have, code, np.uint64(32))
            continue
        word, bits, have = _append(words, word, bits, have, low + np.uint64(1), np.uint64(5))
        if count == _BLOCK and low < _LONG_LOW_BITS:
            longest_four, longest_eight = _join(block, low, twos, of_twos, fours, of_fours, eights, of_eights)
            if longest_eight < np.uint64(64):
                for i in range(_EIGHTS):
                    word, bits, have = _append(words, word, bits, have, eights[i], of_eights[i])
                continue
            if longest_four < np.uint64(64):
                for i in range(2 * _EIGHTS):
                    word, bits, have = _append(words, word, bits, have, fours[i], of_fours[i])
                continue
        one = np.uint64(1) << low
        rest = one - np.uint64(1)
        i = 0
        while i < count:
            value = np.uint64(block[i])
            code, length = one | (value & rest), (value >> low) + np.uint64(1) + low
            i += 1
            # Each addition waits for the one before: two or three codes together take half the time.
            together = 1
            while i < count and together < 3:
                another = np.uint64(block[i])
                its_length = (another >> low) + np.uint64(1) + low
                if length + its_length > np.uint64(63):
                    break
                code, length = (code << its_length) | one | (another & rest), length + its_length
                i += 1
                together += 1
            if length > np.uint64(63):
                # A long count of zeros: in parts of its own.
                zeros = value >> low
                while zeros > np.uint64(30):
                    word, bits, have = _append(words, word, bits, have, np.uint64(0), np.uint64(30))
                    zeros -= np.uint64(30)
                length = zeros + np.uint64(1) + low
            word, bits, have = _append(words, word, bits, have, code, length)
    words[word] = reversed_bytes(bits)
    return 8 * word + np.int64((have + np.uint64(7)) >> np.uint64(3))


@numba.njit(cache=True, nogil=True, inline="always")
def _append(words, word, bits, have, code, length):  # type: ignore[no-untyped-def]
    """Append 1 to 63 bits; return the index of the unfinished word, its bits and their number.

    Without branches, which could not be predicted.
    """
    first = code << (np.uint64(64) - length)
    bits |= first >> have
    words[word] = reversed_bytes(bits)
    total = have + length
    full = total >> np.uint64(6)
    # If the word is full, it had at least one bit before: the shift is less than 64.
    over = first << ((np.uint64(64) - have) & np.uint64(63))
    return word + np.int64(full), over if full else bits, total & np.uint64(63)


@numba.njit(cache=True, nogil=True)
def _join(block, low, twos, of_twos, fours, of_fours, eights, of_eights):  # type: ignore[no-untyped-def]
    """Join the codes of four and of eight pixels; return their largest numbers of bits.

    Codes of more than 64 bits are wrong. Written so that the processor joins several codes at once.
    """
    one, last = np.uint64(1), np.uint64(63)
    end = one << low
    rest = end - one
    longest_four = longest_eight = np.uint64(0)
    for i in range(_BLOCK // 2):
        left, right = np.uint64(block[2 * i]), np.uint64(block[2 * i + 1])
        shift = (right >> low) + one + low
        twos[i] = ((end | (left & rest)) << (shift & last)) | end | (right & rest)
        of_twos[i] = (left >> low) + one + low + shift
    for i in range(_BLOCK // 4):
        shift = of_twos[2 * i + 1]
        fours[i] = (twos[2 * i] << (shift & last)) | twos[2 * i + 1]
        of_fours[i] = of_twos[2 * i] + shift
        longest_four = max(longest_four, of_fours[i])
    for i in range(_EIGHTS):
        shift = of_fours[2 * i + 1]
        eights[i] = (fours[2 * i] << (shift & last)) | fours[2 * i + 1]
        of_eights[i] = of_fours[2 * i] + shift
        longest_eight = max(longest_eight, of_eights[i])
    return longest_four, longest_eight


@numba.njit(cache=True, nogil=True)
def _fold(values, folded):  # type: ignore[no-untyped-def]
    """Store differences of neighbours as positive numbers, even if they are positive."""
    folded[0] = np.uint32(0)
    for i in range(1, values.shape[0]):
        difference = np.int32(values[i] - values[i - 1])
        folded[i] = np.uint32(np.uint32(difference) << np.uint32(1)) ^ np.uint32(difference >> np.int32(31))


@numba.njit(cache=True, nogil=True)
def _row_buffers(columns):  # type: ignore[no-untyped-def]
    """Return room for the integers of a row, their folded differences and their compressed words."""
    # At worst, each block has 5 bits more than its pixels.
    return (
        np.empty(columns, np.int32),
        np.empty(columns, np.uint32),
        np.empty(columns // 2 + columns // 32 + 16, np.uint64),
    )


@numba.njit(cache=True, nogil=True)
def _encode_integers(image, heap, sizes):  # type: ignore[no-untyped-def]
    _, folded, words = _row_buffers(image.shape[1])
    as_bytes = words.view(np.uint8)
    end = 0
    for row in range(image.shape[0]):
        size = _encode_row(image[row], folded, words)
        heap[end : end + size] = as_bytes[:size]
        sizes[row] = size
        end += size
    return end


@numba.njit(cache=True, nogil=True)
def _encode_floats(image, scales, randoms, first_seed, heap, sizes):  # type: ignore[no-untyped-def]
    values, folded, words = _row_buffers(image.shape[1])
    as_bytes = words.view(np.uint8)
    end = 0
    for row in range(image.shape[0]):
        seed = first_seed + row
        if not _quantise_row(image[row], scales[row], randoms, seed, values):
            scales[row] = _largest(image[row]) / _LARGEST
            _quantise_row(image[row], scales[row], randoms, seed, values)
        size = _encode_row(values, folded, words)
        heap[end : end + size] = as_bytes[:size]
        sizes[row] = size
        end += size
    return end


@numba.njit(cache=True, nogil=True)
def _largest(values):  # type: ignore[no-untyped-def]
    largest = np.float32(0.0)
    for value in values:
        if largest < abs(value) < np.inf:
            largest = abs(value)
    return largest


@numba.njit(cache=True, nogil=True)
def _quantise_row(row, scale, randoms, seed, values):  # type: ignore[no-untyped-def]
    """Return whether all values of a row fit into 32 bits in units of ``scale``."""
    inverse, limit = 1.0 / scale, np.float32(_LARGEST * scale)
    columns, n_randoms = row.shape[0], randoms.shape[0]
    seed %= n_randoms
    random = np.int64(randoms[seed] * 500)
    begin, fits = 0, True
    while begin < columns:
        # Up to the end of the table of random numbers.
        end = min(begin + n_randoms - random, columns)
        dither = randoms[random : random + end - begin]
        fits &= _quantise(row[begin:end], dither, inverse, limit, values[begin:end])
        begin = end
        seed = (seed + 1) % n_randoms
        random = np.int64(randoms[seed] * 500)
    return fits


@numba.njit(cache=True, nogil=True)
def _quantise(row, dither, inverse, limit, values):  # type: ignore[no-untyped-def]
    # Without branches, for the processor's vector instructions.
    too_large = False
    for i in range(row.shape[0]):
        value = row[i]
        is_finite = abs(value) < np.float32(np.inf)
        number = np.int32(np.floor(np.float64(value) * inverse + np.float64(dither[i])))
        number = number if is_finite else np.int32(ZBLANK)
        values[i] = number if value != np.float32(0.0) else np.int32(_ZERO)
        too_large |= is_finite & (abs(value) > limit)
    return not too_large
