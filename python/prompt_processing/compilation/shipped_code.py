"""Compiled functions in a container whose file system cannot be written.

Numba keeps what it compiled beside the sources, but looks there only if it can also write there. In a
container nobody can; it would compile everything again in every pod, half a minute of the first visit.
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

    The temporary folder gets a link to each file that is shipped. Numba replaces files and never changes
    one, so that a function that is compiled for further types replaces the links of its own files only.
    ``NUMBA_CACHE_LOCATOR_CLASSES`` names this class, in the containers.

    Numba runs what it finds there. The folder is therefore private; if somebody else has made it before, this
    process uses a new one.

    Parameters
    ----------
    py_func
        Function that is compiled.
    py_file
        Its source.
    """

    def __init__(self, py_func: FunctionType, py_file: str) -> None:
        super().__init__(py_func, py_file)
        self._shipped = Path(super().get_cache_path())
        self._cache_path = str(_folder() / self.get_suitable_cache_subpath(py_file))

    @classmethod
    def from_function(cls, py_func: FunctionType, py_file: str) -> Self | None:
        """Return where a function's compiled code is; `None` if there is no place that can be written."""
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
                # Another process may be doing the same; a file of that name is newer than what was shipped.
                if not os.path.lexists(link):
                    try:
                        link.symlink_to(shipped)
                    except FileExistsError:
                        continue


@cache
def _folder() -> Path:
    """Return the folder of compiled code, which is this user's alone."""
    user = os.geteuid()
    folder = Path(tempfile.gettempdir(), f"prompt-compiled-{user}")
    try:
        return make_private(folder)
    except UntrustedFolderError as error:
        _LOG.error("Compiled code is not kept for the next process: %s", error)
    except OSError:
        # Numba finds that out as well, and says so.
        return folder
    mine, maker = Path(tempfile.mkdtemp(prefix=f"{folder.name}-")), os.getpid()

    def remove() -> None:
        # Workers that were forked since use it, too.
        if os.getpid() == maker:
            shutil.rmtree(mine, ignore_errors=True)

    atexit.register(remove)
    return mine
