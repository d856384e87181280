"""The folder of a worker's local repository, which is removed after any end of the worker."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import Self

from prompt_processing.transport.private_folder import is_private

_LOG = logging.getLogger("lsst.activator.storage.local_folder")

_PREFIX = "butler-"
_LOCK = "in-use"


class LocalFolder:
    """A new folder that belongs to this process.

    Create it with `make`. A killed process cannot remove its folder, but its lock is released. The next
    worker that makes a folder in the same directory removes all unlocked ones.

    Attributes
    ----------
    path : `~pathlib.Path`
        ``butler-????????`` below the configured directory.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def make(cls, parent: str) -> Self:
        """Remove the folders of dead workers, then make a new one.

        Parameters
        ----------
        parent : `str`
            Directory in which to make it.

        Raises
        ------
        OSError
            Raised if the folder cannot be made.
        """
        remove_left_behind(Path(parent))
        path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        unlocked = path / f"{_LOCK}.new"
        descriptor = os.open(unlocked, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # The lock is taken before other workers can see the file under this name.
        unlocked.rename(path / _LOCK)
        return cls(path, descriptor)

    def remove(self) -> None:
        """Remove the folder and its content."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def remove_left_behind(parent: Path) -> None:
    """Remove the folders of dead workers.

    Parameters
    ----------
    parent : `~pathlib.Path`
        Directory of the folders. Folders without a lock file stay, because they are being made or belong to
        other software. So do folders that other users can write to.
    """
    for path in parent.glob(f"{_PREFIX}????????"):
        try:
            if not is_private(path):
                continue
            descriptor = os.open(path / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            # Its worker is alive.
            continue
        else:
            shutil.rmtree(path, ignore_errors=True)
            _LOG.warning("Removed the local repository %s of a worker that ended abnormally.", path)
        finally:
            os.close(descriptor)
