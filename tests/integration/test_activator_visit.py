"""The story of a visit over real repositories and the real pipeline executor."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import butler_world as world
import pytest
from butler_fixtures import Worker
from lsst.daf.butler import Butler
from lsst.resources import ResourcePath

from prompt_processing.activator.services.interruption import Interruption
from prompt_processing.activator.services.process_visit import ProcessVisit
from prompt_processing.activator.services.visit_rules import VisitRules
from prompt_processing.activator.services.wait_for_snaps import WaitForSnaps
from prompt_processing.activator.storage.image_bucket import ArrivedImage
from prompt_processing.domain.clock import tai_to_utc
from prompt_processing.domain.notices import ArrivalNotice
from prompt_processing.domain.outcome import Outcome
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.telemetry.logs import LogContext
from prompt_processing.telemetry.metrics import Metrics

pytestmark = pytest.mark.integration

NOW = tai_to_utc(world.START.unix_tai)


class NoNotices:
    """Kafka that has nothing to tell."""

    connected = True

    def start(self) -> None:
        pass

    def poll(self, seconds: float) -> list[ArrivalNotice]:
        return []

    def stop(self) -> None:
        pass


class OneImage:
    """A bucket with one image of the visit."""

    def __init__(self, raw: ResourcePath) -> None:
        self._image = ArrivedImage(raw, world.EXPOSURE, NOW)

    def find(self, visit: FannedOutVisit, now_unix_utc: float) -> list[ArrivedImage]:
        return [self._image]

    def identify(self, notice: ArrivalNotice, visit: FannedOutVisit) -> ArrivedImage | None:
        return None


@pytest.fixture
def process(butler_worker: Worker) -> Callable[..., Outcome]:
    """Process a visit in one worker; keywords change the visit."""
    settings = butler_worker.settings

    def process(timeout: float = 300.0, **changed: Any) -> Outcome:
        service = ProcessVisit(
            VisitRules.from_settings(settings, butler_worker.camera),
            butler_worker.begin_visit,
            WaitForSnaps(NoNotices(), OneImage(butler_worker.raw()), 0.1),
            butler_worker.repositories.apdb.contains,
            Interruption(timeout, 30.0),
            Metrics(world.INSTRUMENT),
            LogContext(world.INSTRUMENT),
            now=lambda: NOW,
        )
        return service.process(world.make_visit(**changed))

    return process


def end(outcome: Outcome) -> tuple[int, str | None]:
    return outcome.status.http, outcome.retry


def terminate(*args: Any, **kwargs: Any) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(5.0)


def exported(butler_worker: Worker) -> int:
    with Butler.from_config(str(butler_worker.folder / "central")) as butler:
        return len(butler.query_all_datasets("LSSTCam/prompt/*", find_first=False, name="post_isr_image"))


def test_a_visit_goes_from_announcement_to_export(
    butler_worker: Worker, process: Callable[..., Outcome]
) -> None:
    outcome = process()
    assert end(outcome) == (200, None), outcome.reason
    assert outcome.pipeline == "ApPipe"
    assert outcome.exposures == (world.EXPOSURE,)
    assert set(outcome.stages) == {"queue", "preload", "wait", "ingest", "pipeline", "export"}
    assert set(outcome.tasks) == {"isr", "calibrateImage", "buildTemplate"}
    assert outcome.image_arrival == NOW
    assert exported(butler_worker) == 1


@pytest.mark.parametrize("task", ["PrepareTask", "IsrTask"])
def test_a_signal_inside_a_task_ends_the_visit_and_the_next_one_is_processed(
    butler_worker: Worker, process: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(getattr(world, task), "run", terminate)
        began = time.monotonic()
        assert end(process()) == (503, None)
        assert time.monotonic() - began < 30.0
    assert butler_worker.local_datasets().isdisjoint({"raw", "post_isr_image", "regionTimeInfo"})
    assert exported(butler_worker) == 0
    assert end(process(groupId="2025-06-10T03:00:00.000")) == (200, None)


def test_a_signal_after_the_apdb_was_written_forbids_a_retry(
    butler_worker: Worker, process: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []

    def write(*args: Any, **kwargs: Any) -> None:
        written.append(True)
        terminate()

    monkeypatch.setattr(butler_worker.repositories.apdb, "contains", lambda *args: bool(written))
    monkeypatch.setattr(world.TemplateTask, "run", write)
    assert end(process()) == (500, "unsafe")
