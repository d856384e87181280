"""Smallest alerts that their schema allows."""

from __future__ import annotations

import io
import struct

import fastavro
from lsst.alert.packet import Schema

SCHEMA = Schema.from_file()


def encode(source_id: int, schema: Schema = SCHEMA, **fields: object) -> bytes:
    """An alert with no more than it must have."""

    def least(kind):  # type: ignore[no-untyped-def]
        if isinstance(kind, list):
            return None
        if isinstance(kind, dict) and kind["type"] == "record":
            return {field["name"]: least(field["type"]) for field in kind["fields"]}
        if isinstance(kind, dict):
            return [] if kind["type"] == "array" else least(kind["type"])
        return {"string": "", "boolean": False, "bytes": b""}.get(kind, 0)

    alert = {field["name"]: least(field["type"]) for field in schema.definition["fields"]}
    alert["diaSource"] |= {"diaSourceId": source_id, "visit": 2026060900578, "detector": 94, "ra": 155.5}
    stream = io.BytesIO()
    fastavro.schemaless_writer(
        stream, fastavro.parse_schema(schema.definition), {**alert, "diaSourceId": source_id, **fields}
    )
    return stream.getvalue()


def frame(datum: bytes, schema_id: int = 1101) -> bytes:
    return struct.pack(">bI", 0, schema_id) + datum
