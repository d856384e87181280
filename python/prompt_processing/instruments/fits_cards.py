"""The few cards of a FITS header that tell where the file ends and whose it is, read from bytes.

Written for files that anybody may have damaged: a card costs the same whatever stands on it. The patterns
with which astropy reads cards can take for ever over one that has lost its quotation mark.
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
"""Of one header; real ones have some tens."""

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
    """Find texts and integers in a primary header.

    Parameters
    ----------
    start : `bytes`
        The first bytes of a file, cut anywhere.
    *keywords : `str`
        What to look for.

    Returns
    -------
    values : `dict`
        By keyword; those that are not there, or have neither a text nor an integer, are left out. Empty if
        these are no FITS file's bytes.
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
    """Tell how long a FITS file has to be, by its headers.

    Parameters
    ----------
    file : file-like
        The file, at its beginning.

    Returns
    -------
    length : `int`
        Bytes, up to the end of the last unit that begins within the file.

    Raises
    ------
    ValueError
        It is no FITS file, or a header is cut or contradicts the standard.
    """
    position, beginning = 0, b"SIMPLE  ="
    while True:
        file.seek(position)
        block = file.read(_BLOCK)
        # What follows the last unit and is none is allowed.
        if position and not block.startswith(beginning):
            return position
        if not block.startswith(beginning):
            raise ValueError("it does not begin as a FITS file")
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
    """Collect the integers of a block of a header; tell whether it was the last."""
    for name, value in _cards(block):
        if match := _INTEGER.match(value):
            # The first counts: a compressed image repeats the uncompressed one's under other names.
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
