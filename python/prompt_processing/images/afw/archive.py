"""Archive of objects in the tables of a file that ``afw`` wrote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from .errors import StackFileError

__all__ = ["Archive", "Rows", "Stored", "bytes_of", "kind_of", "text_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Consecutive rows of a table.

    Attributes
    ----------
    columns
        Values of the whole table by column.
    first, stop
        The rows.
    """

    columns: Mapping[str, Any]
    first: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.first

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for number in range(self.first, self.stop):
            yield {name: values[number] for name, values in self.columns.items()}

    def __getitem__(self, column: str) -> Any:
        return self.columns[column][self.first : self.stop]


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """One object of an archive.

    Attributes
    ----------
    id
        Number by which other objects refer to it.
    name, module
        Its class in the stack, and the Python module of the class.
    tables
        Rows of the object's tables, in its own order.
    """

    id: int
    name: str
    module: str
    tables: tuple[Rows, ...]

    def row(self, table: int = 0) -> dict[str, Any]:
        """Return the only row of one of the object's tables.

        Raises
        ------
        StackFileError
            Raised if the table is absent or does not have one row.
        """
        if table >= len(self.tables) or len(self.tables[table]) != 1:
            raise StackFileError(f"{self.name} {self.id} of the archive does not have one row.")
        return next(iter(self.tables[table]))


_INDEX = ("id", "cat.persistable", "cat.archive", "row0", "nrows", "name", "module")


class Archive:
    """Objects by their numbers, as an index in the same file lists them.

    Parameters
    ----------
    hdus : `~astropy.io.fits.HDUList`
        The open file; tables are read when they are needed.

    Raises
    ------
    StackFileError
        Raised if the file has no index.
    """

    def __init__(self, hdus: fits.HDUList) -> None:
        index = next((hdu for hdu in hdus if kind_of(hdu) == "ARCHIVE_INDEX"), None)
        if index is None:
            raise StackFileError(f"{hdus.filename()} has no archive of objects.")
        self._hdus = hdus
        self._index = index
        self._read: dict[int, dict[str, Any]] = {}

    @staticmethod
    def is_in(hdus: fits.HDUList) -> bool:
        """Return whether a file has an archive."""
        return any(kind_of(hdu) == "ARCHIVE_INDEX" for hdu in hdus)

    def __contains__(self, identity: object) -> bool:
        return identity in self._entries

    def __getitem__(self, identity: int) -> Stored:
        """Return an object.

        Raises
        ------
        StackFileError
            Raised if the archive does not have it.
        """
        if identity not in self._entries:
            raise StackFileError(f"The archive of {self._hdus.filename()} has no object {identity}.")
        entries = sorted(self._entries[identity])
        name, module = entries[0][-2:]
        tables = [Rows(self._columns(number), first, first + rows) for _, number, first, rows, *_ in entries]
        return Stored(identity, name, module, tuple(tables))

    def named(self, name: str) -> Iterator[Stored]:
        """Yield the objects of a class, in the order of the index."""
        for identity, entries in self._entries.items():
            if entries[0][-2] == name:
                yield self[identity]

    @cached_property
    def _entries(self) -> dict[int, list[tuple[int, int, int, int, str, str]]]:
        entries: dict[int, list[tuple[int, int, int, int, str, str]]] = {}
        data = self._index.data
        # The first versions of the stack's tables had underscores where later ones have points.
        named = {name.replace("cat_", "cat."): data[name] for name in self._index.columns.names}
        if missing := [name for name in _INDEX if name not in named]:
            raise StackFileError(
                f"The archive of {self._hdus.filename()} has no {', '.join(missing)} in its index."
            )
        for identity, place, number, first, rows, name, module in zip(
            *(named[name] for name in _INDEX), strict=True
        ):
            entries.setdefault(int(identity), []).append(
                (int(place), int(number), int(first), int(rows), text_of(name), text_of(module))
            )
        return entries

    @cached_property
    def _tables(self) -> dict[int, Any]:
        return {
            int(hdu.header["AR_CATN"]): hdu
            for hdu in self._hdus
            if "AR_CATN" in hdu.header and hdu is not self._index
        }

    def _columns(self, number: int) -> dict[str, Any]:
        if number not in self._read:
            if number not in self._tables:
                raise StackFileError(f"The archive of {self._hdus.filename()} has no table {number}.")
            hdu = self._tables[number]
            self._read[number] = {name: hdu.data[name] for name in hdu.columns.names}
        return self._read[number]


def text_of(value: Any) -> str:
    """Return the text of a string column, whose values may be arrays of characters."""
    if isinstance(value, bytes):
        return value.decode(errors="replace").rstrip("\0 ")
    if isinstance(value, np.ndarray):
        # A blank is read as an empty string.
        letters = (one.decode(errors="replace") if isinstance(one, bytes) else str(one) for one in value)
        return "".join(letter or " " for letter in letters).rstrip("\0 ")
    return str(value).rstrip("\0 ")


def bytes_of(value: NDArray[Any]) -> bytes:
    """Return the content of a column of bytes, which the stack stores as integers."""
    return np.asarray(value).astype(np.uint8).tobytes()


def kind_of(hdu: Any) -> str:
    """Return the name under which the stack stores an HDU, such as ``IMAGE``; older files use ``EXTNAME``."""
    return str(hdu.header.get("EXTTYPE", hdu.header.get("EXTNAME", ""))).strip()
