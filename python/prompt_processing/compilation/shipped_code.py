"""Compiled functions in a container with a read-only file system.

Numba stores compiled code beside the sources, but looks there only if the folder is writable. In a
container it is not, and every pod would recompile for half a minute in its first visit.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Self

from numba.core.caching import InTreeCacheLocator

from prompt_processing.transport.private_folder import UntrustedFolderError, make_private

__all__ = ["ShippedCodeLocator"]

_LOG = logging.getLogger("lsst.prompt_processing.compilation")


class ShippedCodeLocator(InTreeCacheLocator):
    """Find compiled functions beside their sources, and keep new ones in the temporary folder.

    The temporary folder contains a link to each shipped file. Numba replaces files and never modifies
    them, so that a function compiled for further types replaces only the links of its own files.
    ``NUMBA_CACHE_LOCATOR_CLASSES`` names this class, in the containers.

    Numba executes the code in this folder, which is therefore private. If another user owns the folder, this
    process uses a new one.

    Parameters
    ----------
    py_func
        Function to compile.
    py_file
        Source file of the function.
    """

    def __init__(self, py_func: FunctionType, py_file: str) -> None:
        super().__init__(py_func, py_file)
        self._shipped = Path(super().get_cache_path())
        self._cache_path = str(_folder() / self.get_suitable_cache_subpath(py_file))

    @classmethod
    def from_function(cls, py_func: FunctionType, py_file: str) -> Self | None:
        """Return the locator of a function's compiled code; `None` without a writable folder."""
        found = super().from_function(py_func, py_file)
        if found is not None:
            found._link(py_file)
        return found

    def _link(self, py_file: str) -> None:
        folder = Path(self._cache_path)
        name = Path(py_file).stem
        for kind in ("nbi", "nbc"):
            for shipped in self._shipped.glob(f"{name}.*.{kind}"):
                link = folder / shipped.name
                # Another process may do the same; an existing file is newer than the shipped one.
                if not os.path.lexists(link):
                    try:
                        link.symlink_to(shipped)
                    except FileExistsError:
                        continue


@cache
def _folder() -> Path:
    """Return the private folder of this user's compiled code."""
    user = os.geteuid()
    folder = Path(tempfile.gettempdir(), f"prompt-compiled-{user}")
    try:
        return make_private(folder)
    except UntrustedFolderError as error:
        _LOG.error("Compiled code is not kept for the next process: %s", error)
    except OSError:
        # Numba detects the same error and reports it.
        return folder
    mine, maker = Path(tempfile.mkdtemp(prefix=f"{folder.name}-")), os.getpid()

    def remove() -> None:
        # Workers forked since then also use the folder.
        if os.getpid() == maker:
            shutil.rmtree(mine, ignore_errors=True)

    atexit.register(remove)
    return mine
