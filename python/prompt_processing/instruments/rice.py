"""Read tile-compressed integers of raw images with all cores.

CFITSIO takes a third of a second for a detector of 16 million pixels, on one core: as long as all further
processing of a raw. Files that are not compressed as by the LSST cameras are left to CFITSIO.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from prompt_processing.domain.planes import new_plane
from prompt_processing.telemetry.handover import in_this_context

from .rice_bits import leading_zeros

__all__ = ["DENSEST", "decode_row", "decode_rows", "is_row_compressed", "read_row_compressed"]

_BLOCK = 32
DENSEST = _BLOCK * 8 // 5 + 1
"""Maximum number of pixels per byte: a block of equal pixels takes five bits."""

_AS_THEY_ARE = np.uint64(25)
"""Number of low bits which means that all bits are stored, without a count of zeros."""

_MARGIN = 512
"""Bytes after a row that are read before it is found to be damaged: at most eight per pixel of a block."""

_EXPECTED = {
    "ZCMPTYPE": "RICE_1",
    "ZBITPIX": 32,
    "ZNAXIS": 2,
    "ZTILE2": 1,
    "ZNAME1": "BLOCKSIZE",
    "ZVAL1": _BLOCK,
    "ZNAME2": "BYTEPIX",
    "ZVAL2": 4,
    "TFIELDS": 1,
    "NAXIS1": 8,
}
_CHANGES_VALUES = ("ZSCALE", "ZZERO", "ZBLANK", "BSCALE", "BZERO", "THEAP", "ZQUANTIZ")


def is_row_compressed(header: Mapping[str, Any]) -> bool:
    """Return whether an HDU's header describes 32-bit integers with each row Rice-compressed separately.

    Parameters
    ----------
    header
        Header in the file, with the keywords of the compression.
    """
    text = {key: header.get(key) for key in _EXPECTED}
    found = {key: value.strip() if isinstance(value, str) else value for key, value in text.items()}
    return (
        found == _EXPECTED
        and header.get("ZTILE1") == header.get("ZNAXIS1")
        and header.get("ZNAXIS2") == header.get("NAXIS2")
        and str(header.get("TFORM1", "")).startswith("1PB")
        and not any(key in header for key in _CHANGES_VALUES)
    )


def read_row_compressed(
    path: str | Path, hdus: Sequence[tuple[Mapping[str, Any], int]]
) -> list[NDArray[np.int32]]:
    """Read images for which `is_row_compressed` holds.

    Parameters
    ----------
    path
        File that is not compressed as a whole.
    hdus
        Header, and offset of the data in the file.

    Returns
    -------
    images : `list` of `~numpy.ndarray` of int32, shape (ZNAXIS2, ZNAXIS1)

    Raises
    ------
    OSError
        Raised if the file is truncated, or its content contradicts the headers.
    """
    content = np.fromfile(path, np.uint8)
    size = len(content)

    def read(hdu: tuple[Mapping[str, Any], int]) -> NDArray[np.int32]:
        header, start = hdu
        rows, columns = int(header["ZNAXIS2"]), int(header["ZNAXIS1"])
        heap = start + 8 * rows
        if rows < 1 or columns < 1 or heap > size or rows * columns > DENSEST * (size - heap):
            raise OSError(f"The {rows} rows of {columns} compressed pixels are not all in {path}.")
        # Number of bytes of each row and its offset in the heap.
        places = content[start:heap].view(">i4").reshape(rows, 2).astype(np.int64)
        places[:, 1] += heap
        image = new_plane((rows, columns), np.int32)
        if not decode_rows(content, places, image):
            raise OSError(f"The compressed pixels in {path} are damaged.")
        return image

    with ThreadPoolExecutor(max(1, min(len(os.sched_getaffinity(0)), len(hdus), 8))) as pool:
        return list(pool.map(in_this_context(read), hdus))


@numba.njit(cache=True, nogil=True, inline="always")
def _word(content, position):  # type: ignore[no-untyped-def]
    """Return eight bytes, the first one leftmost; the compiler makes one instruction of it."""
    return (
        (np.uint64(content[position]) << np.uint64(56))
        | (np.uint64(content[position + np.uint64(1)]) << np.uint64(48))
        | (np.uint64(content[position + np.uint64(2)]) << np.uint64(40))
        | (np.uint64(content[position + np.uint64(3)]) << np.uint64(32))
        | (np.uint64(content[position + np.uint64(4)]) << np.uint64(24))
        | (np.uint64(content[position + np.uint64(5)]) << np.uint64(16))
        | (np.uint64(content[position + np.uint64(6)]) << np.uint64(8))
        | np.uint64(content[position + np.uint64(7)])
    )


@numba.njit(cache=True, nogil=True, inline="always")
def _filled(content, position, bits, have):  # type: ignore[no-untyped-def]
    """Return at least 56 unread bits, leftmost first, their number, and the position of the next ones."""
    # More bits than counted are entered; they are entered again, with the same values.
    bits |= _word(content, position) >> have
    return bits, have | np.uint64(56), position + ((np.uint64(63) - have) >> np.uint64(3))


@numba.njit(cache=True, nogil=True, inline="always")
def _after(value, folded):  # type: ignore[no-untyped-def]
    """Return the value after ``value``, by their difference as it is stored: even if it is positive."""
    return np.uint32(value + ((folded >> np.uint32(1)) ^ (np.uint32(0) - (folded & np.uint32(1)))))


@numba.njit(cache=True, nogil=True)
def decode_row(content, start, length, values) -> bool:  # type: ignore[no-untyped-def]
    """Decode the first pixels of a Rice-compressed row of 32-bit integers, in blocks of 32.

    Parameters
    ----------
    content : `~numpy.ndarray` of uint8, shape (n,)
        Bytes of all rows.
    start, length : `int`
        Offset and number of the row's bytes.
    values : `~numpy.ndarray` of int32, shape (columns,)
        Overwritten; may be shorter than the row.

    Returns
    -------
    whole
        `False` if there are too few bytes for these pixels, which are then undefined.
    """
    end = start + length
    if start < 0 or length < 4 or end > content.shape[0]:
        return False
    if end + _MARGIN > content.shape[0]:
        # The last byte is followed by ones, which end any count of zeros.
        padded = np.full(length + _MARGIN, 0xFF, np.uint8)
        padded[:length] = content[start:end]
        return _decode_row(padded, 0, length, values)
    return _decode_row(content, start, length, values)


@numba.njit(cache=True, nogil=True)
def _decode_row(content, start, length, values) -> bool:  # type: ignore[no-untyped-def]
    """Decode a row that is followed by at least `_MARGIN` bytes."""
    columns = values.shape[0]
    end = start + length
    end_bit = np.uint64(8) * np.uint64(end)
    # Whatever its bits say, a row reads at most one block and a count of zeros further than this.
    furthest = np.uint64(end + 16)
    bits = _word(content, np.uint64(start))
    value = np.uint32(bits >> np.uint64(32))
    bits, have, position = bits << np.uint64(32), np.uint64(32), np.uint64(start + 8)
    for first in range(0, columns, _BLOCK):
        if position > furthest:
            return False
        bits, have, position = _filled(content, position, bits, have)
        low = bits >> np.uint64(59)
        bits, have = bits << np.uint64(5), have - np.uint64(5)
        last = min(first + _BLOCK, columns)
        if low == 0:
            for column in range(first, last):
                values[column] = np.int32(value)
            continue
        low -= np.uint64(1)
        if low >= _AS_THEY_ARE:
            for column in range(first, last):
                bits, have, position = _filled(content, position, bits, have)
                value = _after(value, np.uint32(bits >> np.uint64(32)))
                values[column] = np.int32(value)
                bits, have = bits << np.uint64(32), have - np.uint64(32)
            continue
        marked = np.uint32(1) << np.uint32(low)
        for column in range(first, last):
            bits, have, position = _filled(content, position, bits, have)
            zeros = leading_zeros(bits)
            more = np.uint64(0)
            if zeros + low > np.uint64(55):
                while zeros > np.uint64(55):
                    if position > furthest:
                        # Damaged: otherwise each row could scan a whole file of zeros.
                        return False
                    more += np.uint64(56)
                    bits, have = bits << np.uint64(56), have - np.uint64(56)
                    bits, have, position = _filled(content, position, bits, have)
                    zeros = leading_zeros(bits)
                bits, have = bits << zeros, have - zeros
                bits, have, position = _filled(content, position, bits, have)
                more, zeros = more + zeros, np.uint64(0)
            # What follows the zeros is a one and the low bits.
            bits = bits << zeros
            rest = np.uint32(bits >> (np.uint64(63) - low)) - marked
            bits, have = bits << (low + np.uint64(1)), have - (zeros + low + np.uint64(1))
            folded = np.uint32((more + zeros) << low) | rest
            value = _after(value, folded)
            values[column] = np.int32(value)
    return bool(np.uint64(8) * position - have <= end_bit)


@numba.njit(cache=True, nogil=True)
def decode_rows(content: NDArray[np.uint8], places: NDArray[np.int64], image: NDArray[np.int32]) -> bool:
    """Decode Rice-compressed rows of 32-bit integers in blocks of 32.

    Parameters
    ----------
    content : `~numpy.ndarray` of uint8, shape (n,)
        Bytes of all rows.
    places : `~numpy.ndarray` of int64, shape (rows, 2)
        Number of bytes of each row, and their offset.
    image : `~numpy.ndarray` of int32, shape (rows, columns)
        Overwritten; may have fewer columns than are stored, which is then the left part.

    Returns
    -------
    whole
        `False` if a row has too few bytes for its pixels; the image is then undefined.

    Notes
    -----
    Pence et al. 2010, A&A 524, A42, and FITS standard 4.0, section 10.4.1: differences between
    neighbours, folded to be positive. Each block begins with the number of low bits that are stored
    unchanged; the rest of each difference is a count of zeros.
    """
    for row in range(image.shape[0]):
        if not decode_row(content, places[row, 1], places[row, 0], image[row]):
            return False
    return True
