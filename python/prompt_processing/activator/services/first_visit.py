"""Load in the background what the first visit of a worker would otherwise load."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib import import_module

from prompt_processing.activator.services.wait_for_snaps import Notices
from prompt_processing.domain.notices import ArrivalNotice
from prompt_processing.telemetry.handover import in_this_context

__all__ = ["STEPS", "FirstVisit", "LoadingWhileWaiting"]

_LOG = logging.getLogger("lsst.activator.services.first_visit")

_MODULES = (
    "boto3",
    "botocore.handlers",
    "prompt_processing.instruments.description.translator",
    "requests",
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

_GRACE = 1.0
"""Seconds before the first step: the visit for which a worker was started comes at once."""

_LONGEST_END = 5.0
"""Seconds that the end of the process waits for a step."""


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


STEPS: Mapping[str, Callable[[], object]] = {
    **{module: partial(import_module, module) for module in _MODULES},
    "compiled code of the calibration": _load_calibration,
    "compiled code of difference imaging": _load_difference_imaging,
    "versions of all packages": _find_versions,
}
"""What to load, in the order in which a visit needs it."""


class FirstVisit:
    """Loads what the first visit needs, in a thread, while the worker is idle.

    The worker is idle until a visit begins, and while it waits for the visit's images. In between, no further
    step begins: the visit would share the interpreter with it, and a visit whose images are there already has
    no time to wait. What is not loaded by then is loaded by the visit itself.

    Parameters
    ----------
    steps
        What to load, by name.
    grace
        Seconds before the first step.
    """

    def __init__(self, steps: Mapping[str, Callable[[], object]] = STEPS, *, grace: float = _GRACE) -> None:
        self._steps = steps
        self._grace = grace
        self._idle = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=in_this_context(self._run), name="first-visit", daemon=True)

    def begin(self) -> None:
        """Begin to load."""
        self._idle.set()
        self._thread.start()

    def pause(self) -> None:
        """Begin no further step until the worker is idle again."""
        self._idle.clear()

    @contextmanager
    def idle(self) -> Iterator[None]:
        """Load during a block in which the worker only waits."""
        self._idle.set()
        try:
            yield
        finally:
            self._idle.clear()

    def wait(self) -> None:
        """Wait until all is loaded."""
        self._thread.join()

    def end(self) -> None:
        """Begin no further step, and wait for the present one."""
        self._stop.set()
        self._idle.set()
        if self._thread.is_alive():
            self._thread.join(_LONGEST_END)

    def _run(self) -> None:
        self._stop.wait(self._grace)
        for name, load in self._steps.items():
            self._idle.wait()
            if self._stop.is_set():
                return
            try:
                load()
            # A visit that needs it raises the same error, and has an outcome.
            except Exception:  # noqa: BLE001
                _LOG.exception("Cannot load %s before the first visit.", name)


class LoadingWhileWaiting:
    """Arrival notices of a worker that loads what its first visit needs while it waits for them.

    Parameters
    ----------
    notices
        The notices.
    loading
        What is loaded meanwhile.
    """

    def __init__(self, notices: Notices, loading: FirstVisit) -> None:
        self._notices = notices
        self._loading = loading

    @property
    def connected(self) -> bool:
        """Whether neither a lost connection nor a refusal has been reported."""
        return self._notices.connected

    def start(self) -> None:
        """Fix the position: notices published from now on will be returned."""
        self._notices.start()

    def poll(self, seconds: float) -> list[ArrivalNotice]:
        """Return the notices that have arrived, or wait for the first one."""
        with self._loading.idle():
            return self._notices.poll(seconds)

    def stop(self) -> None:
        """Stop reading notices."""
        self._notices.stop()

    def close(self) -> None:
        """Close the connection."""
        self._notices.close()
