"""Read a section of an image without the rest of its file, from a disk or an object store.

Tiles are single rows in the files of this package: the rows of a section are found in the table of the tiles,
and only their bytes are read. Files of others go through astropy, which does the same for their tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, BinaryIO

import numba
import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from prompt_processing.images.mask import renumbered
from prompt_processing.instruments.rice import decode_rows

from .content import description_of, is_layout, mask_bits
from .tiles import ZBLANK, dither_numbers

__all__ = ["ImageSections"]

_ZERO = ZBLANK + 1
_BLOCK = 2880
_ROW = {
    "ZCMPTYPE": "RICE_1",
    "ZNAXIS": 2,
    "ZTILE2": 1,
    "ZNAME1": "BLOCKSIZE",
    "ZVAL1": 32,
    "ZNAME2": "BYTEPIX",
    "ZVAL2": 4,
}
_FLOATS = {"ZBITPIX": -32, "ZQUANTIZ": "SUBTRACTIVE_DITHER_2", "TFIELDS": 3, "NAXIS1": 24, "ZBLANK": ZBLANK}
_INTEGERS = {"ZBITPIX": 32, "TFIELDS": 1, "NAXIS1": 8}

Opened = Callable[[], AbstractContextManager[BinaryIO]]


class ImageSections:
    """The planes of an image file, read by section.

    Parameters
    ----------
    opened
        Opens the file for random access; called for each section.

    Raises
    ------
    OSError
        Raised if the file cannot be read, or has no image.
    """

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        with opened() as file:
            self._planes = _planes(file)
            file.seek(0)
            with fits.open(file, memmap=False, lazy_load_hdus=True) as hdus:
                primary = hdus[0].header
                self._bits = mask_bits(description_of(hdus)) if is_layout(primary) else None
                self._header = hdus[self._planes["IMAGE"][2]].header.copy()
        self.primary: fits.Header = primary

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return int(self._header["NAXIS2"]), int(self._header["NAXIS1"])

    @property
    def header(self) -> fits.Header:
        """Header of the image, without the keywords of its compression."""
        return self._header

    @property
    def planes(self) -> tuple[str, ...]:
        """Which of ``IMAGE``, ``MASK`` and ``VARIANCE`` the file has."""
        return tuple(name for name in ("IMAGE", "MASK", "VARIANCE") if name in self._planes)

    def read(self, plane: str, rows: slice, columns: slice) -> NDArray[Any]:
        """Read a section.

        Parameters
        ----------
        plane
            One of `planes`.
        rows, columns
            Section, with start and stop inside the image.

        Returns
        -------
        section : `~numpy.ndarray`, shape (number of rows, number of columns)
            Of float32; of a mask, int32 with the bits of `~prompt_processing.images.mask.Mask`.

        Raises
        ------
        OSError
            Raised if the file is damaged or cannot be reached.
        """
        header, start, number = self._planes[plane]
        with self._opened() as file:
            if _has(header, _ROW) and (_has(header, _FLOATS) or _has(header, _INTEGERS)):
                section = _read_rows(file, header, start, rows)[:, columns]
            else:
                with fits.open(file, memmap=False, lazy_load_hdus=True) as hdus:
                    section = np.asarray(hdus[number].section[rows, columns])
        if plane == "MASK":
            mask = section.astype(np.int32)
            return mask if self._bits is None else renumbered(mask, self._bits)
        return section.astype(np.float32, copy=False)


def _planes(file: BinaryIO) -> dict[str, tuple[fits.Header, int, int]]:
    """Return header in the file, address of the data and number of the HDU of each plane."""
    found: dict[str, tuple[fits.Header, int, int]] = {}
    first_image = None
    number = 0
    file.seek(0)
    while True:
        try:
            header = fits.Header.fromfile(file)
        except EOFError:
            break
        start = file.tell()
        name = str(header.get("EXTNAME", "")).strip().upper()
        if name in ("IMAGE", "MASK", "VARIANCE"):
            found.setdefault(name, (header, start, number))
        if (
            first_image is None
            and header.get("ZNAXIS", header["NAXIS"]) == 2
            and header.get("XTENSION") != "BINTABLE"
        ):
            first_image = (header, start, number)
        if len(found) == 3:
            break
        file.seek(start + _padded_size(header))
        number += 1
    if "IMAGE" not in found:
        if first_image is None:
            raise OSError("The file has no image.")
        found["IMAGE"] = first_image
    return found


def _padded_size(header: fits.Header) -> int:
    n_axes = int(header["NAXIS"])
    if n_axes == 0:
        return 0
    pixels = int(np.prod([int(header[f"NAXIS{axis}"]) for axis in range(1, n_axes + 1)]))
    size = (
        abs(int(header["BITPIX"]))
        // 8
        * (pixels + int(header.get("PCOUNT", 0)))
        * int(header.get("GCOUNT", 1))
    )
    return -(-size // _BLOCK) * _BLOCK


def _has(header: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    return (
        all(header.get(key) == value for key, value in expected.items())
        and header["ZTILE1"] == header["ZNAXIS1"]
    )


def _read_rows(file: BinaryIO, header: fits.Header, start: int, rows: slice) -> NDArray[Any]:
    """Read and decode the tiles of some rows."""
    width, n_rows = int(header["NAXIS1"]), int(header["NAXIS2"])
    names = [("size", ">i4"), ("start", ">i4")]
    if width == _FLOATS["NAXIS1"]:
        names += [("scale", ">f8"), ("zero", ">f8")]
    count = rows.stop - rows.start
    table = np.frombuffer(_bytes(file, start + rows.start * width, count * width), names)
    places = np.stack([table["size"], table["start"]], axis=1).astype(np.int64)
    first = int(places[:, 1].min(initial=2**62)) if count else 0
    last = int(places.sum(axis=1).max(initial=0))
    heap = start + int(header.get("THEAP", width * n_rows))
    content = np.frombuffer(_bytes(file, heap + first, last - first), np.uint8)
    places[:, 1] -= first
    integers = np.empty((count, int(header["ZNAXIS1"])), np.int32)
    if not decode_rows(content, places, integers):
        raise OSError("The compressed pixels are damaged.")
    if width == _INTEGERS["NAXIS1"]:
        return integers
    values = np.empty(integers.shape, np.float32)
    scales, zeros = table["scale"].astype(np.float64), table["zero"].astype(np.float64)
    _restore(integers, scales, zeros, dither_numbers(), rows.start + int(header["ZDITHER0"]) - 1, values)
    return values


def _bytes(file: BinaryIO, start: int, size: int) -> bytes:
    if size < 0:
        raise OSError("The table of the tiles is damaged.")
    file.seek(start)
    content = file.read(size)
    if len(content) != size:
        raise OSError("The file is truncated.")
    return content


@numba.njit(cache=True, nogil=True)
def _restore(integers, scales, zeros, randoms, first_seed, values):  # type: ignore[no-untyped-def]
    """Undo the quantisation with subtractive dither of the FITS standard 4.0, section 10.2."""
    n_randoms = randoms.shape[0]
    for row in range(integers.shape[0]):
        seed = (first_seed + row) % n_randoms
        random = np.int64(randoms[seed] * 500)
        for column in range(integers.shape[1]):
            value = integers[row, column]
            if value == ZBLANK:
                values[row, column] = np.nan
            elif value == _ZERO:
                values[row, column] = 0.0
            else:
                values[row, column] = (value - np.float64(randoms[random]) + 0.5) * scales[row] + zeros[row]
            random += 1
            if random == n_randoms:
                seed = (seed + 1) % n_randoms
                random = np.int64(randoms[seed] * 500)
