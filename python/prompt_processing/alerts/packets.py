"""Encode one Avro packet per DiaSource, in the newest schema of ``lsst.alert.packet``."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import fastavro
import numpy as np
import pandas as pd
from lsst.alert.packet import Schema
from numpy.typing import NDArray

from prompt_processing.images import Exposure

from .avro_columns import RecordEncoder, UnsupportedSchemaError, zigzag_varint
from .cutouts import cutout_sizes, fits_cutouts

_RECORDS = ("diaSource", "diaObject", "ssSource")
_HISTORIES = ("prvDiaSources", "prvDiaForcedSources")
_CUTOUTS = ("cutoutDifference", "cutoutScience", "cutoutTemplate")


@dataclass(frozen=True, slots=True)
class Alert:
    """A packet ready to be sent.

    Attributes
    ----------
    dia_source_id : `int`
        Id of the source that triggered the alert.
    message : `bytes`
        Magic byte 0, schema id (4 bytes, big-endian), Avro datum.
    """

    dia_source_id: int
    message: bytes


@dataclass(frozen=True, slots=True)
class AlertContent:
    """Catalogues from which the alerts of one visit-detector are made.

    Attributes
    ----------
    sources : `~pandas.DataFrame`
        DiaSources; each becomes one alert.
    objects : `~pandas.DataFrame`
        DiaObjects, updated with these sources.
    history, forced_history : `~pandas.DataFrame`
        DiaSources of earlier visits; DiaForcedSources of earlier visits and of
        this visit.
    ss_sources : `~pandas.DataFrame`
        One row per source of a solar-system object, by ``diaSourceId``.
    orbits : mapping of `int` to mapping
        Record of ``mpc_orbits`` by ``ssObjectId``, where known.
    observation_reason, target_name : `str` or `None`
        Texts of the scheduler.
    """

    sources: pd.DataFrame
    objects: pd.DataFrame
    history: pd.DataFrame
    forced_history: pd.DataFrame
    ss_sources: pd.DataFrame
    orbits: Mapping[int, Mapping[str, Any]]
    observation_reason: str | None = None
    target_name: str | None = None


class AlertEncoder:
    """Serialise alerts; one encoder serves many visits.

    Parameters
    ----------
    schema : `lsst.alert.packet.Schema`, optional
        Alert schema; by default the newest one of the installed package.

    Attributes
    ----------
    schema_id : `int`
        Id of the schema in the registry.

    Raises
    ------
    UnsupportedSchemaError
        If the schema requires a field that this software does not support.
    """

    def __init__(self, schema: Schema | None = None) -> None:
        schema = Schema.from_file() if schema is None else schema
        self.schema_id = int(schema.get_schema_id())
        self.definition: dict[str, Any] = schema.definition
        self._fields: list[tuple[str, Any]] = [(f["name"], f["type"]) for f in self.definition["fields"]]
        types = dict(self._fields)
        source = _value_type(types["diaSource"])
        self._encoders = {name: RecordEncoder(_value_type(types[name])) for name in _RECORDS}
        for name in _HISTORIES:
            item = _value_type(types[name])["items"]
            # A named type is defined at its first occurrence and referred to by name afterwards.
            self._encoders[name] = RecordEncoder(source if isinstance(item, str) else item)
        self._orbit_schema = fastavro.parse_schema(_value_type(types["mpc_orbits"]))

    def prepare(self, content: AlertContent) -> PreparedAlerts:
        """Encode the catalogues of one visit-detector, without the cutouts.

        Errors in the catalogues are raised here, before anything permanent is written.

        Parameters
        ----------
        content : `AlertContent`
            Catalogues.

        Returns
        -------
        prepared : `PreparedAlerts`
            Alerts that lack only their cutouts.

        Raises
        ------
        ValueError
            If a column that the schema requires is missing or has nulls.
        UnsupportedSchemaError
            If the schema requires a field that this software does not support.
        """
        sources = content.sources
        object_ids = sources["diaObjectId"].to_numpy(dtype=np.int64, na_value=-1).tolist()
        ss_ids = sources["ssObjectId"].to_numpy(dtype=np.int64, na_value=-1).tolist()
        source_ids = sources["diaSourceId"].to_numpy(np.int64).tolist()
        objects = _by_id(content.objects, "diaObjectId", self._encoders["diaObject"])
        ss_sources = _by_id(content.ss_sources, "diaSourceId", self._encoders["ssSource"])
        history = _lists_by_object(content.history, self._encoders["prvDiaSources"])
        forced = _lists_by_object(content.forced_history, self._encoders["prvDiaForcedSources"])
        orbits = {key: self._encode_orbit(orbit) for key, orbit in content.orbits.items()}
        records = self._encoders["diaSource"].encode(sources)
        fields = []
        for row, source_id in enumerate(source_ids):
            fields.append(
                {
                    "diaSourceId": zigzag_varint(source_id),
                    "observation_reason": _string(content.observation_reason),
                    "target_name": _string(content.target_name),
                    "diaSource": records[row],
                    "diaObject": objects.get(object_ids[row]),
                    "prvDiaSources": _array(history.get(object_ids[row], ())),
                    "prvDiaForcedSources": _array(forced.get(object_ids[row], ())),
                    "ssSource": ss_sources.get(source_id),
                    "mpc_orbits": orbits.get(ss_ids[row]),
                }
            )
        if fields:
            self.assemble({**fields[0], **dict.fromkeys(_CUTOUTS, b"")})
        return PreparedAlerts(
            self,
            source_ids,
            sources["x"].to_numpy(np.float64),
            sources["y"].to_numpy(np.float64),
            cutout_sizes(sources["bboxSize"].to_numpy(np.int64)),
            fields,
        )

    def assemble(self, values: Mapping[str, bytes | None]) -> bytes:
        """Join encoded fields in the schema's order, framed for Kafka.

        Parameters
        ----------
        values : mapping of `str` to `bytes` or `None`
            Avro of each field's value, without the branch of a union.

        Returns
        -------
        message : `bytes`
            The framed packet.

        Raises
        ------
        UnsupportedSchemaError
            If a field that must not be null is absent.
        """
        parts = [struct.pack(">bi", 0, self.schema_id)]
        for name, type_ in self._fields:
            value = values.get(name)
            if isinstance(type_, list):
                null_branch = type_.index("null")
                parts.append(zigzag_varint(null_branch if value is None else 1 - null_branch))
            elif value is None:
                raise UnsupportedSchemaError(f"The alert schema requires {name}, which is not supported.")
            if value is not None:
                parts.append(value)
        return b"".join(parts)

    def _encode_orbit(self, orbit: Mapping[str, Any]) -> bytes:
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, self._orbit_schema, orbit)
        return buffer.getvalue()


@cache
def newest_encoder() -> AlertEncoder:
    """Return the encoder of the newest installed schema, made once: reading the schema would delay alerts."""
    return AlertEncoder()


@dataclass(frozen=True, slots=True)
class PreparedAlerts:
    """Alerts of one visit-detector that lack only their cutouts.

    Attributes
    ----------
    encoder : `AlertEncoder`
        Encoder with the schema.
    source_ids : `list` [`int`]
        Ids of the triggering sources.
    x, y : `~numpy.ndarray`, shape (n,)
        Positions of the sources, pixels.
    sizes : `~numpy.ndarray` of int64, shape (n,)
        Widths of the cutouts, pixels.
    fields : `list` [`dict`]
        Avro of each field by name; `None` is null.
    """

    encoder: AlertEncoder
    source_ids: list[int]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    sizes: NDArray[np.int64]
    fields: list[dict[str, bytes | None]]

    def __len__(self) -> int:
        return len(self.source_ids)

    def alerts(self, difference: Exposure, science: Exposure, template: Exposure) -> Iterator[Alert]:
        """Add the cutouts and yield the complete alerts, one at a time.

        Parameters
        ----------
        difference, science, template : `Exposure`
            Images in nJy on the same pixel grid, each with a WCS.

        Yields
        ------
        alert : `Alert`
            Alerts in the order of the sources.
        """
        if not self.source_ids:
            return
        # The template is on the pixel grid of the science image, so it has the same rotation.
        visit_info = science.visit_info or difference.visit_info
        rotation = float("nan") if visit_info is None else visit_info.rotation
        files = [
            fits_cutouts(image, self.x, self.y, self.sizes, rotation)
            for image in (difference, science, template)
        ]
        for source_id, fields, *cutouts in zip(self.source_ids, self.fields, *files, strict=True):
            stamps = dict(zip(_CUTOUTS, map(_counted, cutouts), strict=True))
            yield Alert(source_id, self.encoder.assemble({**fields, **stamps}))


def _value_type(type_: Any) -> Any:
    if isinstance(type_, list):
        return next(branch for branch in type_ if branch != "null")
    return type_


def _by_id(frame: pd.DataFrame, key: str, encoder: RecordEncoder) -> dict[int, bytes]:
    if frame.empty:
        return {}
    return dict(zip(frame[key].to_numpy(np.int64).tolist(), encoder.encode(frame), strict=True))


def _lists_by_object(frame: pd.DataFrame, encoder: RecordEncoder) -> dict[int, list[bytes]]:
    lists: dict[int, list[bytes]] = {}
    if frame.empty:
        return lists
    frame = frame.sort_values("midpointMjdTai", kind="stable")
    ids = frame["diaObjectId"].to_numpy(dtype=np.int64, na_value=-1).tolist()
    for object_id, record in zip(ids, encoder.encode(frame), strict=True):
        lists.setdefault(object_id, []).append(record)
    return lists


def _array(items: Iterable[bytes]) -> bytes:
    records = list(items)
    # An array ends with an empty block; an empty array consists of that block only.
    return b"".join((zigzag_varint(len(records)), *records, b"\0")) if records else b"\0"


def _counted(data: bytes | None) -> bytes | None:
    return None if data is None else zigzag_varint(len(data)) + data


def _string(text: str | None) -> bytes | None:
    return None if text is None else _counted(text.encode())
