"""What is made once in a session, whichever process of pytest-xdist needs it first."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

__all__ = ["made_once"]


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder that all processes of this session share, and that none may change.

    Parameters
    ----------
    factory
        Maker of temporary folders of this process.
    name
        Name of the folder.
    make
        Fills the folder. If it fails, the next process that needs the folder tries again.
    """
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        # The folder of the session has one folder for each process.
        root = root.parent
    folder, complete = root / f"once-{name}", root / f"once-{name}.complete"
    with (root / f"once-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            complete.touch()
    return folder
