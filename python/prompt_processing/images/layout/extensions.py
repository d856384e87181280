"""Bytes of FITS extensions in the layout of ``lsst.images``."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from astropy.io import fits

from .tiles import ZBLANK, CompressedTiles

__all__ = ["BLOCK", "Extension", "card", "plain", "tiled", "without_times"]

BLOCK = 2880
"""Bytes of which headers and content of a FITS file are multiples."""

_GZIP = b"\x1f\x8b"
_GZIP_TIME = slice(4, 8)
"""Bytes of a compressed row that hold the time."""


@dataclass(frozen=True, slots=True)
class Extension:
    """Bytes of an HDU.

    Attributes
    ----------
    name, version
        ``EXTNAME`` and ``EXTVER``.
    is_compressed
        Whether it is an image in compressed tiles.
    header
        Header, padded.
    parts
        Content in order, padded; not joined: an image has tens of megabytes.
    """

    name: str
    version: int
    is_compressed: bool
    header: bytes
    parts: tuple[bytes, ...]

    @property
    def size(self) -> int:
        """Bytes of the content."""
        return sum(map(len, self.parts))


def plain(hdu: Any, name: str, version: int, is_compressed: bool = False) -> Extension:
    """Let astropy make the bytes of a small extension."""
    hdu.name = name
    if version > 1:
        hdu.header["EXTVER"] = version
    primary = fits.PrimaryHDU()
    file = io.BytesIO()
    fits.HDUList([primary, hdu]).writeto(file)
    content = file.getvalue()[len(primary.header.tostring()) :]
    length = 0
    while not any(content[at : at + 8] == b"END     " for at in range(length, length + BLOCK, 80)):
        length += BLOCK
    length += BLOCK
    return Extension(name, version, is_compressed, content[:length], (content[length:],))


def tiled(
    name: str,
    version: int,
    shape: tuple[int, int],
    tiles: CompressedTiles,
    dither_seed: int | None,
    further: str,
) -> Extension:
    """Return an image in compressed tiles.

    Parameters
    ----------
    name, version
        ``EXTNAME`` and ``EXTVER``.
    shape
        Rows and columns of the image.
    tiles
        The image.
    dither_seed
        Seed of the subtractive dither of quantised values; `None` for integers.
    further
        Text of further cards of the header.
    """
    rows, columns = shape
    table = tiles.table()
    values: dict[str, Any] = {
        "XTENSION": "BINTABLE",
        "BITPIX": 8,
        "NAXIS": 2,
        "NAXIS1": len(table) // rows,
        "NAXIS2": rows,
        "PCOUNT": tiles.size,
        "GCOUNT": 1,
        "TFIELDS": 1 if dither_seed is None else 3,
        "TTYPE1": "COMPRESSED_DATA",
        "TFORM1": f"1PB({int(tiles.sizes.max())})",
    }
    if dither_seed is not None:
        values |= {"TTYPE2": "ZSCALE", "TFORM2": "1D", "TTYPE3": "ZZERO", "TFORM3": "1D"}
    values |= {
        "ZIMAGE": True,
        "ZCMPTYPE": "RICE_1",
        "ZBITPIX": 32 if dither_seed is None else -32,
        "ZNAXIS": 2,
        "ZNAXIS1": columns,
        "ZNAXIS2": rows,
        "ZTILE1": columns,
        "ZTILE2": 1,
        "ZNAME1": "BLOCKSIZE",
        "ZVAL1": 32,
        "ZNAME2": "BYTEPIX",
        "ZVAL2": 4,
    }
    if dither_seed is not None:
        values |= {"ZQUANTIZ": "SUBTRACTIVE_DITHER_2", "ZDITHER0": dither_seed, "ZBLANK": ZBLANK}
    values["EXTNAME"] = name
    if version > 1:
        values["EXTVER"] = version
    cards = "".join(card(keyword, value) for keyword, value in values.items())
    text = f"{cards}{further}{'END':80}"
    content = (table, *tiles.bands, bytes(-(len(table) + tiles.size) % BLOCK))
    return Extension(name, version, True, (text + " " * (-len(text) % BLOCK)).encode("ascii"), content)


def without_times(extension: Extension, rows: int) -> Extension:
    """Remove the time of compression from the rows of an image: the same object gives the same file."""
    width = int(fits.Header.fromstring(extension.header)["NAXIS1"])
    (content,) = extension.parts
    places = np.frombuffer(content, ">i4", rows * width // 4).reshape(rows, -1)[:, :2]
    data = bytearray(content)
    for size, start in places:
        begin = rows * width + int(start)
        if size >= _GZIP_TIME.stop and data[begin : begin + len(_GZIP)] == _GZIP:
            data[begin + _GZIP_TIME.start : begin + _GZIP_TIME.stop] = bytes(4)
    return replace(extension, parts=(bytes(data),))


def card(keyword: str, value: bool | int | str, comment: str = "") -> str:
    """Return the text of a card; astropy's cards take fifty times as long."""
    if isinstance(value, bool):
        text = f"{'FT'[value]:>20}"
    elif isinstance(value, int):
        text = f"{value:>20}"
    else:
        text = f"'{value:8}'"
    if comment:
        text = f"{text:20} / {comment}"
    return f"{f'{keyword:8}= {text}':80}"
