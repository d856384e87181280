"""Bytes of small FITS tables, as astropy writes them.

A file of an image has three. astropy takes more processor time for them than the compression of a plane.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .extensions import BLOCK, Extension, card

__all__ = ["index_of", "structured", "texts"]

_FORMS = {"u1": "B", "i2": "I", "i4": "J", "i8": "K", "f4": "E", "f8": "D"}
_LONGEST_NAME = 51
"""Characters of a name that fit into a card with its comment."""


def texts(name: str, values: Sequence[bytes]) -> Extension:
    """Return a table with one column of texts, which has the table's name."""
    sizes = np.array([len(value) for value in values])
    rows = np.stack([sizes, np.concatenate([[0], np.cumsum(sizes)[:-1]])], axis=1).astype(">i4")
    return _table(name, 1, [(name, f"PB({sizes.max()})", None)], len(rows), rows.tobytes(), b"".join(values))


def structured(name: str, version: int, array: NDArray[Any]) -> Extension | None:
    """Return a table of numbers; `None` if astropy must make it.

    Parameters
    ----------
    name, version
        ``EXTNAME`` and ``EXTVER``.
    array
        Structured array, one row for each row of the table.
    """
    columns: list[tuple[str, str, str | None]] = []
    size = 0
    for column in array.dtype.names or ():
        kind = array.dtype[column]
        form = _FORMS.get(kind.base.str[1:])
        if form is None or kind.shape == (1,) or not _is_plain(column):
            return None
        size += kind.itemsize
        shape = kind.shape
        dimensions = f"({','.join(map(str, shape[::-1]))})" if shape else None
        columns.append((column, f"{int(np.prod(shape)) if shape else ''}{form}", dimensions))
    if array.ndim != 1 or not columns or size != array.dtype.itemsize or not _is_plain(name):
        return None
    return _table(name, version, columns, len(array), array.astype(array.dtype.newbyteorder(">")).tobytes())


def index_of(extensions: Sequence[Extension], primary_size: int) -> tuple[Extension, int, tuple[int, int]]:
    """Return the table of the HDUs, its address, and address and bytes of the last HDU before it.

    Parameters
    ----------
    extensions
        All but the index.
    primary_size
        Bytes of the primary header.
    """
    rows: list[tuple[bytes, int, bytes, int, int, int, int]] = []
    rows.append((b"", 1, b"IMAGE", ord("F"), 0, primary_size, 0))
    last, start = (0, primary_size), primary_size
    for one in extensions:
        kind = b"IMAGE" if one.header.startswith(b"XTENSION= 'IMAGE") else b"BINTABLE"
        data, compressed = start + len(one.header), ord("FT"[one.is_compressed])
        rows.append((one.name.encode("ascii"), one.version, kind, compressed, start, data, one.size))
        last = start, len(one.header) + one.size
        start = data + one.size
    width = max(len(row[0]) for row in rows)
    kinds = {"EXTNAME": f"S{width}", "EXTVER": ">i4", "XTENSION": "S8", "ZIMAGE": "i1"}
    kinds |= dict.fromkeys(("HDRADDR", "DATADDR", "DATSIZE"), ">i8")
    forms = (f"{width}A", "J", "8A", "L", "K", "K", "K")
    columns = [(column, form, None) for column, form in zip(kinds, forms, strict=True)]
    content = np.array(rows, list(kinds.items())).tobytes()
    return _table("INDEX", 1, columns, len(rows), content), start, last


def _table(
    name: str,
    version: int,
    columns: Sequence[tuple[str, str, str | None]],
    n_rows: int,
    rows: bytes,
    heap: bytes = b"",
) -> Extension:
    cards = [
        card("XTENSION", "BINTABLE", "binary table extension"),
        card("BITPIX", 8, "array data type"),
        card("NAXIS", 2, "number of array dimensions"),
        card("NAXIS1", len(rows) // n_rows if n_rows else 0, "length of dimension 1"),
        card("NAXIS2", n_rows, "length of dimension 2"),
        card("PCOUNT", len(heap), "number of group parameters"),
        card("GCOUNT", 1, "number of groups"),
        card("TFIELDS", len(columns), "number of table fields"),
    ]
    for number, (column, form, dimensions) in enumerate(columns, start=1):
        cards += [card(f"TTYPE{number}", column), card(f"TFORM{number}", form)]
        if dimensions is not None:
            cards.append(card(f"TDIM{number}", dimensions))
    cards.append(card("EXTNAME", name, "extension name"))
    if version > 1:
        cards.append(card("EXTVER", version))
    text = "".join(cards) + f"{'END':80}"
    content = rows + heap
    header = (text + " " * (-len(text) % BLOCK)).encode("ascii")
    return Extension(name, version, False, header, (content + bytes(-len(content) % BLOCK),))


def _is_plain(name: str) -> bool:
    return len(name) <= _LONGEST_NAME and "'" not in name and name.isascii() and name.isprintable()
