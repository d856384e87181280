"""The list of files of an archived night, with their rows and checksums."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError

from .errors import ArchiveError

__all__ = ["ArchivedFile", "NightManifest", "Problem", "checksum", "manifests", "write_whole"]

_BLOCK = 1 << 20


class ArchivedFile(BaseModel):
    """One file of the archive.

    Attributes
    ----------
    table
        Table of its rows, or ``alerts`` or ``alert_index``.
    file
        Path below the archive.
    rows
        Number of rows or alerts.
    size
        Size, bytes.
    sha256
        Checksum of the content.
    part
        Number of the export that wrote it, from 1; a repeated export gets the next number.
    """

    table: str
    file: str
    rows: int
    size: int
    sha256: str
    part: int

    @classmethod
    def of(cls, root: Path, path: Path, table: str, rows: int, part: int) -> ArchivedFile:
        """Describe a file that was written just now."""
        return cls(
            table=table,
            file=path.relative_to(root).as_posix(),
            rows=rows,
            size=path.stat().st_size,
            sha256=checksum(path),
            part=part,
        )


class WrittenVisit(BaseModel):
    """The rows of a visit-detector, which the APDB receives once.

    Attributes
    ----------
    visit, detector
        Ids.
    sources, forced_sources
        Number of rows.
    part
        Number of the export that wrote them.
    """

    visit: int
    detector: int
    sources: int
    forced_sources: int
    part: int


@dataclass(frozen=True, slots=True)
class Problem:
    """A difference between the archive and its manifest, or the APDB.

    Attributes
    ----------
    what
        File or visit.
    reason
        What is wrong.
    """

    what: str
    reason: str

    def __str__(self) -> str:
        return f"{self.what}: {self.reason}"


class NightManifest(BaseModel):
    """What the archive has of one night.

    Attributes
    ----------
    day_obs
        ``YYYYMMDD``.
    apdb
        Database of the rows, without password.
    files
        All files of the night.
    visits
        All visit-detectors of the night.
    """

    day_obs: int
    apdb: str = ""
    files: list[ArchivedFile] = []
    visits: list[WrittenVisit] = []

    @classmethod
    def read(cls, root: Path, day_obs: int) -> NightManifest:
        """Read the manifest of a night; an empty one if the night has none.

        Raises
        ------
        ArchiveError
            Raised if the file is damaged.
        """
        path = _path(root, day_obs)
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return cls(day_obs=day_obs)
        except ValidationError as error:
            raise ArchiveError(
                f"{path} is damaged: restore it, or remove it with the files of the night and export again."
            ) from error

    def write(self, root: Path) -> None:
        """Write the manifest, completely or not at all."""
        with write_whole(_path(root, self.day_obs)) as partial:
            partial.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")

    def of_table(self, table: str) -> list[ArchivedFile]:
        """Return the files of a table."""
        return [file for file in self.files if file.table == table]

    def rows(self) -> dict[str, int]:
        """Return the number of rows by table."""
        found: dict[str, int] = {}
        for file in self.files:
            found[file.table] = found.get(file.table, 0) + file.rows
        return found

    def next_part(self) -> int:
        """Return the number of the next export."""
        parts = [one.part for one in self.files] + [one.part for one in self.visits]
        return 1 + max(parts, default=0)

    def damaged(self, root: Path) -> dict[str, Problem]:
        """Return the files that are not as they were written, by their path below the archive."""
        found = {}
        for file in self.files:
            reason = _damage(root / file.file, file)
            if reason:
                found[file.file] = Problem(file.file, reason)
        return found

    def without_parts(self, parts: Iterable[int]) -> NightManifest:
        """Return a manifest without the tables' rows of some exports; alerts stay."""
        gone = set(parts)
        return self.model_copy(
            update={
                "files": [one for one in self.files if one.part not in gone or one.table.startswith("alert")],
                "visits": [one for one in self.visits if one.part not in gone],
            }
        )


class write_whole:  # noqa: N801
    """Context that yields a temporary path, and renames it to the wanted one when the block succeeds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(f".{path.name}.part")

    def __enter__(self) -> Path:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        return self._partial

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is not None:
            self._partial.unlink(missing_ok=True)
            return
        with self._partial.open("rb") as file:
            os.fsync(file.fileno())
        self._partial.replace(self._path)


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def manifests(root: Path) -> Iterator[NightManifest]:
    """Yield the manifests of all nights, in order.

    Raises
    ------
    ArchiveError
        Raised if one is damaged.
    """
    for path in sorted((root / "manifests").glob("[0-9]*.json")):
        yield NightManifest.read(root, int(path.stem))


def _path(root: Path, day_obs: int) -> Path:
    return root / "manifests" / f"{day_obs}.json"


def _damage(path: Path, file: ArchivedFile) -> str:
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return "is missing"
    if size != file.size:
        return f"has {size} bytes instead of {file.size}"
    if checksum(path) != file.sha256:
        return "has another content than was written (SHA-256)"
    return ""
