"""Write tables as Parquet files with the types of the APDB's schema."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from prompt_processing.apdb.tables import ApdbTable

from .manifest import write_whole

__all__ = ["arrow_schema", "read_columns", "write_parquet"]

_TYPES = {
    "Int64": pa.int64(),
    "Int32": pa.int32(),
    "Int16": pa.int16(),
    "Int8": pa.int8(),
    "float64": pa.float64(),
    "float32": pa.float32(),
    "boolean": pa.bool_(),
    "bool": pa.bool_(),
    "object": pa.string(),
    "datetime64[ms]": pa.timestamp("ms"),
}


def arrow_schema(table: ApdbTable) -> pa.Schema:
    """Return the Parquet types of an APDB's table, the same whatever the rows are."""
    return pa.schema([pa.field(column.name, _TYPES[column.pandas_type]) for column in table.columns])


def write_parquet(path: Path, frames: Iterable[pd.DataFrame], schema: pa.Schema | None = None) -> int:
    """Write frames into one file, completely or not at all.

    Parameters
    ----------
    path
        The file; none is written without rows.
    frames
        Frames with the same columns; one at a time is in memory.
    schema
        Types of the columns; by default those of the first frame.

    Returns
    -------
    rows
        Number of rows.

    Raises
    ------
    OSError
        Raised if the file cannot be written.
    """
    rows = 0
    pending = iter(frames)
    first = next(pending, None)
    if first is None:
        return 0
    if schema is None:
        schema = _guessed(first)
    with write_whole(path) as partial, pq.ParquetWriter(partial, schema, compression="zstd") as writer:
        for frame in _and_then(first, pending):
            writer.write_table(pa.Table.from_pandas(frame, schema=schema, preserve_index=False))
            rows += len(frame)
    return rows


def read_columns(paths: Iterable[Path], columns: list[str]) -> pa.Table | None:
    """Return some columns of files of one table; `None` without a file."""
    tables = [pq.ParquetFile(path).read(columns=columns) for path in paths]
    return pa.concat_tables(tables) if tables else None


def _guessed(frame: pd.DataFrame) -> pa.Schema:
    found = pa.Schema.from_pandas(frame, preserve_index=False)
    # A column without any value has no type yet; later ones may have text.
    fields = [field.with_type(pa.string()) if pa.types.is_null(field.type) else field for field in found]
    return pa.schema(fields)


def _and_then(first: pd.DataFrame, others: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    yield first
    yield from others
