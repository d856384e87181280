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

from prompt_processing.telemetry.handover import in_this_context

__all__ = ["decode_rows", "is_row_compressed", "read_row_compressed"]

_BLOCK = 32
_DENSEST = _BLOCK * 8 // 5 + 1
"""Maximum number of pixels per byte: a block of equal pixels takes five bits."""

_AS_THEY_ARE = 25
"""Number of low bits which means that all bits are stored, without a count of zeros."""

_LEADING_ZEROS = np.array([8 - value.bit_length() for value in range(256)], np.uint8)

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
        if rows < 1 or columns < 1 or heap > size or rows * columns > _DENSEST * (size - heap):
            raise OSError(f"The {rows} rows of {columns} compressed pixels are not all in {path}.")
        # Number of bytes of each row and its offset in the heap.
        places = content[start:heap].view(">i4").reshape(rows, 2).astype(np.int64)
        places[:, 1] += heap
        image = np.empty((rows, columns), np.int32)
        if not decode_rows(content, places, image):
            raise OSError(f"The compressed pixels in {path} are damaged.")
        return image

    with ThreadPoolExecutor(max(1, min(len(os.sched_getaffinity(0)), len(hdus), 8))) as pool:
        return list(pool.map(in_this_context(read), hdus))


@numba.njit(cache=True, nogil=True)
def _filled(content, position, bits, have):  # type: ignore[no-untyped-def]
    """Return at least 32 unread bits, leftmost first, their number, and the position of the next bits."""
    if have < 32:
        if position + 4 <= content.shape[0]:
            word = np.uint64(content[position]) << np.uint64(24)
            word |= np.uint64(content[position + 1]) << np.uint64(16)
            word |= np.uint64(content[position + 2]) << np.uint64(8)
            word |= np.uint64(content[position + 3])
        else:
            # The last byte is followed by ones, which end any count of zeros.
            word = np.uint64(0)
            for place in range(position, position + 4):
                byte = np.uint64(content[place]) if place < content.shape[0] else np.uint64(0xFF)
                word = (word << np.uint64(8)) | byte
        bits |= word << np.uint64(32 - have)
        have, position = have + 32, position + 4
    return bits, have, position


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
        Overwritten.

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
    columns = image.shape[1]
    for row in range(image.shape[0]):
        position = places[row, 1]
        end = position + places[row, 0]
        if position < 0 or places[row, 0] < 4 or end > content.shape[0]:
            return False
        bits, have, position = _filled(content, position, np.uint64(0), 0)
        value = np.uint32(bits >> np.uint64(32))
        bits, have = bits << np.uint64(32), have - 32
        for first in range(0, columns, _BLOCK):
            bits, have, position = _filled(content, position, bits, have)
            low = np.int64(bits >> np.uint64(59)) - 1
            bits, have = bits << np.uint64(5), have - 5
            for column in range(first, min(first + _BLOCK, columns)):
                if low >= 0:
                    bits, have, position = _filled(content, position, bits, have)
                    if low >= _AS_THEY_ARE:
                        folded = np.uint32(bits >> np.uint64(32))
                        bits, have = bits << np.uint64(32), have - 32
                    else:
                        zeros = np.int64(0)
                        while bits >> np.uint64(56) == 0:
                            if position > end + 8:
                                # Damaged: otherwise each row could scan a whole file of zeros.
                                return False
                            zeros, bits, have = zeros + 8, bits << np.uint64(8), have - 8
                            bits, have, position = _filled(content, position, bits, have)
                        more = np.int64(_LEADING_ZEROS[bits >> np.uint64(56)])
                        zeros, bits, have = zeros + more, bits << np.uint64(more + 1), have - more - 1
                        if have < low:
                            bits, have, position = _filled(content, position, bits, have)
                        # In two steps: without low bits the shift would be by 64, which is undefined.
                        rest = np.uint32((bits >> np.uint64(32)) >> np.uint64(32 - low))
                        bits, have = bits << np.uint64(low), have - low
                        folded = np.uint32(zeros << low) | rest
                    sign = np.uint32(0) - (folded & np.uint32(1))
                    value = np.uint32(value + ((folded >> np.uint32(1)) ^ sign))
                image[row, column] = np.int32(value)
        if 8 * position - have > 8 * end:
            return False
    return True
