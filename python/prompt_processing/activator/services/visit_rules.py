"""Which visits a worker takes, and what it does with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from prompt_processing.domain.errors import InvalidVisitError, StaleVisitError
from prompt_processing.domain.selection import PipelineSelection
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.instruments.camera import Camera
from prompt_processing.instruments.geometry import detector_centre


@dataclass(frozen=True)
class VisitRules:
    """What is accepted, and which pipelines it gets.

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

    def require_acceptable(self, visit: FannedOutVisit, now_unix_utc: float) -> None:
        """Refuse a visit that cannot or need not be processed.

        Parameters
        ----------
        visit : `~prompt_processing.domain.visit.FannedOutVisit`
            The visit.
        now_unix_utc : `float`
            The time now.

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

    def pipelines(self, visit: FannedOutVisit) -> tuple[bool, bool]:
        """Tell whether a visit gets preprocessing and main pipelines.

        Parameters
        ----------
        visit : `~prompt_processing.domain.visit.FannedOutVisit`
            The visit.

        Returns
        -------
        preprocessing, main : `bool`
            Whether there is anything to run.

        Raises
        ------
        NonRetriableError
            Raised if the configuration has nothing to say about it.
        """
        centre = self.centre_of(visit)
        return bool(self.preprocessing.select(visit, centre)), bool(self.main.select(visit, centre))

    def centre_of(self, visit: FannedOutVisit) -> Callable[[], tuple[float, float] | None]:
        """Give a function that computes where the detector looks, ICRS degrees."""

        def centre() -> tuple[float, float] | None:
            if visit.ra is None or visit.dec is None or visit.rotation is None:
                return None
            detector = self.camera.detector(visit.detector)
            return detector_centre(self.camera, detector, visit.ra, visit.dec, visit.rotation)

        return centre
