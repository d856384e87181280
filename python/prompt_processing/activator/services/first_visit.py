"""Load in the background what the first visit of a worker would otherwise load."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from importlib import import_module

__all__ = ["STEPS", "FirstVisit"]

_LOG = logging.getLogger("lsst.activator.services.first_visit")

_MODULES = (
    "prompt_processing.activator.services.workspace",
    "prompt_processing.butler.formatters_raw",
    "prompt_processing.butler.formatters_tables",
    "prompt_processing.butler.readers",
    "prompt_processing.images.afw.exposure",
    "prompt_processing.images.layout.archive",
    "lsst.daf.butler.formatters.json",
    "lsst.daf.butler.formatters.logs",
    "lsst.daf.butler.formatters.parquet",
    "lsst.daf.butler.formatters.yaml",
    "lsst.images",
    "scipy.interpolate",
    "scipy.sparse.csgraph",
)
"""Modules that are imported only when a visit needs them, most of them for a type of files."""

_LONGEST_END = 5.0
"""Seconds that the end of the process waits for a step."""


def _import_modules() -> None:
    for module in _MODULES:
        import_module(module)


def _load_calibration() -> None:
    from prompt_processing.compilation.calibration import compile_calibration

    compile_calibration()


def _load_difference_imaging() -> None:
    from prompt_processing.compilation.difference import compile_difference_imaging

    compile_difference_imaging()


def _find_versions() -> None:
    from lsst.utils.packages import Packages

    # Found once for the process, and part of each pipeline's provenance.
    Packages.fromSystem(include_all=True)


STEPS: Mapping[str, Callable[[], None]] = {
    "readers and writers of files": _import_modules,
    "compiled code of the calibration": _load_calibration,
    "compiled code of difference imaging": _load_difference_imaging,
    "versions of all packages": _find_versions,
}
"""What to load, in the order in which a visit needs it."""


class FirstVisit:
    """Loads what the first visit needs, in a thread.

    A worker accepts visits meanwhile. A visit that needs what is not loaded yet loads it, or waits for the
    module or function that is being loaded. Images come long after their announcement, when all is loaded.

    Parameters
    ----------
    steps
        What to load, by name.
    """

    def __init__(self, steps: Mapping[str, Callable[[], None]] = STEPS) -> None:
        self._steps = steps
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="first-visit", daemon=True)

    def begin(self) -> None:
        """Begin to load."""
        self._thread.start()

    def wait(self) -> None:
        """Wait until all is loaded."""
        self._thread.join()

    def end(self) -> None:
        """Begin no further step, and wait for the present one."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_LONGEST_END)

    def _run(self) -> None:
        for name, load in self._steps.items():
            if self._stop.is_set():
                return
            try:
                load()
            # A visit that needs it raises the same error, and has an outcome.
            except Exception:  # noqa: BLE001
                _LOG.exception("Cannot load the %s before the first visit.", name)
