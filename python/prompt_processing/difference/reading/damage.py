"""The reason why astropy cannot read a file, as a phrase for its user."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import zlib
from typing import Any, BinaryIO

_BLOCK, _CARD = 2880, 80
_ARCHIVE = re.compile(rb"ustar")
"""Signature of a tar archive, at byte 257."""

_PACKERS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}
"""Openers of packed files, by their first two bytes."""


def damage(file: str, error: Exception) -> str:
    """Return the meaning of an astropy exception, as a phrase that follows the file's name.

    Parameters
    ----------
    file : `str`
        Path of the file.
    error : `Exception`
        What opening or decoding it raised.
    """
    text = " ".join(str(error).split()).rstrip(".")
    start, end_reached = _unpacked(file)
    if not end_reached:
        return "is truncated: its compressed data end too early."
    if not start:
        return "is empty: it unpacks to 0 bytes."
    if _ARCHIVE.match(start, 257):
        return "is not a FITS image but a tar archive; unpack it first."
    if start.startswith(b"PK\3\4"):
        return "is a zip archive that is damaged or holds several files; unpack it first."
    if start[:9] not in (b"SIMPLE  =", b"XTENSION="):
        return "is not a FITS image: its first card is not SIMPLE."
    if wrong := _wrong_card(start):
        return f"is damaged: its header has {wrong}."
    if isinstance(error, EOFError):
        return "is damaged: its compressed pixels cannot be decompressed."
    if "missing END" in text or "Empty or corrupt" in text:
        return "is not a FITS image, or its header is damaged: the END card is missing."
    if isinstance(error, zlib.error) or "CRC" in text or "gzip" in text.lower():
        return f"is damaged: its compressed data cannot be decompressed ({text})."
    if "SIMPLE" in text:
        return f"is damaged: {text}."
    return "is damaged, or not a FITS image: its header or its pixels cannot be decoded."


def _wrong_card(start: bytes) -> str | None:
    """Return the first card of the first header that describes impossible pixels."""
    for first in range(0, len(start), _CARD):
        card = start[first : first + _CARD].decode("ascii", "replace")
        if card.startswith("END "):
            return None
        match = re.match(r"(BITPIX|NAXIS\d*) *= *([^/ ]*)", card)
        if match is None:
            continue
        keyword, value = match.groups()
        whole = re.fullmatch(r"[+-]?\d+", value) is not None
        if keyword == "BITPIX":
            possible = whole and int(value) in (8, 16, 32, 64, -32, -64)
        else:
            possible = whole and (int(value) >= 0 if keyword == "NAXIS" else int(value) > 0)
        if not possible:
            return f"{keyword} = {value or 'nothing'}"
    return None


def _unpacked(file: str) -> tuple[bytes, bool]:
    """Return the first bytes of a file's contents, and whether its packed data are complete."""
    with open(file, "rb") as stream:
        opener = _PACKERS.get(stream.read(2))
        stream.seek(0)
        if opener is None:
            return stream.read(_BLOCK), True
    start = b""
    try:
        with opener(file) as unpacked:
            start = _read_to_end(unpacked)
    except EOFError:
        return start, False
    except (OSError, ValueError, zlib.error, lzma.LZMAError):
        return b"SIMPLE  =", True
    return start, True


def _read_to_end(stream: BinaryIO) -> bytes:
    start = stream.read(_BLOCK)
    while stream.read(1 << 20):
        pass
    return start
