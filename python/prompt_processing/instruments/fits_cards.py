"""Read from bytes the few FITS cards that determine a file's length and identity.

Safe for damaged files: the time per card does not depend on its content. The patterns with which astropy
reads cards can take unbounded time if a quotation mark is missing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import BinaryIO

__all__ = ["find_cards", "promised_length"]

_BLOCK = 2880
_CARD = 80
_MOST_BLOCKS = 2000
"""Maximum length of one header; real headers have tens of blocks."""

_TEXT = re.compile(rb" *'((?:[^']|'')*)'")
_INTEGER = re.compile(rb" *([+-]?\d{1,18}) *(?:/|\Z)")


def _cards(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    for start in range(0, len(block), _CARD):
        card = block[start : start + _CARD]
        if card[8:10] == b"= ":
            yield card[:8].rstrip(), card[10:]
        elif card.rstrip() == b"END":
            return


def find_cards(start: bytes, *keywords: str) -> dict[str, str | int]:
    """Find strings and integers in a primary header.

    Parameters
    ----------
    start
        The first bytes of a file, which may end anywhere.
    *keywords
        Keywords to look for.

    Returns
    -------
    values
        Values by keyword, without keywords that are missing or have neither a string nor an integer. Empty if
        the bytes are not those of a FITS file.
    """
    values: dict[str, str | int] = {}
    if not start.startswith(b"SIMPLE  ="):
        return values
    wanted = {keyword.encode("ascii"): keyword for keyword in keywords}
    for name, value in _cards(start):
        if name not in wanted:
            continue
        if (match := _TEXT.match(value)) and match[1].isascii():
            values.setdefault(wanted[name], match[1].replace(b"''", b"'").rstrip().decode("ascii"))
        elif match := _INTEGER.match(value):
            values.setdefault(wanted[name], int(match[1]))
    return values


def promised_length(file: BinaryIO) -> int:
    """Return the length that a FITS file must have according to its headers.

    Parameters
    ----------
    file
        The file.

    Returns
    -------
    length
        Bytes up to the end of the last HDU that begins within the file.

    Raises
    ------
    ValueError
        Raised if it is not a FITS file, or a header is truncated or violates the standard.
    """
    position, beginning = 0, b"SIMPLE  ="
    while True:
        file.seek(position)
        block = file.read(_BLOCK)
        # Other content after the last HDU is allowed.
        if position and not block.startswith(beginning):
            return position
        if not block.startswith(beginning):
            raise ValueError("it does not begin like a FITS file")
        sizes: dict[bytes, int] = {}
        n_blocks = 1
        while not _read_sizes(block, sizes):
            block = file.read(_BLOCK)
            n_blocks += 1
            if len(block) < _BLOCK or n_blocks > _MOST_BLOCKS:
                raise ValueError("a header has no end")
        position += n_blocks * _BLOCK + -(-_data_length(sizes) // _BLOCK) * _BLOCK
        beginning = b"XTENSION="


def _read_sizes(block: bytes, sizes: dict[bytes, int]) -> bool:
    """Collect the integers of a header's block; return whether it is the last block."""
    for name, value in _cards(block):
        if match := _INTEGER.match(value):
            # The first value counts: a compressed image repeats the original keywords under other names.
            sizes.setdefault(name, int(match[1]))
    return any(block[start : start + _CARD].rstrip() == b"END" for start in range(0, len(block), _CARD))


def _data_length(sizes: dict[bytes, int]) -> int:
    try:
        bits, n_axes = sizes[b"BITPIX"], sizes[b"NAXIS"]
        if abs(bits) not in (8, 16, 32, 64) or not 0 <= n_axes <= 999:
            raise ValueError(f"a header has BITPIX {bits} and NAXIS {n_axes}")
        axes = [sizes[b"NAXIS%d" % number] for number in range(1, n_axes + 1)]
    except KeyError as error:
        raise ValueError(f"a header has no {error.args[0].decode()}") from error
    more, groups = sizes.get(b"PCOUNT", 0), sizes.get(b"GCOUNT", 1)
    if min([more, groups, *axes]) < 0:
        raise ValueError("a header has a negative size")
    return abs(bits) // 8 * groups * (more + math.prod(axes)) if axes else 0
