"""Tell the Butler which Python types this package keeps under the field's storage class names.

A repository records only the names (``ExposureF``, ``Defects``, ...). The
middleware maps them to types of packages that PyPI does not have; the files
beside this module map them to ours. They are found by the middleware's own
search path, so nothing is written into a repository and one made elsewhere
opens unchanged.
"""

from __future__ import annotations

import os
from pathlib import Path

from lsst.daf.butler import StorageClassFactory

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
    # The factory may have been filled by an import; it reads the search path again.
    StorageClassFactory().reset()
