"""Decompress images whose tiles are single rows, with all cores.

CFITSIO takes five times the processor time, on one core. It reads what is compressed otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

import numba
import numpy as np
from numpy.typing import NDArray

from prompt_processing.domain.planes import new_plane
from prompt_processing.instruments.rice import DENSEST, decode_row
from prompt_processing.telemetry.handover import in_this_context

from .tiles import ZBLANK, dither_numbers

__all__ = ["compile_readers", "has_row_tiles", "read_row_tiles"]

_ZERO = ZBLANK + 1
_BAND_ROWS = 256
_ROWS = {
    "TTYPE1": "COMPRESSED_DATA",
    "ZCMPTYPE": "RICE_1",
    "ZNAXIS": 2,
    "ZTILE2": 1,
    "ZNAME1": "BLOCKSIZE",
    "ZVAL1": 32,
    "ZNAME2": "BYTEPIX",
    "ZVAL2": 4,
}
_FLOATS = {
    "ZBITPIX": -32,
    "ZQUANTIZ": "SUBTRACTIVE_DITHER_2",
    "TFIELDS": 3,
    "NAXIS1": 24,
    "TTYPE2": "ZSCALE",
    "TTYPE3": "ZZERO",
    "ZBLANK": ZBLANK,
}
_INTEGERS = {"ZBITPIX": 32, "TFIELDS": 1, "NAXIS1": 8, "ZBLANK": None, "ZQUANTIZ": None}
_CHANGES_VALUES = ("BSCALE", "BZERO", "ZSCALE", "ZZERO")


def has_row_tiles(header: Mapping[str, Any]) -> bool:
    """Return whether an HDU holds an image as `.tiles` compresses it, which `read_row_tiles` reads.

    Parameters
    ----------
    header
        Header in the file, with the keywords of the compression.
    """

    def agrees(expected: Mapping[str, Any]) -> bool:
        return all(header.get(key) == value for key, value in expected.items())

    return (
        agrees(_ROWS)
        and (agrees(_FLOATS) or agrees(_INTEGERS))
        and not any(key in header for key in _CHANGES_VALUES)
        and header.get("ZTILE1") == header.get("ZNAXIS1")
        and header.get("ZNAXIS2") == header.get("NAXIS2")
    )


def read_row_tiles(
    file: BinaryIO, header: Mapping[str, Any], start: int, rows: slice, columns: slice
) -> NDArray[Any]:
    """Read a section of an image for which `has_row_tiles` holds; only its rows are read.

    Parameters
    ----------
    file
        File, not compressed as a whole.
    header
        Header in the file.
    start
        Address of the HDU's data.
    rows, columns
        Section, with start and stop inside the image.

    Returns
    -------
    section : `~numpy.ndarray` of float32 or int32, shape (number of rows, number of columns)

    Raises
    ------
    OSError
        Raised if the file is truncated or damaged.
    """
    width, n_rows = int(header["NAXIS1"]), int(header["NAXIS2"])
    names = [("size", ">i4"), ("start", ">i4")]
    is_float = width == _FLOATS["NAXIS1"]
    if is_float:
        names += [("scale", ">f8"), ("zero", ">f8")]
    count = rows.stop - rows.start
    shape = count, columns.stop - columns.start
    table = np.frombuffer(_bytes(file, start + rows.start * width, count * width), names)
    places = np.stack([table["size"], table["start"]], axis=1).astype(np.int64)
    first = int(places[:, 1].min(initial=2**62)) if count else 0
    last = int(places.sum(axis=1).max(initial=0))
    heap = start + int(header.get("THEAP", width * n_rows))
    content = np.frombuffer(_bytes(file, heap + first, last - first), np.uint8)
    places[:, 1] -= first
    if count * columns.stop > DENSEST * len(content):
        raise OSError("The file is too short for its number of pixels.")
    if not is_float:
        integers = new_plane(shape, np.int32)
        _in_bands(lambda band: _decode_integers(content, places[band], columns.start, integers[band]), count)
        return integers
    scales, zeros = table["scale"].astype(np.float64), table["zero"].astype(np.float64)
    seed = rows.start + int(header["ZDITHER0"]) - 1
    floats = new_plane(shape, np.float32)

    def decode(band: slice) -> bool:
        dither = (scales[band], zeros[band], dither_numbers(), seed + band.start)
        return bool(_decode_floats(content, places[band], *dither, columns.start, floats[band]))

    _in_bands(decode, count)
    return floats


def compile_readers() -> None:
    """Compile what `read_row_tiles` uses, by reading images without rows."""
    content, places = np.frombuffer(b"", np.uint8), np.zeros((0, 2), np.int64)
    _decode_integers(content, places, 0, np.zeros((0, 0), np.int32))
    dither = (np.zeros(0), np.zeros(0), dither_numbers(), 0)
    _decode_floats(content, places, *dither, 0, np.zeros((0, 0), np.float32))


def _in_bands(decode: Any, n_rows: int) -> None:
    bands = [slice(first, min(first + _BAND_ROWS, n_rows)) for first in range(0, n_rows, _BAND_ROWS)]
    threads = max(1, min(len(os.sched_getaffinity(0)), len(bands), 8))
    if threads == 1:
        whole = all(decode(band) for band in bands)
    else:
        with ThreadPoolExecutor(threads) as pool:
            whole = all(pool.map(in_this_context(decode), bands))
    if not whole:
        raise OSError("The compressed pixels are damaged.")


def _bytes(file: BinaryIO, start: int, size: int) -> bytes:
    if size < 0:
        raise OSError("The table of the tiles is damaged.")
    file.seek(start)
    content = file.read(size)
    if len(content) != size:
        raise OSError("The file is truncated.")
    return content


@numba.njit(cache=True, nogil=True)
def _decode_integers(content, places, first_column, image) -> bool:  # type: ignore[no-untyped-def]
    """Decode rows; ``image`` has those columns of them that begin at ``first_column``."""
    row_values = np.empty(first_column + image.shape[1], np.int32)
    for row in range(image.shape[0]):
        if not decode_row(content, places[row, 1], places[row, 0], row_values):
            return False
        image[row] = row_values[first_column:]
    return True


@numba.njit(cache=True, nogil=True)
def _decode_floats(  # type: ignore[no-untyped-def]
    content, places, scales, zeros, randoms, first_seed, first_column, image
) -> bool:
    """Decode rows, and undo their quantisation with the dither of the FITS standard 4.0, section 10.2."""
    columns = first_column + image.shape[1]
    n_randoms = randoms.shape[0]
    row_values = np.empty(columns, np.int32)
    for row in range(image.shape[0]):
        if not decode_row(content, places[row, 1], places[row, 0], row_values):
            return False
        seed = (first_seed + row) % n_randoms
        random = np.int64(randoms[seed] * 500)
        begin = 0
        while begin < columns:
            # Up to the end of the table of random numbers.
            end = min(begin + n_randoms - random, columns)
            first = max(begin, first_column)
            if first < end:
                dither = randoms[random + first - begin : random + end - begin]
                part = image[row, first - first_column : end - first_column]
                _restore(row_values[first:end], dither, scales[row], zeros[row], part)
            begin = end
            seed = (seed + 1) % n_randoms
            random = np.int64(randoms[seed] * 500)
    return True


@numba.njit(cache=True, nogil=True)
def _restore(values, dither, scale, zero, image):  # type: ignore[no-untyped-def]
    # Without branches, for the processor's vector instructions.
    for i in range(values.shape[0]):
        value = values[i]
        restored = np.float32((np.float64(value) - np.float64(dither[i]) + 0.5) * scale + zero)
        restored = np.float32(np.nan) if value == ZBLANK else restored
        image[i] = np.float32(0.0) if value == _ZERO else restored
