"""Stand-ins for packages of the stack that are not on PyPI and that the tested code only imports."""

from __future__ import annotations

import importlib
import sys
from unittest.mock import MagicMock

UNAVAILABLE = ("lsst.afw", "lsst.afw.cameraGeom", "lsst.afw.geom", "lsst.obs", "lsst.obs.base", "healpy")


def stand_in(*more: str) -> None:
    """Put stand-ins into `sys.modules`.

    Parameters
    ----------
    *more
        Further modules.
    """
    for name in (*UNAVAILABLE, *more):
        sys.modules[name] = module = MagicMock(name=name, __path__=[])
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(importlib.import_module(parent), child, module)
