"""Write tables as the middleware does, in a fraction of the time."""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from astropy.table import Column, Table
from astropy.table.meta import get_yaml_from_header, get_yaml_from_table
from lsst.daf.butler.formatters.parquet import (
    ASTROPY_PANDAS_INDEX_KEY,
    ParquetFormatter,
    numpy_dict_to_arrow,
)
from lsst.resources import ResourcePath

__all__ = ["TableFormatter"]

type Description = tuple[str, str, tuple[int, ...], str | None, str | None, str | None]
"""Name, type, shape of a row, unit, format and description of a column."""


class TableFormatter(ParquetFormatter):
    """The middleware's formatter of Parquet files, and recorded as such.

    It asks a table for the type of its rows once for each column, and describes the columns by a YAML library
    in Python. A hundred columns took longer than all else. Here their description is remembered: the tables
    of all visits have the same columns.
    """

    @classmethod
    def name(cls) -> str:
        """Return the name of the formatter that reads the file, here and elsewhere."""
        return ParquetFormatter.name()

    def write_local_file(self, in_memory_dataset: Any, uri: ResourcePath) -> None:
        """Write to a local file."""
        if type(in_memory_dataset) is Table and _is_ordinary(in_memory_dataset):
            in_memory_dataset = _to_arrow(in_memory_dataset)
        super().write_local_file(in_memory_dataset, uri)


def _is_ordinary(table: Table) -> bool:
    """Return whether a table has only plain columns of numbers and strings, and no index of pandas."""
    return (
        len(table.columns) > 0
        and ASTROPY_PANDAS_INDEX_KEY not in table.meta
        and all(
            type(column) is Column
            and column.dtype.kind in "biufSU"
            and column.dtype.isnative
            and not column.info.meta
            and isinstance(column.info.format, str | None)
            for column in table.columns.values()
        )
    )


def _to_arrow(table: Table) -> pa.Table:
    """Return what the middleware makes of an ordinary table."""
    plain = numpy_dict_to_arrow({name: np.asarray(table[name]) for name in table.colnames})
    described = tuple(_described(column) for column in table.columns.values())
    fields = [
        field.with_metadata(_of_field(unit, description))
        for field, (*_, unit, _, description) in zip(plain.schema, described, strict=True)
    ]
    text = [_yaml_of_columns(described)]
    if table.meta:
        # The first line is that of the columns, which are none here.
        text += get_yaml_from_header({"cols": [], "meta": OrderedDict(table.meta)})[1:]
    metadata = {**plain.schema.metadata, b"table_meta_yaml": "\n".join(text)}
    return pa.Table.from_arrays(plain.columns, schema=pa.schema(fields, metadata=metadata))


def _described(column: Column) -> Description:
    unit = None if column.unit is None else str(column.unit)
    shape, info = column.shape[1:], column.info
    return column.name, column.dtype.str, shape, unit, info.format, info.description or None


def _of_field(unit: str | None, description: str | None) -> dict[str, str]:
    named = {"description": description, "unit": unit}
    return {name: text for name, text in named.items() if text is not None}


@lru_cache(maxsize=256)
def _yaml_of_columns(columns: tuple[Description, ...]) -> str:
    """Return astropy's description of columns."""
    table = Table()
    for name, dtype, shape, unit, form, description in columns:
        table[name] = Column(np.zeros((0, *shape), dtype), unit=unit, format=form, description=description)
    return "\n".join(get_yaml_from_table(table))
