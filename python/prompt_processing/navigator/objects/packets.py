"""Find alert packets in a folder by the id of their source."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from prompt_processing.alerts.reading import AlertReader, UnreadableAlertError

__all__ = ["PacketFolder", "first_number"]

_MOST_FILES = 50_000
_HEAD = 16
_FRESH_S = 5.0


class PacketFolder:
    """Packets in a folder, one file each.

    Only the beginning of each file is read to index it: an alert begins with the id of its source.

    Parameters
    ----------
    folder
        Folder; it need not exist yet.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._paths: dict[int, Path] = {}
        self._seen: set[str] = set()
        self._looked = 0.0
        self._lock = threading.Lock()
        self._reader = AlertReader()

    def path(self, source: int) -> Path | None:
        """Return the file of a source's alert, if there is one."""
        with self._lock:
            if source not in self._paths and time.monotonic() > self._looked + _FRESH_S:
                self._look()
            return self._paths.get(source)

    def read(self, source: int) -> dict[str, Any] | None:
        """Return a source's alert, `None` if there is none.

        Raises
        ------
        OSError
            Raised if the file cannot be read, or is not an alert.
        """
        path = self.path(source)
        if path is None:
            return None
        try:
            return self._reader.decode(path.read_bytes())
        except UnreadableAlertError as error:
            raise OSError(f"{path.name}: {error}") from error

    def _look(self) -> None:
        self._looked = time.monotonic()
        try:
            files = sorted(self._folder.glob("*.avro"))
        except OSError:
            return
        for path in files[:_MOST_FILES]:
            if path.name in self._seen:
                continue
            self._seen.add(path.name)
            try:
                with path.open("rb") as file:
                    number = first_number(file.read(_HEAD))
            except OSError:
                continue
            if number is not None:
                self._paths[number] = path


def first_number(head: bytes) -> int | None:
    """Return the number with which a packet begins, framed or not; `None` if there is none.

    Parameters
    ----------
    head
        First bytes of the packet: an optional frame of five bytes, and Avro's variable-length integer.
    """
    # An id is not 0, so that a leading zero is the frame's.
    start = 5 if head[:1] == b"\0" else 0
    value = 0
    for place, byte in enumerate(head[start : start + 10]):
        value |= (byte & 0x7F) << (7 * place)
        if not byte & 0x80:
            return (value >> 1) ^ -(value & 1)
    return None
