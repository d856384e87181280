"""A journal of the files that were processed, which survives a killed process."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

__all__ = ["Entry", "FileState", "Journal"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    path TEXT NOT NULL,
    size INTEGER NOT NULL,
    modified_ns INTEGER NOT NULL,
    detector INTEGER NOT NULL,
    exposure INTEGER,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    reason TEXT NOT NULL,
    changed REAL NOT NULL,
    PRIMARY KEY (path, size, modified_ns, detector)
)
"""


class FileState(StrEnum):
    """State of one detector of a file."""

    STARTED = "started"
    """Being processed, or by a process that died."""
    DONE = "done"
    SKIPPED = "skipped"
    """Nothing to do, for example a flat."""
    SET_ASIDE = "set aside"
    """It cannot be processed; the reason says why."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A detector of a file, and what became of it.

    Attributes
    ----------
    path
        Absolute path.
    size, modified_ns
        Size (bytes) and time of modification (Unix ns): a file that was overwritten is another file.
    detector
        Id; -1 for a file that cannot be read.
    state, reason
        Outcome.
    attempts
        Number of times that its processing was begun.
    exposure
        Exposure id, if known.
    """

    path: Path
    size: int
    modified_ns: int
    detector: int = -1
    state: FileState = FileState.STARTED
    reason: str = ""
    attempts: int = 0
    exposure: int | None = None


class Journal:
    """The files that were processed.

    Each change is on disk before the method returns.

    Parameters
    ----------
    path
        SQLite database, created if missing.
    """

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=30)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute(_SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the database."""
        self._connection.close()

    def settled(self, path: Path, size: int, modified_ns: int) -> bool:
        """Return whether all of a file's detectors that are known have an outcome."""
        states = [entry.state for entry in self._find(path, size, modified_ns)]
        return bool(states) and FileState.STARTED not in states

    def entry(self, path: Path, size: int, modified_ns: int, detector: int) -> Entry | None:
        """Return the entry of a file's detector."""
        return next(
            (entry for entry in self._find(path, size, modified_ns) if entry.detector == detector), None
        )

    def settled_exposure(self, exposure: int, detector: int) -> Entry | None:
        """Return the entry of a detector's exposure that was processed, perhaps from another file."""
        row = self._connection.execute(
            "SELECT * FROM files WHERE exposure = ? AND detector = ? AND state = ?",
            (exposure, detector, FileState.DONE),
        ).fetchone()
        return None if row is None else _entry(row)

    def write(self, entry: Entry) -> None:
        """Write an entry, or replace that of the same file and detector."""
        self._connection.execute(
            "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                str(entry.path),
                entry.size,
                entry.modified_ns,
                entry.detector,
                entry.exposure,
                entry.state,
                entry.attempts,
                entry.reason,
                time.time(),
            ),
        )

    def forget(self, state: FileState) -> int:
        """Make the images of a state new again; return their number."""
        # Deleted entries would leave the file settled, where it has other detectors that are done.
        known = self._connection.execute(
            "UPDATE files SET state = ?, attempts = 0, reason = '' WHERE state = ? AND detector >= 0",
            (FileState.STARTED, state),
        ).rowcount
        unreadable = self._connection.execute("DELETE FROM files WHERE state = ?", (state,)).rowcount
        return known + unreadable

    def entries(self, state: FileState | None = None) -> Iterator[Entry]:
        """Yield all entries, or those of a state, oldest first."""
        where, values = ("", ()) if state is None else (" WHERE state = ?", (state,))
        for row in self._connection.execute(f"SELECT * FROM files{where} ORDER BY changed", values):
            yield _entry(row)

    def _find(self, path: Path, size: int, modified_ns: int) -> list[Entry]:
        rows = self._connection.execute(
            "SELECT * FROM files WHERE path = ? AND size = ? AND modified_ns = ?",
            (str(path), size, modified_ns),
        )
        return [_entry(row) for row in rows]


def _entry(row: tuple[str, int, int, int, int | None, str, int, str, float]) -> Entry:
    path, size, modified_ns, detector, exposure, state, attempts, reason, _ = row
    return Entry(Path(path), size, modified_ns, detector, FileState(state), reason, attempts, exposure)
