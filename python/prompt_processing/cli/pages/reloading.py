"""Start a page's process again when its code changes, for developers."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

import prompt_processing

__all__ = ["code_folders", "newest_change", "start_again"]

_SUFFIXES = frozenset({".py", ".js", ".css", ".html", ".yaml"})


def code_folders() -> list[Path]:
    """Return the folders with the code: of this process, and of PYTHONPATH, where it may come later."""
    named = [Path(one) for one in os.environ.get("PYTHONPATH", "").split(os.pathsep) if one]
    return [Path(prompt_processing.__file__).parent, *(one / "prompt_processing" for one in named)]


def newest_change(folders: Iterable[Path]) -> tuple[int, float]:
    """Return the number of source files below some folders, and the time of the newest change."""
    count, newest = 0, 0.0
    for folder in folders:
        for place, _, names in os.walk(folder):
            for name in names:
                if os.path.splitext(name)[1] in _SUFFIXES:
                    try:
                        changed = os.stat(os.path.join(place, name)).st_mtime
                    except FileNotFoundError:
                        # Editors replace files.
                        continue
                    count, newest = count + 1, max(newest, changed)
    return count, newest


def start_again() -> None:
    """Replace this process by a new one with the same command line."""
    sys.stderr.flush()
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
