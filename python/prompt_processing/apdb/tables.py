"""The APDB's tables as typed frames: columns, types and values for missing data."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from astropy.table import MaskedColumn, Table
from felis.datamodel import DataType
from lsst.dax.apdb import Apdb, schema_model
from lsst.dax.apdb.apdbSchema import ApdbSchema, ApdbTables

DEFAULT_SCHEMA = "resource://lsst.sdm.schemas/apdb.yaml"

_FILLED_BY_THE_DATABASE = frozenset({"pixelId"})
_INTEGERS = frozenset({DataType.short, DataType.int, DataType.long, DataType.byte})
_REALS = frozenset({DataType.float, DataType.double})
_OBJECT_TYPES = frozenset({DataType.char, DataType.string, DataType.text, DataType.unicode, DataType.binary})


class MissingColumnsError(ValueError):
    """A catalogue lacks columns that have no default.

    Attributes
    ----------
    table : `str`
        Name of the APDB's table.
    columns : `tuple` [`str`]
        Names of the missing columns.
    """

    def __init__(self, table: str, columns: tuple[str, ...]) -> None:
        self.table = table
        self.columns = columns
        super().__init__(f"No values for the columns {', '.join(columns)} of the APDB's table {table}.")


@dataclass(frozen=True, slots=True)
class ApdbColumn:
    """One column of a table.

    Attributes
    ----------
    name, pandas_type : `str`
        Name, and (nullable) type in a frame that the APDB returns.
    nullable : `bool`
        Whether the database accepts NULL.
    default : `object`
        Value for rows without one; `None` is NULL.
    required : `bool`
        Whether a catalogue must have it, because it is neither nullable nor a count.
    """

    name: str
    pandas_type: str
    nullable: bool
    default: Any
    required: bool

    @classmethod
    def from_schema(cls, column: schema_model.Column) -> ApdbColumn:
        """Make a description from a column of the middleware's schema."""
        default = column.value
        # A missing count is 0 (psfNdata, nDiaSources, ...); a missing id has no such value.
        is_count = column.datatype in _INTEGERS and column.name.lower().endswith(("ndata", "size", "sources"))
        if default is None and not column.nullable and is_count:
            default = 0
        return cls(
            column.name,
            column.pandas_type,
            column.nullable,
            default,
            not column.nullable and default is None,
        )


@dataclass(frozen=True, slots=True)
class ApdbTable:
    """A table's name and columns, in the schema's order."""

    name: str
    columns: tuple[ApdbColumn, ...]

    @classmethod
    def from_schema(cls, table: schema_model.Table) -> ApdbTable:
        """Make a description from a table of the middleware's schema."""
        return cls(
            table.name,
            tuple(
                ApdbColumn.from_schema(column)
                for column in table.columns
                if column.name not in _FILLED_BY_THE_DATABASE
            ),
        )

    @property
    def dtypes(self) -> dict[str, str]:
        """Type of each column by name."""
        return {column.name: column.pandas_type for column in self.columns}

    def empty(self) -> pd.DataFrame:
        """Return a frame with the right columns and no rows."""
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in self.dtypes.items()})

    def conform(self, values: pd.DataFrame | Mapping[str, Any]) -> pd.DataFrame:
        """Convert a catalogue to the table's columns, order and types.

        Parameters
        ----------
        values : `~pandas.DataFrame` or mapping of `str` to array_like
            Catalogue; columns that the table lacks are dropped.

        Returns
        -------
        frame : `~pandas.DataFrame`
            Index 0 to n - 1. Absent nullable columns are null.

        Raises
        ------
        MissingColumnsError
            If a column without a default is absent.
        """
        given = set(values.keys())
        missing = tuple(
            column.name for column in self.columns if column.required and column.name not in given
        )
        if missing:
            raise MissingColumnsError(self.name, missing)
        n_rows = len(values) if isinstance(values, pd.DataFrame) else _length(values)
        index = pd.RangeIndex(n_rows)
        columns: dict[str, pd.Series[Any]] = {}
        for column in self.columns:
            if column.name in given:
                series = pd.Series(_plain(values[column.name]), index=index)
                if column.default is not None:
                    series = series.fillna(column.default)
                columns[column.name] = _cast(series, column.pandas_type)
            else:
                columns[column.name] = _filled(column, index)
        return pd.DataFrame(columns, index=index)


@dataclass(frozen=True, slots=True)
class ApdbSchemas:
    """The three tables that a visit writes."""

    dia_object: ApdbTable
    dia_source: ApdbTable
    dia_forced_source: ApdbTable

    @classmethod
    @functools.cache
    def load(cls, uri: str = DEFAULT_SCHEMA) -> ApdbSchemas:
        """Read the schema of the installed ``lsst.sdm.schemas``, or another one; cached per process."""
        return cls._from_tables(ApdbSchema(uri, "").tableSchemas)

    @classmethod
    def of(cls, apdb: Apdb) -> ApdbSchemas:
        """Return the schema of an open APDB.

        Raises
        ------
        LookupError
            If the APDB lacks one of the tables.
        """
        names = (ApdbTables.DiaObject, ApdbTables.DiaSource, ApdbTables.DiaForcedSource)
        tables = {name: apdb.tableDef(name) for name in names}
        absent = [name.value for name, table in tables.items() if table is None]
        if absent:
            raise LookupError(f"The APDB has no table {', '.join(absent)}.")
        return cls._from_tables({name: table for name, table in tables.items() if table is not None})

    @classmethod
    def _from_tables(cls, tables: Mapping[ApdbTables, schema_model.Table]) -> ApdbSchemas:
        return cls(
            ApdbTable.from_schema(tables[ApdbTables.DiaObject]),
            ApdbTable.from_schema(tables[ApdbTables.DiaSource]),
            ApdbTable.from_schema(tables[ApdbTables.DiaForcedSource]),
        )


def table_columns(table: Table) -> dict[str, Any]:
    """Return the one-dimensional columns of an astropy table, without units."""
    return {name: _plain(table[name]) for name in table.colnames if table[name].ndim == 1}


def _length(values: Mapping[str, Any]) -> int:
    return next((len(value) for value in values.values()), 0)


def _plain(values: Any) -> Any:
    """Return values without units, masks, indices and foreign byte order."""
    if isinstance(values, pd.Series):
        return values.array
    if isinstance(values, MaskedColumn | np.ma.MaskedArray):
        mask = np.ma.getmaskarray(values)
        if not mask.any():
            return _plain(np.asarray(values.data))
        plain = np.asarray(values.data).astype(object)
        plain[mask] = None
        return plain
    array = np.asarray(values)
    if array.dtype.byteorder not in ("=", "|"):
        array = array.astype(array.dtype.newbyteorder("="))
    return array


def _filled(column: ApdbColumn, index: pd.RangeIndex) -> pd.Series[Any]:
    if column.pandas_type.startswith("float"):
        value = np.nan if column.default is None else column.default
        return pd.Series(np.full(len(index), value, column.pandas_type), index=index)
    return _cast(pd.Series([column.default] * len(index), index=index, dtype="object"), column.pandas_type)


def _cast(series: pd.Series[Any], kind: Any) -> pd.Series[Any]:
    if kind == "object":
        values = series.astype(object)
        return values.where(values.notna(), None)
    if series.dtype == kind:
        return series
    if kind.startswith("float"):
        return pd.Series(series.to_numpy(dtype=np.float64, na_value=np.nan).astype(kind), index=series.index)
    if kind.startswith("Int") and series.dtype.kind == "f":
        return series.astype("Float64").astype(kind)
    return series.astype(kind)
