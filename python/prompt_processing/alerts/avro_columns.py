"""Encode whole catalogues as Avro records, column by column.

fastavro encodes one Python object at a time and tries the branches of every union. That takes some
60 microseconds for a DiaSource with a hundred nullable fields, most of the time for alerts with a
year of history. Here each column of a frame becomes a few columns of bytes, with a mask of those
that are present; the rows of the masked matrix are the records. The result is plain Avro
(specification 1.11, "Binary Encoding").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Present = NDArray[np.bool_]

_VARINT_BYTES = 10


class UnsupportedSchemaError(ValueError):
    """A schema has a field that this encoder cannot write."""


def zigzag_varint(value: int) -> bytes:
    """Encode one Avro int or long."""
    rest = (value << 1) ^ (value >> 63)
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def _varints(values: NDArray[np.int64]) -> tuple[Bytes, Present]:
    rest = ((values << np.int64(1)) ^ (values >> np.int64(63))).view(np.uint64)
    shifts = np.arange(_VARINT_BYTES, dtype=np.uint64) * np.uint64(7)
    pieces = rest[:, np.newaxis] >> shifts
    present = pieces != 0
    present[:, 0] = True
    continues = np.zeros_like(present)
    continues[:, :-1] = present[:, 1:]
    encoded = (pieces & np.uint64(0x7F)).astype(np.uint8) | np.where(continues, 0x80, 0).astype(np.uint8)
    used = max(int(present.any(axis=0).sum()), 1)
    return encoded[:, :used], present[:, :used]


def _whole(encoded: Bytes) -> tuple[Bytes, Present]:
    return encoded, np.ones(encoded.shape, bool)


def _integers(column: pd.Series[Any]) -> tuple[Bytes, Present]:
    return _varints(column.to_numpy(dtype=np.int64, na_value=0))


def _floats(column: pd.Series[Any]) -> tuple[Bytes, Present]:
    values = column.to_numpy(dtype="<f4", na_value=np.nan)
    return _whole(np.ascontiguousarray(values).view(np.uint8).reshape(-1, 4))


def _doubles(column: pd.Series[Any]) -> tuple[Bytes, Present]:
    values = column.to_numpy(dtype="<f8", na_value=np.nan)
    return _whole(np.ascontiguousarray(values).view(np.uint8).reshape(-1, 8))


def _booleans(column: pd.Series[Any]) -> tuple[Bytes, Present]:
    return _whole(column.to_numpy(dtype=bool, na_value=False).view(np.uint8).reshape(-1, 1))


def _strings(column: pd.Series[Any]) -> tuple[Bytes, Present]:
    texts = [b"" if pd.isna(text) else str(text).encode() for text in column]
    lengths = np.array([len(text) for text in texts], np.int64)
    width = int(lengths.max(initial=0))
    letters = np.frombuffer(b"".join(text.ljust(width) for text in texts), np.uint8)
    size, size_present = _varints(lengths)
    return (
        np.hstack([size, letters.reshape(len(texts), width)]),
        np.hstack([size_present, np.arange(width) < lengths[:, np.newaxis]]),
    )


_ENCODERS: Mapping[str, Callable[[pd.Series[Any]], tuple[Bytes, Present]]] = {
    "int": _integers,
    "long": _integers,
    "float": _floats,
    "double": _doubles,
    "boolean": _booleans,
    "string": _strings,
}


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    kind: str
    null_branch: int | None
    value_branch: int | None

    @classmethod
    def of(cls, definition: Mapping[str, Any]) -> _Field:
        name, type_ = definition["name"], definition["type"]
        null_branch = value_branch = None
        if isinstance(type_, list):
            if len(type_) != 2 or "null" not in type_:
                raise UnsupportedSchemaError(f"Field {name} is not a union of null and one type.")
            null_branch = type_.index("null")
            value_branch = 1 - null_branch
            type_ = type_[value_branch]
        if isinstance(type_, dict):
            type_ = type_.get("type")
        if type_ not in _ENCODERS:
            raise UnsupportedSchemaError(f"Field {name} has the unsupported type {type_!r}.")
        return cls(name, type_, null_branch, value_branch)

    def encode(self, frame: pd.DataFrame) -> tuple[Bytes, Present]:
        n = len(frame)
        if self.name not in frame:
            if self.null_branch is None:
                raise ValueError(f"The catalogue lacks the column {self.name}, which must not be null.")
            return _whole(np.full((n, 1), self.null_branch << 1, np.uint8))
        column = frame[self.name]
        encoded, present = _ENCODERS[self.kind](column)
        if self.null_branch is None or self.value_branch is None:
            if self.kind in ("int", "long") and column.isna().any():
                raise ValueError(f"Column {self.name} must not be null.")
            return encoded, present
        is_null = column.isna().to_numpy()
        branch = np.where(is_null, self.null_branch << 1, self.value_branch << 1).astype(np.uint8)
        return (
            np.hstack([branch[:, np.newaxis], encoded]),
            np.hstack([np.ones((n, 1), bool), present & ~is_null[:, np.newaxis]]),
        )


class RecordEncoder:
    """Encode the rows of a frame as records of one schema.

    Parameters
    ----------
    schema : mapping
        An Avro record of numbers, booleans, strings and unions of one of
        these with null.

    Raises
    ------
    UnsupportedSchemaError
        If a field has another type.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._fields = tuple(_Field.of(field) for field in schema["fields"])

    def encode(self, frame: pd.DataFrame) -> list[bytes]:
        """Encode all rows.

        Parameters
        ----------
        frame : `~pandas.DataFrame`
            Frame with a column for each field that must not be null; NaN and NA are null.

        Returns
        -------
        records : `list` [`bytes`]
            One record per row, in order.

        Raises
        ------
        ValueError
            If a column that must not be null is missing or has nulls.
        """
        if frame.empty:
            return []
        encoded, present = zip(*(field.encode(frame) for field in self._fields), strict=True)
        mask = np.hstack(present)
        everything = np.hstack(encoded)[mask].tobytes()
        ends = np.cumsum(mask.sum(axis=1)).tolist()
        return [everything[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
