"""The Python types that this package keeps under the field's storage class names.

A repository records only the names (``ExposureF``, ``Defects``, ...). The
middleware maps them to types of packages that PyPI does not have; the files
in ``config`` beside this module map them to ours. The middleware finds them by
its own search path, so nothing is written into a repository and one made
elsewhere opens unchanged.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_SEARCH_PATH_VARIABLE = "DAF_BUTLER_CONFIG_PATH"
CONFIG_FOLDER = Path(__file__).parent / "config"


def use_butler_types() -> None:
    """Make this package's types those of this process and of its children.

    Each entry point calls it once, before the first `~lsst.daf.butler.Butler`
    is opened; calling it again changes nothing.
    """
    folders = [folder for folder in os.environ.get(_SEARCH_PATH_VARIABLE, "").split(os.pathsep) if folder]
    if str(CONFIG_FOLDER) in folders:
        return
    os.environ[_SEARCH_PATH_VARIABLE] = os.pathsep.join([str(CONFIG_FOLDER), *folders])
    # A middleware that is not loaded yet will read the variable; one that is has read the search path without it.
    if "lsst.daf.butler" in sys.modules:
        from lsst.daf.butler import StorageClassFactory

        StorageClassFactory().reset()
