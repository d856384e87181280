"""A worker whose repositories, Kafka and bucket are make-believe, and whose story is the real one."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from lsst.resources import ResourcePath

from prompt_processing.activator.services.interruption import Interruption
from prompt_processing.activator.services.process_visit import ProcessVisit
from prompt_processing.activator.services.visit_rules import VisitRules
from prompt_processing.activator.services.wait_for_snaps import WaitForSnaps
from prompt_processing.activator.storage.image_bucket import ArrivedImage
from prompt_processing.domain.clock import utc_to_tai
from prompt_processing.domain.errors import RetriableError
from prompt_processing.domain.notices import ArrivalNotice
from prompt_processing.domain.selection import PipelineSelection, SelectionNode
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.instruments.camera import load_camera
from prompt_processing.nights.publishing import OutcomePublisher
from prompt_processing.telemetry.logs import LogContext
from prompt_processing.telemetry.metrics import Metrics
from prompt_processing.transport.arrival_notices import NoticesUnavailableError

NOW = 1_749_543_541.0
"""2025-06-10T08:19:01 UTC."""


def make_visit(**changes):
    return FannedOutVisit.parse(visit_message(**changes))


def visit_message(**changes):
    return {
        "salIndex": 2,
        "groupId": "2025-06-10T08:18:28.123",
        "coordinateSystem": 2,
        "position": [155.5, -4.25],
        "startTime": utc_to_tai(NOW) + 20.0,
        "rotationSystem": 2,
        "cameraAngle": 12.5,
        "filters": "r_57",
        "dome": 2,
        "duration": 5.0,
        "nimages": 1,
        "instrument": "LSSTCam",
        "survey": "wide",
        "private_sndStamp": utc_to_tai(NOW) - 1.5,
        "detector": 94,
        **changes,
    }


@dataclass
class Clock:
    """A clock that moves when somebody waits."""

    now: float = NOW

    def __call__(self):
        return self.now

    def wait(self, seconds):
        self.now += seconds


def image(exposure=2025061000578, arrival=NOW + 30.0):
    return ArrivedImage(ResourcePath(f"s3://raws/{exposure}.fits"), exposure, arrival)


@dataclass
class FakeNotices:
    """Notices by the time at which they come."""

    clock: Clock
    at: list = field(default_factory=list)
    up: bool = True
    log: list = field(default_factory=list)

    @property
    def connected(self):
        return self.up

    def start(self):
        self.log.append("subscribe")
        if not self.up:
            raise NoticesUnavailableError("Kafka is gone.")

    def poll(self, seconds):
        self.clock.wait(seconds)
        due = [notice for when, notice in self.at if when <= self.clock.now]
        self.at = [(when, notice) for when, notice in self.at if when > self.clock.now]
        return due if self.up else []

    def stop(self):
        self.log.append("unsubscribe")


@dataclass
class FakeImages:
    """A bucket whose images come at a time; a notice's key is the exposure."""

    clock: Clock
    at: list = field(default_factory=list)
    up: bool = True
    asked: int = 0

    def find(self, visit, now):
        self.asked += 1
        if not self.up:
            raise RetriableError("The image bucket is gone.")
        return [found for when, found in self.at if when <= self.clock.now]

    def identify(self, notice, visit):
        if not self.up:
            raise RetriableError("The image bucket is gone.")
        return image(int(notice.keys[0]), notice.arrival) if notice.keys[0].isdigit() else None


def notice(exposure=2025061000578, arrival=NOW + 30.0):
    return ArrivalNotice((str(exposure),), arrival)


@dataclass
class FakeRun:
    pipeline: str = "ApPipe"
    metadata: dict = field(
        default_factory=lambda: {
            "associateApdb": {
                "associateApdb": {
                    "numDiaSources": 7,
                    "numAlertsSent": 7,
                    "alertsLastAckUnix": NOW + 41.0,
                    "alertsSeconds": 0.0,
                }
            }
        }
    )
    seconds: dict = field(default_factory=lambda: {"isr": 1.0, "associateApdb": 2.0})


@dataclass
class FakeWorkspace:
    """Remembers what it was asked; each step may do something, such as to fail."""

    during: dict = field(default_factory=dict)
    log: list = field(default_factory=list)
    images: tuple = ()
    usable: int | None = None
    run: FakeRun = field(default_factory=FakeRun)
    runs: dict = field(default_factory=dict)

    def _step(self, name):
        self.log.append(name)
        if name in self.during:
            self.during[name]()

    def preload(self):
        self._step("preload")

    def run_preprocessing(self):
        self._step("preprocessing")

    def ingest(self, images):
        self._step("ingest")
        self.images = tuple(images)
        exposures = tuple(int(uri.basename().removesuffix(".fits")) for uri in images)
        return exposures[: self.usable]

    def run_pipeline(self):
        self._step("pipeline")
        return self.run

    def export(self):
        self._step("export")
        return 12

    def clean(self):
        self._step("clean")


@dataclass
class World:
    """Everything of a worker, to be changed by a test before a visit."""

    clock: Clock = field(default_factory=Clock)
    workspace: FakeWorkspace = field(default_factory=FakeWorkspace)
    notices: FakeNotices = field(init=False)
    images: FakeImages = field(init=False)
    apdb: list = field(default_factory=lambda: [False])
    """Answers of the APDB, the last one for ever."""
    preprocessing: tuple = ("Preprocessing.yaml",)
    main: tuple = ("ApPipe.yaml", "SingleFrame.yaml")
    timeout: float = 600.0
    grace: float = 30.0
    metrics: Metrics = field(default_factory=lambda: Metrics("LSSTCam"))
    log_context: LogContext = field(default_factory=lambda: LogContext("LSSTCam"))
    open_failure: Exception | None = None
    publisher: OutcomePublisher | None = None

    def __post_init__(self):
        self.notices = FakeNotices(self.clock, log=self.workspace.log)
        self.images = FakeImages(self.clock)

    NOW = NOW
    visit = staticmethod(make_visit)
    message = staticmethod(visit_message)
    image = staticmethod(image)
    notice = staticmethod(notice)

    def in_apdb(self, exposures, detector):
        return self.apdb.pop(0) if len(self.apdb) > 1 else self.apdb[0]

    def open_workspace(self, visit, pipelines):
        if self.open_failure is not None:
            raise self.open_failure
        return self.workspace

    def snaps(self):
        return WaitForSnaps(
            self.notices,
            self.images,
            20.0,
            asking_interval=3.0,
            now=self.clock,
            monotonic=self.clock,
            sleep=self.clock.wait,
        )

    def service(self):
        return ProcessVisit(
            VisitRules(
                load_camera("LSSTCam"),
                PipelineSelection((SelectionNode(self.preprocessing, survey="wide"), SelectionNode(()))),
                PipelineSelection(
                    (SelectionNode(self.main, survey="wide"), SelectionNode((), survey="skip"))
                ),
                expiration=3600.0,
            ),
            self.open_workspace,
            self.snaps(),
            self.in_apdb,
            Interruption(self.timeout, self.grace),
            self.metrics,
            self.log_context,
            publisher=self.publisher,
            start_afresh=lambda: self.workspace.log.append("start afresh"),
            now=self.clock,
        )

    def process(self, **changes):
        return self.service().process(make_visit(**changes))


@pytest.fixture
def world():
    """A worker to which the image is announced half a minute after its visit."""
    world = World()
    world.notices.at = [(NOW + 5.0, notice(arrival=NOW + 30.0))]
    return world
