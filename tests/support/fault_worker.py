"""The real workers on a small camera, with gates at which a test can pause them.

``python -m fault_worker`` is a stream worker; ``fault_worker:create()`` is gunicorn's application; forks of
`fault_nursery` call `run`. A file ``<FAULT_GATES>/closed-<name>`` closes a gate; a process that waits there
leaves ``at-<name>``.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import watch_process
from butler_world import small_camera
from flask import Flask

import prompt_processing.tasks.associate_apdb as associate_apdb
from prompt_processing.activator.app import create_app
from prompt_processing.activator.factory import ProcessContext
from prompt_processing.activator.services import export_through_writer
from prompt_processing.activator.services.pipelines import PipelineResult
from prompt_processing.activator.services.process_visit import ProcessVisit
from prompt_processing.activator.services.visit_rules import VisitPipelines
from prompt_processing.activator.services.wait_for_snaps import WaitForSnaps
from prompt_processing.activator.services.workspace import Workspace
from prompt_processing.activator.stream_worker import load_settings, serve
from prompt_processing.alerts.sender import AlertsOnDemand
from prompt_processing.butler import export
from prompt_processing.butler.types import use_butler_types
from prompt_processing.butler_writer.process import run_writer
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.settings.worker import Settings

GATES = (
    "preload",
    "wait",
    "ingest",
    "pipeline",
    "apdb",
    "alerts",
    "sending",
    "export",
    "copied",
    "exported",
)
"""In the order of a visit: ``apdb`` before the write, ``alerts`` after it, ``sending`` with half of them in
flight, ``copied`` after the outputs' files are copied but before their records, ``exported`` before the
outcome is recorded."""


def gate(name: str) -> None:
    """Wait while the gate is closed."""
    folder = Path(os.environ["FAULT_GATES"])
    closed = folder / f"closed-{name}"
    if closed.exists():
        (folder / f"at-{name}").touch()
        while closed.exists():
            time.sleep(0.02)


def _before(name: str, action: Callable[..., Any]) -> Callable[..., Any]:
    def gated(*arguments: Any, **keywords: Any) -> Any:
        gate(name)
        return action(*arguments, **keywords)

    return gated


def _after(name: str, action: Callable[..., Any]) -> Callable[..., Any]:
    def gated(*arguments: Any, **keywords: Any) -> Any:
        result = action(*arguments, **keywords)
        gate(name)
        return result

    return gated


def _in_the_middle(name: str, send: Callable[..., Any]) -> Callable[..., Any]:
    def halfway(alerts: Iterable[Any], stops: Iterator[bool]) -> Iterator[Any]:
        every = list(alerts)
        yield from every[: len(every) // 2]
        if next(stops, False):
            gate(name)
        yield from every[len(every) // 2 :]

    def gated(settings: Any, visit: int, detector: int, alerts: Iterable[Any], *rest: Any) -> Any:
        # A process that has to end iterates over them again, to keep them.
        stops = iter([True])
        return send(settings, visit, detector, AlertsOnDemand(lambda: halfway(alerts, stops)), *rest)

    return gated


class GatedWorkspace(Workspace):
    """A workspace with a gate before each of its steps."""

    def preload(self) -> Any:
        """See the base class."""
        gate("preload")
        return super().preload()

    def ingest(self, images: Sequence[Any]) -> tuple[int, ...]:
        """See the base class."""
        gate("ingest")
        return super().ingest(images)

    def run_pipeline(self) -> PipelineResult:
        """See the base class."""
        gate("pipeline")
        return super().run_pipeline()

    def export(self) -> int:
        """See the base class."""
        gate("export")
        return super().export()


class GatedContext(ProcessContext):
    """A context with gated workspaces."""

    def open_workspace(self, visit: FannedOutVisit, pipelines: VisitPipelines) -> Workspace:
        """See the base class."""
        return GatedWorkspace(self.repositories(), self.settings, visit, pipelines)


def _set_gates() -> None:
    use_butler_types()
    tasks: Any = associate_apdb
    tasks.write_visit_detector = _before("apdb", tasks.write_visit_detector)
    tasks.send_alerts = _before("alerts", _in_the_middle("sending", tasks.send_alerts))
    for module in (export, export_through_writer):
        module.copy_files = _after("copied", module.copy_files)  # type: ignore[attr-defined]
    WaitForSnaps.collect = _before("wait", WaitForSnaps.collect)  # type: ignore[method-assign]
    ProcessVisit.record = _before("exported", ProcessVisit.record)  # type: ignore[method-assign]


def prepare() -> None:
    """Import the workers' modules and find their versions once for all forks of this process."""
    from lsst.utils.packages import Packages

    from prompt_processing.alerts.packets import AlertEncoder
    from prompt_processing.tasks import load_dia_catalogs, standardize_dia_source

    small_camera()
    AlertEncoder()
    Packages.fromSystem(include_all=True)
    assert load_dia_catalogs
    assert standardize_dia_source


def run(program: str) -> int:
    """Run a stream worker, a writer or the processing of a folder until it ends."""
    if program == "writer":
        return run_writer()
    _set_gates()
    if program == "watch":
        watch_process.main(Path.cwd())
        return 0
    context = GatedContext(load_settings(), small_camera())
    context.start_logging()
    return serve(context)


def create() -> Flask:
    """Make gunicorn's application."""
    _set_gates()
    context = GatedContext(Settings.load(), small_camera())
    context.start_logging()
    context.warm()
    return create_app(context)


if __name__ == "__main__":
    sys.exit(run("worker"))
