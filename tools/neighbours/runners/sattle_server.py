"""Run Sattle's own request handlers and filter with one satellite of a fixed track.

Usage: sattle_server.py PYTHON_FOLDER PORT RA_BEGIN DEC_BEGIN RA_END DEC_END
The extension module that computes orbits, and the account at space-track.org, are not needed.
"""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections import defaultdict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from aiohttp import web

folder, port, *track = sys.argv[1:]
package = ModuleType("lsst.sattle")
package.__path__ = [str(Path(folder) / "lsst/sattle")]
sys.modules["lsst.sattle"] = package
package.sattle = sys.modules["lsst.sattle.sattle"] = ModuleType("lsst.sattle.sattle")  # type: ignore[attr-defined]
begin_ra, begin_dec, end_ra, end_dec = map(float, track)


def load(name: str) -> Any:
    parts = name.removeprefix("lsst.sattle.").split(".")
    path = Path(folder).joinpath("lsst/sattle", *parts).with_suffix(".py")
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    specification.loader.exec_module(module)
    return module


package.sattlePy = load("lsst.sattle.sattlePy")  # type: ignore[attr-defined]
load("lsst.sattle.pullCatalog")
applications = ModuleType("lsst.sattle.app")
applications.__path__ = [str(Path(folder) / "lsst/sattle/app")]
sys.modules["lsst.sattle.app"] = applications
constants = ModuleType("lsst.sattle.app.constants")
constants.LOGGING = {"version": 1}  # type: ignore[attr-defined]
sys.modules["lsst.sattle.app.constants"] = constants
main = load("lsst.sattle.app.main")


class Orbits:
    """In place of the task that needs the extension module."""

    def run(self, **_: Any) -> Any:
        return np.array([[[begin_ra, end_ra]], [[begin_dec, end_dec]]])


async def serve() -> None:
    application = web.Application()
    application.router.add_route("PUT", "/visit_cache", main.visit_handler)
    application.router.add_route("PUT", "/diasource_allow_list", main.diasource_handler)
    application["visit_satellite_cache"] = defaultdict(dict)
    application["tles"], application["tles_age"], application["sattleTask"] = [], [], Orbits()
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(port)).start()
    await asyncio.Event().wait()


asyncio.run(serve())
