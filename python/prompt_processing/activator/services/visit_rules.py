"""Decide which visits a worker accepts, and which pipelines run for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from prompt_processing.domain.errors import InvalidVisitError, StaleVisitError
from prompt_processing.domain.selection import PipelineSelection
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.instruments.camera import Camera
from prompt_processing.instruments.geometry import detector_centre
from prompt_processing.settings.worker import Settings


@dataclass(frozen=True, slots=True)
class VisitPipelines:
    """Pipelines that the configuration selects for one visit.

    Attributes
    ----------
    preprocessing, main : `tuple` [`str`]
        Paths of the pipelines before and after the images' arrival, best first; empty to run nothing.
    """

    preprocessing: tuple[str, ...]
    main: tuple[str, ...]


@dataclass(frozen=True)
class VisitRules:
    """Rules for accepting visits and choosing their pipelines.

    Attributes
    ----------
    camera : `~prompt_processing.instruments.camera.Camera`
        The instrument.
    preprocessing, main : `~prompt_processing.domain.selection.PipelineSelection`
        Pipelines before and after the images' arrival.
    expiration : `float`
        Seconds after which a visit is stale.
    """

    camera: Camera
    preprocessing: PipelineSelection
    main: PipelineSelection
    expiration: float

    @classmethod
    def from_settings(cls, settings: Settings, camera: Camera) -> Self:
        """Make the rules from a worker's settings."""
        return cls(
            camera=camera,
            preprocessing=settings.preprocessing_pipelines_config,
            main=settings.main_pipelines_config,
            expiration=settings.message_expiration,
        )

    def require_acceptable(self, visit: FannedOutVisit, now_unix_utc: float) -> None:
        """Refuse a visit that cannot or need not be processed.

        Parameters
        ----------
        visit : `~prompt_processing.domain.visit.FannedOutVisit`
            The visit.
        now_unix_utc : `float`
            Current time, Unix seconds, UTC.

        Raises
        ------
        InvalidVisitError
            Raised for unusable fields, another instrument, or a detector
            that the instrument does not have.
        StaleVisitError
            Raised if it was published too long ago.
        """
        age = visit.age(now_unix_utc)
        if age > self.expiration:
            raise StaleVisitError(f"The visit is {age:.0f} s old; after {self.expiration:g} s it is stale.")
        visit.require_usable()
        if visit.instrument != self.camera.name:
            raise InvalidVisitError(f"This worker is for {self.camera.name}, not for {visit.instrument}.")
        if visit.detector not in self.camera.detectors:
            raise InvalidVisitError(f"{self.camera.name} has no detector {visit.detector}.")

    def pipelines(self, visit: FannedOutVisit) -> VisitPipelines:
        """Choose the pipelines of a visit.

        Parameters
        ----------
        visit : `~prompt_processing.domain.visit.FannedOutVisit`
            The visit.

        Returns
        -------
        pipelines : `VisitPipelines`
            Pipelines to run.

        Raises
        ------
        NonRetriableError
            Raised if no node of the configuration matches the visit.
        """

        def centre() -> tuple[float, float] | None:
            if visit.ra is None or visit.dec is None or visit.rotation is None:
                return None
            detector = self.camera.detector(visit.detector)
            return detector_centre(self.camera, detector, visit.ra, visit.dec, visit.rotation)

        return VisitPipelines(self.preprocessing.select(visit, centre), self.main.select(visit, centre))
