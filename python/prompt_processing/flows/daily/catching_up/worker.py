"""Process what is missing with the worker's own code, from raws that are known."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from lsst.resources import ResourcePath

from prompt_processing.activator.factory import Factory, ProcessContext
from prompt_processing.activator.services.wait_for_snaps import WaitForSnaps
from prompt_processing.activator.storage.image_bucket import ArrivedImage
from prompt_processing.butler.types import use_butler_types
from prompt_processing.domain.notices import ArrivalNotice
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.initializer.night import InitializedNights
from prompt_processing.instruments.camera import Camera
from prompt_processing.settings.worker import Settings

from .gaps import Arrived

__all__ = ["CatchUpWorker", "Processed", "Work", "process_works", "worker_settings"]

_log = logging.getLogger("lsst.flows.catching_up")

_ANY_AGE_S = 1e10
"""A visit is never too old to be caught up with."""


@dataclass(frozen=True, slots=True)
class Work:
    """One detector of one visit, on its way to the process that works on it.

    Attributes
    ----------
    visit
        The fanned-out visit, JSON.
    """

    visit: str
    raws: tuple[Arrived, ...]


@dataclass(frozen=True, slots=True)
class Processed:
    """What became of it."""

    group: str
    detector: int
    status: str
    reason: str


def worker_settings(**overrides: object) -> Settings:
    """Return the worker's settings from the environment, for visits of any age.

    Raises
    ------
    SettingsError
        Raised with all settings that are missing or malformed.
    """
    return Settings.load(**{"message_expiration": _ANY_AGE_S, **overrides})


def process_works(works: Sequence[Work]) -> list[Processed]:
    """Process visits of one detector, in their order, with the settings of this process's environment."""
    worker = CatchUpWorker(worker_settings())
    try:
        return [worker.process(work) for work in works]
    finally:
        worker.close()


class CatchUpWorker:
    """A worker that is given its images.

    Parameters
    ----------
    settings
        See `worker_settings`.
    camera
        The instrument; by default the one that the settings name.
    """

    def __init__(self, settings: Settings, camera: Camera | None = None) -> None:
        use_butler_types()
        self._context = ProcessContext(settings, camera, _NoNotices())
        self._context.unsent_alerts.begin()
        self._snaps = _GivenSnaps()
        self._nights = InitializedNights(settings)
        self._service = Factory(self._context).process_visit(self._snaps)

    def process(self, work: Work) -> Processed:
        """Process one detector of one visit; a failure is an outcome."""
        self._nights.begin()
        visit = FannedOutVisit.parse(json.loads(work.visit))
        self._snaps.images = [ArrivedImage(ResourcePath(raw.uri), raw.exposure, raw.at) for raw in work.raws]
        outcome = self._service.process(visit)
        return Processed(visit.groupId, visit.detector, outcome.status.label, outcome.reason)

    def close(self) -> None:
        """Close all connections, and remove the local repository."""
        self._context.close()


class _NoNotices:
    """No topic is asked, and none need be there."""

    connected = False

    def start(self) -> None:
        """Do nothing."""

    def poll(self, seconds: float) -> list[ArrivalNotice]:
        """Return nothing."""
        return []

    def stop(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class _GivenSnaps(WaitForSnaps):
    """Images that have all arrived: no notice and no bucket is asked."""

    def __init__(self) -> None:
        self.images: list[ArrivedImage] = []

    def subscribe(self) -> None:
        """Do nothing."""

    def unsubscribe(self) -> None:
        """Do nothing."""

    def collect(self, visit: FannedOutVisit) -> tuple[ArrivedImage, ...]:
        """Return the images of the visit that is processed now."""
        return tuple(self.images)
