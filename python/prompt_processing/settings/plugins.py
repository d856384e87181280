"""Search the installed distributions for plugins once in a process."""

from __future__ import annotations

import functools
import os
from importlib import metadata
from typing import Any

__all__ = ["search_plugins_once"]


@functools.cache
def search_plugins_once() -> None:
    """Let all packages of this process share one search of the installed distributions.

    The registry of instruments, fsspec and networkx (twice) each read the entry points of all distributions,
    which takes a hundredth of a second for four hundred of them. Call this before they are imported.
    """
    search = metadata.entry_points

    @functools.cache
    def found() -> metadata.EntryPoints:
        return search()

    def entry_points(**parameters: Any) -> metadata.EntryPoints:
        return found().select(**parameters)

    metadata.entry_points = functools.wraps(search)(entry_points)
    # Its search is another one, and nothing here has plugins for it.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
