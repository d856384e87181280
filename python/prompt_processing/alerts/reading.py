"""Read alerts from a file, a tar of kept alerts, or a folder of these."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import fastavro
from fastavro.schema import SchemaParseException
from lsst.alert.packet import Schema, get_schema_path, get_schema_root

from prompt_processing.transport.schema_registry import (
    MAGIC_BYTE,
    SchemaRegistry,
    SchemaRegistryError,
    UnknownSchemaError,
    unframe,
)

from .files import KEPT, UNDERWAY

__all__ = ["CUTOUTS", "AlertReader", "FoundAlert", "UnreadableAlertError", "packaged_schema"]

CUTOUTS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")
"""Fields that hold FITS files."""

_PACKET = ".avro"
_ENDINGS = (_PACKET, ".tar", KEPT, UNDERWAY)
_CONTAINER_MAGIC = b"Obj\x01"
_DECODING_ERRORS = (ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError, MemoryError)


class UnreadableAlertError(ValueError):
    """A supposed alert cannot be read; the message names the file and the reason."""


@dataclass(frozen=True, slots=True)
class FoundAlert:
    """An alert and its location.

    Attributes
    ----------
    where
        File name, with the member if the file has several alerts.
    content
        Fields of the alert, or the reason why it cannot be read.
    schema
        Parsed schema of a readable alert.
    """

    where: str
    content: dict[str, Any] | UnreadableAlertError
    schema: Any = None


class AlertReader:
    """Decode alerts of any known schema.

    Parameters
    ----------
    registry
        Source of schemas that the installed ``lsst-alert-packet`` does not have.
    """

    def __init__(self, registry: SchemaRegistry | None = None) -> None:
        self._registry = registry

    def read(self, path: Path) -> Iterator[FoundAlert]:
        """Yield the alerts of a file or folder.

        Parameters
        ----------
        path
            A packet, with or without Confluent's framing; an Avro object container; a tar of packets, such as
            workers keep; or a folder, which is searched for all of these.

        Yields
        ------
        alert
            Alerts in the order of file names; an unreadable one has its error as content.
        """
        if path.is_dir():
            for file in sorted(path.rglob("*")):
                if file.name.endswith(_ENDINGS) and file.is_file():
                    yield from self.read(file)
            return
        try:
            with path.open("rb") as opened:
                start = opened.read(len(_CONTAINER_MAGIC))
            if start == _CONTAINER_MAGIC:
                yield from _read_container(path)
            elif tarfile.is_tarfile(path):
                yield from self._read_tar(path)
            else:
                yield self._found(str(path), path.read_bytes())
        except (OSError, tarfile.TarError) as error:
            yield FoundAlert(str(path), UnreadableAlertError(f"{path}: {error}"))

    def decode(self, packet: bytes) -> dict[str, Any]:
        """Decode one packet.

        Parameters
        ----------
        packet
            Avro datum, with or without Confluent's framing.

        Raises
        ------
        UnreadableAlertError
            Raised if the packet is incomplete or of an unknown schema.
        """
        return self.with_schema(packet)[0]

    def with_schema(self, packet: bytes) -> tuple[dict[str, Any], Any]:
        """Decode one packet, and return its parsed schema too.

        Raises
        ------
        UnreadableAlertError
            Raised if the packet is incomplete or of an unknown schema.
        """
        # A datum begins with the id of its source, which is not 0.
        if packet[:1] == bytes([MAGIC_BYTE]):
            try:
                schema_id, datum = unframe(packet)
            except ValueError as error:
                raise UnreadableAlertError(str(error)) from error
            schema = self._schema(schema_id)
            return _decode(datum, schema), schema
        problem = None
        for version in reversed(_packaged_versions()):
            schema = packaged_schema(version)
            try:
                return _decode(packet, schema), schema
            except UnreadableAlertError as error:
                # Report the failure with the newest schema, which the packet most likely has.
                problem = problem or error
        raise problem or UnreadableAlertError("no alert schema is installed")

    def _schema(self, schema_id: int) -> Any:
        version = divmod(schema_id, 100)
        if version in _packaged_versions():
            return packaged_schema(version)
        if self._registry is None:
            raise UnreadableAlertError(
                f"its schema {schema_id} is not in lsst-alert-packet; name a schema registry that has it"
            )
        try:
            return self._registry.schema(schema_id)
        except (UnknownSchemaError, SchemaRegistryError) as error:
            raise UnreadableAlertError(str(error)) from error

    def _found(self, where: str, packet: bytes) -> FoundAlert:
        try:
            return FoundAlert(where, *self.with_schema(packet))
        except UnreadableAlertError as error:
            return FoundAlert(where, UnreadableAlertError(f"{where}: {error}"))

    def _read_tar(self, path: Path) -> Iterator[FoundAlert]:
        with tarfile.open(path, mode="r:*") as tar:
            for member in tar:
                if member.name.endswith(_PACKET) and (content := tar.extractfile(member)) is not None:
                    yield self._found(f"{path}:{member.name}", content.read())


def _read_container(path: Path) -> Iterator[FoundAlert]:
    with path.open("rb") as file:
        try:
            reader = fastavro.reader(file)
            for number, record in enumerate(reader):
                if not isinstance(record, dict):
                    raise UnreadableAlertError(f"{path}: its records are not alerts")
                yield FoundAlert(f"{path}:{number}", record, reader.writer_schema)
        except UnreadableAlertError as error:
            yield FoundAlert(str(path), error)
        except (*_DECODING_ERRORS, SchemaParseException) as error:
            yield FoundAlert(str(path), UnreadableAlertError(f"{path}: not a complete Avro file: {error}"))


def _decode(datum: bytes, schema: Any) -> dict[str, Any]:
    stream = io.BytesIO(datum)
    try:
        alert = fastavro.schemaless_reader(stream, schema, None)
    except _DECODING_ERRORS as error:
        raise UnreadableAlertError(f"not an alert of its schema: {type(error).__name__}") from error
    if stream.read(1):
        raise UnreadableAlertError("bytes are left over after the alert")
    if not isinstance(alert, dict):
        raise UnreadableAlertError("not a record")
    return alert


@cache
def _packaged_versions() -> tuple[tuple[int, int], ...]:
    root = Path(str(get_schema_root()))
    found = [
        (int(major.name), int(minor.name))
        for major in root.iterdir()
        if major.name.isdecimal()
        for minor in major.iterdir()
        if minor.name.isdecimal()
    ]
    return tuple(sorted(found))


@cache
def packaged_schema(version: tuple[int, int]) -> Any:
    """Return a parsed schema of the installed ``lsst-alert-packet``, by its major and minor version."""
    major, minor = version
    file = Path(get_schema_path(major, minor), f"lsst.v{major}_{minor}.alert.avsc")
    return fastavro.parse_schema(Schema.from_file(str(file)).definition)
