"""The folder of a worker's local repository, which ends with the worker, however that ends."""

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
    """A new folder that is this process's as long as it lives.

    Make it with `make`. A process that is killed cannot remove its folder, but its lock goes with it: the
    next worker that makes a folder beside it removes those that nobody holds.

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
        """Make a folder, and remove those of dead workers first.

        Parameters
        ----------
        parent : `str`
            Directory to make it in.

        Raises
        ------
        OSError
            Raised if that is not possible.
        """
        remove_left_behind(Path(parent))
        path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        unlocked = path / f"{_LOCK}.new"
        descriptor = os.open(unlocked, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Under this name it is never seen without its lock.
        unlocked.rename(path / _LOCK)
        return cls(path, descriptor)

    def remove(self) -> None:
        """Remove the folder and all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def remove_left_behind(parent: Path) -> None:
    """Remove the folders of dead workers.

    Parameters
    ----------
    parent : `~pathlib.Path`
        Directory of the folders. Those without a lock stay: they are being made, or are not ours. So do
        those that somebody else can write to.
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
            # Its worker lives.
            continue
        else:
            shutil.rmtree(path, ignore_errors=True)
            _LOG.warning("Removed the local repository %s of a worker that did not end in order.", path)
        finally:
            os.close(descriptor)
