"""Map the field's storage class names to the Python types of this package.

A repository records only the names (``ExposureF``, ``Defects``, ...). By
default the middleware maps them to types of packages that are not on PyPI. The
files in ``config`` beside this module map them to ours. The middleware finds
these files by its search path, so that nothing is written into a repository,
and a repository made elsewhere opens unchanged.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .recorded_formatters import use_recorded_formatters

_SEARCH_PATH_VARIABLE = "DAF_BUTLER_CONFIG_PATH"
CONFIG_FOLDER = Path(__file__).parent / "config"


def use_butler_types() -> None:
    """Use this package's types in this process and its children.

    Each entry point calls it once, before the first `~lsst.daf.butler.Butler`
    is opened; calling it again changes nothing. Files that other stacks have written are then read by the
    readers of this package, see `.recorded_formatters`.
    """
    use_recorded_formatters()
    folders = [folder for folder in os.environ.get(_SEARCH_PATH_VARIABLE, "").split(os.pathsep) if folder]
    if str(CONFIG_FOLDER) in folders:
        return
    os.environ[_SEARCH_PATH_VARIABLE] = os.pathsep.join([str(CONFIG_FOLDER), *folders])
    # Middleware that is imported later reads the variable; if it is loaded already, its cache must go.
    if "lsst.daf.butler" in sys.modules:
        from lsst.daf.butler import StorageClassFactory

        StorageClassFactory().reset()
