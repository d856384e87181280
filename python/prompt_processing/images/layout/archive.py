"""Write objects of ``lsst.images`` in its FITS layout, with compiled compression.

The objects describe themselves, so that the content of a file follows the installed ``lsst-images``. Only the
bytes of the FITS file are made here: its own writer compresses without loss, which takes several times the
processor time and room. There is no date of writing, so that the same object always gives the same file.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

import astropy.table
import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from lsst.images.fits import PointerModel, strip_wcs_cards
from lsst.images.serialization import (
    ArchiveTree,
    ArrayReferenceModel,
    NestedOutputArchive,
    NumberType,
    OutputArchive,
    TableColumnModel,
    TableModel,
    no_header_updates,
)
from numpy.typing import NDArray

from .extensions import Extension, plain, tiled, without_times
from .projection import write_cards
from .small_tables import index_of, structured, texts
from .tiles import CompressedTiles, compress_floats, compress_integers

__all__ = ["FieldArchive"]

_FORMAT_VERSION = 1
_JSON = "JSON"

HeaderUpdate = Callable[[fits.Header], None]


class FieldArchive(OutputArchive[PointerModel]):
    """The content of a file.

    Parameters
    ----------
    steps : mapping from `str` to `float`
        Quantisation step of arrays, by their name in capitals; others are stored without loss.
    update_primary : callable, optional
        Called with the primary header.
    wcs
        WCS of each two-dimensional array, instead of the one that the object writes.
    """

    def __init__(
        self,
        steps: Mapping[str, float] | None = None,
        update_primary: HeaderUpdate = no_header_updates,
        wcs: WCS | None = None,
    ) -> None:
        super().__init__()
        self._steps = dict(steps or {})
        self._update_primary = update_primary
        self._wcs = wcs
        self._wcs_cards = ""
        self._extensions: list[Extension] = []
        self._targets: list[bytes] = []
        self._pointers: dict[Hashable, PointerModel] = {}
        self._frame_sets: list[tuple[Any, PointerModel]] = []

    def write(self, path: str | Path, tree: ArchiveTree) -> None:
        """Write a file.

        Parameters
        ----------
        path
            File, replaced if it exists.
        tree
            Description of the object, as its serialisation to this archive returned it.
        """
        self._add_json(tree)
        primary = fits.PrimaryHDU().header
        primary.set("FMTVER", _FORMAT_VERSION, "FITS container layout version")
        addresses = ("INDXADDR", "INDXSIZE", "JSONADDR", "JSONSIZE")
        for keyword in addresses:
            primary.set(keyword, 0)
        primary.set("DATAMODL", tree.schema_url, "schema URL")
        self._update_primary(primary)
        index, start, json = index_of(self._extensions, len(primary.tostring()))
        values = (start, len(index.header) + index.size, *json)
        for keyword, value in zip(addresses, values, strict=True):
            primary[keyword] = value
        with open(path, "wb") as file:
            file.write(primary.tostring().encode("ascii"))
            for extension in [*self._extensions, index]:
                file.write(extension.header)
                file.writelines(extension.parts)

    def serialize_direct[T](self, name: str, serializer: Callable[[OutputArchive[PointerModel]], T]) -> T:
        """Serialise a part, whose names begin with ``name``."""
        return serializer(NestedOutputArchive[PointerModel](name, self))

    def serialize_pointer[T: ArchiveTree](
        self, name: str, serializer: Callable[[OutputArchive[PointerModel]], T], key: Hashable
    ) -> PointerModel:
        """Serialise a part that others may refer to, once."""
        if key in self._pointers:
            return self._pointers[key]
        self._targets.append(self.serialize_direct("", serializer).model_dump_json().encode())
        pointer = PointerModel(
            column=TableColumnModel(
                name=_JSON,
                data=ArrayReferenceModel(
                    source=f"fits:{_JSON}[1]", shape=[len(self._targets[-1])], datatype=NumberType.uint8
                ),
            ),
            row=len(self._targets),
        )
        self._pointers[key] = pointer
        return pointer

    def serialize_frame_set[T: ArchiveTree](
        self, name: str, frame_set: Any, serializer: Callable[[OutputArchive[PointerModel]], T], key: Hashable
    ) -> PointerModel:
        """Serialise a frame set, and remember it."""
        pointer = self.serialize_pointer(name, serializer, key)
        self._frame_sets.append((frame_set, pointer))
        return pointer

    def iter_frame_sets(self) -> Iterator[tuple[Any, PointerModel]]:
        """Return the frame sets and references to them."""
        return iter(self._frame_sets)

    def add_array(
        self,
        array: NDArray[Any],
        *,
        name: str | None = None,
        update_header: HeaderUpdate = no_header_updates,
        tile_shape: tuple[int, ...] | None = None,
        options_name: str | None = None,
    ) -> ArrayReferenceModel:
        """Add an array, compressed if it is an image of 32-bit integers, or has a quantisation step."""
        extname, version = self._register(name)
        step = self._steps.get(extname)
        if array.ndim == 2 and array.dtype == np.int32:
            self._add_tiles(extname, version, array, compress_integers(array), None, update_header)
        elif array.ndim == 2 and array.dtype == np.float32 and step is not None:
            # The same image gives the same file.
            seed = 1 + zlib.adler32(np.ascontiguousarray(array[::64])) % 10000
            self._add_tiles(extname, version, array, compress_floats(array, step, seed), seed, update_header)
        elif array.ndim == 2 and array.dtype == np.float32:
            hdu = fits.CompImageHDU(
                np.ascontiguousarray(array, array.dtype.newbyteorder("=")),
                name=extname,
                compression_type="GZIP_2",
                tile_shape=(1, array.shape[1]),
                quantize_level=0.0,
            )
            self._add(hdu, extname, version, _both(update_header, self._replace_wcs), is_compressed=True)
            self._extensions[-1] = without_times(self._extensions[-1], array.shape[0])
        else:
            if array.ndim == 2:
                update_header = _both(update_header, self._replace_wcs)
            self._add(fits.ImageHDU(array), extname, version, update_header)
        return ArrayReferenceModel(
            source=_source(extname, version),
            shape=list(array.shape),
            datatype=NumberType.from_numpy(array.dtype.newbyteorder("=")),
        )

    def add_table(
        self,
        table: astropy.table.Table,
        *,
        name: str | None = None,
        update_header: HeaderUpdate = no_header_updates,
    ) -> TableModel:
        """Add a table."""
        extname, version = self._register(name)
        self._add(fits.table_to_hdu(table), extname, version, update_header)
        return TableModel(
            columns=_with_sources(TableColumnModel.from_table(table), extname, version), meta=table.meta
        )

    def add_structured_array(
        self,
        array: NDArray[Any],
        *,
        name: str | None = None,
        units: Mapping[str, Any] | None = None,
        descriptions: Mapping[str, str] | None = None,
        update_header: HeaderUpdate = no_header_updates,
    ) -> TableModel:
        """Add a structured array."""
        extname, version = self._register(name)
        columns = TableColumnModel.from_record_dtype(array.dtype)
        for column in columns:
            column.unit = (units or {}).get(column.name)
            column.description = (descriptions or {}).get(column.name, "")
        table = structured(extname, version, array) if update_header is no_header_updates else None
        if table is None:
            self._add(fits.BinTableHDU(array), extname, version, update_header)
        else:
            self._extensions.append(table)
        return TableModel(columns=_with_sources(columns, extname, version))

    def _register(self, name: str | None) -> tuple[str, int]:
        if name is None:
            raise ValueError("An array or table at the top of a file needs a name.")
        name, version = self._register_name(name)
        return name.upper(), version

    def _add(
        self,
        hdu: Any,
        name: str,
        version: int,
        update_header: HeaderUpdate = no_header_updates,
        *,
        is_compressed: bool = False,
    ) -> None:
        update_header(hdu.header)
        self._extensions.append(plain(hdu, name, version, is_compressed))

    def _add_tiles(
        self,
        name: str,
        version: int,
        array: NDArray[Any],
        tiles: CompressedTiles,
        dither_seed: int | None,
        update_header: HeaderUpdate,
    ) -> None:
        header = fits.Header()
        update_header(header)
        strip_wcs_cards(header)
        further = header.tostring(endcard=False, padding=False) + self._cards_of_wcs()
        self._extensions.append(
            tiled(name, version, (array.shape[0], array.shape[1]), tiles, dither_seed, further)
        )

    def _replace_wcs(self, header: fits.Header) -> None:
        write_cards(header, self._wcs)

    def _cards_of_wcs(self) -> str:
        """Return the text of the WCS, which all planes share."""
        if not self._wcs_cards:
            header = fits.Header()
            self._replace_wcs(header)
            self._wcs_cards = header.tostring(endcard=False, padding=False)
        return self._wcs_cards

    def _add_json(self, tree: ArchiveTree) -> None:
        self._extensions.append(texts(_JSON, [tree.model_dump_json().encode(), *self._targets]))


def _both(first: HeaderUpdate, second: HeaderUpdate) -> HeaderUpdate:
    def update(header: fits.Header) -> None:
        first(header)
        second(header)

    return update


def _source(name: str, version: int) -> str:
    return f"fits:{name}" if version == 1 else f"fits:{name},{version}"


def _with_sources(columns: list[TableColumnModel], name: str, version: int) -> list[TableColumnModel]:
    for number, column in enumerate(columns, start=1):
        assert isinstance(column.data, ArrayReferenceModel)
        column.data.source = f"{_source(name, version)}[{number}]"
    return columns
