"""Folders that only this user can write to, even below a directory that everyone can write to."""

from __future__ import annotations

import os
import stat
from pathlib import Path

__all__ = ["UntrustedFolderError", "is_private", "make_private", "require_private"]

_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class UntrustedFolderError(OSError):
    """Another user may have written to a folder, so its content must not be used."""


def make_private(folder: Path) -> Path:
    """Make a folder that only this user can enter, or check that an existing one belongs to this user.

    Parameters
    ----------
    folder : `~pathlib.Path`
        The folder; its parents are made as well, with default permissions.

    Returns
    -------
    folder : `~pathlib.Path`
        The same folder, with mode 0700.

    Raises
    ------
    UntrustedFolderError
        Raised if the folder belongs to another user, if others can write to it, or if it is a link.
    OSError
        Raised if the folder cannot be made.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        require_private(folder)
        folder.chmod(0o700)
    return folder


def require_private(folder: Path) -> None:
    """Refuse a folder that another user may have written to.

    Parameters
    ----------
    folder : `~pathlib.Path`
        An existing folder.

    Raises
    ------
    UntrustedFolderError
        Raised if the folder belongs to another user, if others can write to it, or if it is a link.
    FileNotFoundError
        Raised if the folder does not exist.
    """
    found = folder.lstat()
    user = os.geteuid()
    if stat.S_ISLNK(found.st_mode):
        raise UntrustedFolderError(
            f"{folder} is a symbolic link: remove it, or name the folder it points to."
        )
    if not stat.S_ISDIR(found.st_mode):
        raise UntrustedFolderError(f"{folder} is not a folder: remove it, or name another one.")
    if found.st_uid != user:
        raise UntrustedFolderError(
            f"{folder} belongs to user {found.st_uid}, but this process runs as user {user}: "
            "name a folder that belongs to this user, or run as the other user."
        )
    if found.st_mode & _WRITABLE_BY_OTHERS:
        raise UntrustedFolderError(
            f"Others can write to {folder} (mode {stat.S_IMODE(found.st_mode):04o}): check its content, "
            "then chmod 700."
        )


def is_private(folder: Path) -> bool:
    """Return whether a folder exists and only this user can have written to it."""
    try:
        require_private(folder)
    except OSError:
        return False
    return True
