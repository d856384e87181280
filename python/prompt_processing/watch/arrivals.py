"""Find raws in a folder once they are complete.

The folder is polled, which works on every file system, network ones included. A FITS file states its own
length, so it is known to be complete without waiting for silence. Some programs allocate that length first:
where the kernel does not know whether a file is still open for writing, it must have been quiet for a moment.
"""

from __future__ import annotations

import fcntl
import gzip
import os
import signal
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from prompt_processing.butler.formatters_raw import RAW_ENDINGS
from prompt_processing.instruments.fits_cards import promised_length

__all__ = ["Arrival", "Folder"]

_QUIET_SECONDS = 0.2
"""Seconds without change after which a file of full length is complete: some programs allocate it first."""
_FRESH_SECONDS = 5.0
"""Seconds after its last change for which a file that is not complete yet is looked at again at once."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A complete file, or one that will never be complete.

    Attributes
    ----------
    path
        Absolute path.
    size, modified_ns
        Size (bytes) and time of modification (Unix ns).
    problem
        Why it is not a raw; empty if it may be one.
    """

    path: Path
    size: int
    modified_ns: int
    problem: str = ""


class Folder:
    """A folder in which raws appear.

    Parameters
    ----------
    path
        Folder; folders in it are searched too, but hidden ones are not.
    patience
        Seconds without change after which a file that is still incomplete is given up.
    """

    def __init__(self, path: Path, patience: float = 60.0, now: Callable[[], float] = time.time) -> None:
        self.path = path
        self._patience = patience
        self._now = now
        self._folders: dict[Path, int] = {}
        self._has_fresh = False

    def look(self, known: Callable[[Path, int, int], bool]) -> Iterator[Arrival]:
        """Yield the complete files, oldest first.

        Parameters
        ----------
        known
            Returns whether a file of a path, size and time of modification is of no interest any more.
        """
        found = []
        self._folders, self._has_fresh = {}, False
        for path in _files(self.path, self._folders):
            try:
                status = path.stat()
            except OSError:
                # It was renamed: the next look finds it under its new name.
                continue
            if not known(path, status.st_size, status.st_mtime_ns):
                # A file that was renamed or got its times set after the last write is not written any more.
                is_final = status.st_ctime_ns > status.st_mtime_ns
                found.append((status.st_mtime_ns, path, status.st_size, is_final))
        for modified_ns, path, size, is_final in sorted(found):
            quiet = self._now() - modified_ns / 1e9
            if quiet < _QUIET_SECONDS and not is_final and not _has_no_writer(path):
                self._has_fresh = True
                continue
            problem = _problem(path, size)
            if problem is None:
                yield Arrival(path, size, modified_ns)
            elif quiet > self._patience:
                yield Arrival(path, size, modified_ns, problem)
            elif quiet < _FRESH_SECONDS:
                self._has_fresh = True

    def has_news(self) -> bool:
        """Return whether another look may find more than the last one: it costs little to ask.

        A folder's time of modification changes with each file that appears in it. Where a network file system
        shows an old one, the next regular look finds the file.
        """
        return self._has_fresh or any(_modified(folder) != then for folder, then in self._folders.items())


def _modified(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0


def _files(folder: Path, folders: dict[Path, int]) -> Iterator[Path]:
    """Yield the files whose names end like those of raws, and enter when their folders were modified."""
    # Before the files are listed, so that one that appears meanwhile is news.
    folders[folder] = _modified(folder)
    try:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        # A network file system may be away for a while.
        return
    for entry in listed:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _files(Path(entry.path), folders)
        elif entry.name.lower().endswith(RAW_ENDINGS):
            yield Path(entry.path).absolute()


def _has_no_writer(path: Path) -> bool:
    """Return whether the kernel knows that no process has a file open for writing.

    Only then Linux grants a lease for reading, to the owner of the file and on file systems with leases; see
    fcntl(2).
    """
    if not hasattr(fcntl, "F_SETLEASE"):
        return False
    try:
        with path.open("rb") as file:
            # A process that opens the file now is held up until the lease ends, of which a signal tells: one
            # that does nothing, not SIGIO, which would end this process.
            fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return False
    return True


def _problem(path: Path, size: int) -> str | None:
    """Return why a file is incomplete, or `None`."""
    if size == 0:
        return "The file is empty."
    try:
        if path.name.lower().endswith(".gz"):
            with gzip.open(path, "rb") as file:
                while file.read(1 << 20):
                    pass
            return None
        with path.open("rb") as file:
            promised = promised_length(file)
    except (EOFError, zlib.error):
        return "The file is truncated."
    except (OSError, ValueError) as error:
        return f"Not a FITS file: {error}"
    return None if size >= promised else f"The file is truncated: {size} of {promised} bytes."
