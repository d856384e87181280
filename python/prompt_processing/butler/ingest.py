"""Ingest raw images into the local repository and define their visits."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from astropy.time import Time, TimeDelta
from lsst.daf.butler import Butler, DatasetRef, DimensionRecord, FileDataset, Timespan
from lsst.resources import ResourcePath
from lsst.sphgeom import ConvexPolygon

from prompt_processing.butler.collections import Collections
from prompt_processing.domain.clock import day_text
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.instruments.camera import Camera, Detector
from prompt_processing.instruments.errors import HeaderError, RawFileError
from prompt_processing.instruments.fits_cards import promised_length
from prompt_processing.instruments.geometry import detector_region
from prompt_processing.instruments.header_files import header_of_detector
from prompt_processing.instruments.headers import (
    Observation,
    exposure_dimension_record_fields,
    translate,
)

MAX_ROTATION_DIFFERENCE = 1.0
"""Largest difference between the rotation of an image and the announced one, degrees."""

_ONE_TO_ONE = 0
_VISIT_SYSTEM_NAMES = {0: "one-to-one", 1: "by-group-metadata", 2: "by-seq-start-end"}

VisitRecords = dict[str, list[DimensionRecord]]


class Destination(Protocol):
    """A repository that an `Ingester` can fill, such as `LocalRepository`."""

    folder: Path
    butler: Butler
    collections: Collections

    def insert(self, element: str, records: Iterable[DimensionRecord], *, replace: bool = False) -> None:
        """Insert dimension records; keep or replace existing ones."""


@dataclass(frozen=True, slots=True)
class IngestedExposure:
    """An image in the local repository.

    Attributes
    ----------
    exposure : `int`
        Exposure id, which is also the visit id.
    records : `dict`
        Dimension records by element, in order of insertion; without records
        of a visit if the header does not state the pointing.
    ref : `~lsst.daf.butler.DatasetRef`
        The raw.
    """

    exposure: int
    records: VisitRecords
    ref: DatasetRef


class Ingester:
    """Ingest the images of visits.

    Parameters
    ----------
    local : `Destination`
        The repository.
    camera : `Camera`
        The camera, for the regions of detectors.
    instrument_record : `~lsst.daf.butler.DimensionRecord`
        Record of the instrument in the central repository.
    filters : collection of `str`
        Physical filters of the central repository.
    padding_arcsec : `float`
        Margin around the detector's region, arcsec.
    """

    def __init__(
        self,
        local: Destination,
        camera: Camera,
        instrument_record: DimensionRecord,
        filters: Collection[str],
        padding_arcsec: float,
    ) -> None:
        self._local = local
        self._camera = camera
        self._instrument_record = instrument_record
        self._filters = filters
        self._padding_arcsec = padding_arcsec

    @cached_property
    def _outer(self) -> tuple[Detector, ...]:
        return outer_detectors(self._camera)

    def ingest(
        self, visit: FannedOutVisit, image: ResourcePath, known: Collection[int] = ()
    ) -> IngestedExposure:
        """Ingest one image.

        Parameters
        ----------
        visit : `FannedOutVisit`
            The visit that the image must belong to.
        image : `~lsst.resources.ResourcePath`
            The file.
        known : collection of `int`, optional
            Exposures of the visit that were ingested before.

        Returns
        -------
        ingested : `IngestedExposure`
            The ingested image.

        Raises
        ------
        RawError
            Raised if the file is truncated or of another detector, its header
            is incomplete, or its rotation differs from the announced one.
        OSError
            Raised if the file cannot be fetched.
        """
        # Beside the datastore, so that the last step is a rename.
        path = self._local.folder / "incoming" / image.basename()
        path.parent.mkdir(exist_ok=True)
        arrived = ResourcePath(str(path), forceDirectory=False)
        try:
            arrived.transfer_from(image, transfer="copy", overwrite=True)
            check_complete(path)
            observation = translate(header_of_detector(path, visit.detector), str(image))
            self._check(visit, observation, str(image))
            if observation.exposure_id in known:
                raise RawFileError(str(image), f"exposure {observation.exposure_id} is ingested already.")
            records = self.dimension_records(visit, observation)
            ref = self._enter(observation, records, arrived)
        finally:
            path.unlink(missing_ok=True)
        return IngestedExposure(observation.exposure_id, records, ref)

    def _check(self, visit: FannedOutVisit, observation: Observation, source: str) -> None:
        if observation.instrument != visit.instrument or observation.detector != visit.detector:
            raise RawFileError(
                source,
                f"it is of {observation.instrument} detector {observation.detector}, "
                f"not {visit.instrument} detector {visit.detector}.",
            )
        if observation.physical_filter not in self._filters:
            # The database would only report a violated constraint.
            raise RawFileError(
                source, f"the central repository does not have its filter {observation.physical_filter!r}."
            )
        if visit.rotation is None:
            return
        if observation.rotation is None:
            raise HeaderError("ROTPA", "the image has no rotation on the sky.", source)
        difference = (observation.rotation - visit.rotation + 180.0) % 360.0 - 180.0
        if abs(difference) > MAX_ROTATION_DIFFERENCE:
            raise RawFileError(
                source,
                f"its rotation is {observation.rotation:.2f} degrees, not {visit.rotation:.2f} as announced.",
            )

    def dimension_records(self, visit: FannedOutVisit, observation: Observation) -> VisitRecords:
        """Make the dimension records of an exposure and its visit.

        Parameters
        ----------
        visit : `FannedOutVisit`
            The visit; its group overrides that of the header.
        observation : `Observation`
            Values of the header.

        Returns
        -------
        records : `dict` [`str`, `list`]
            Records by element, in order of insertion; no visit without a region.
        """
        universe = self._local.butler.dimensions

        def make(element: str, **fields: Any) -> DimensionRecord:
            accepted = universe[element].RecordClass.fields.names
            return universe[element].RecordClass(
                instrument=visit.instrument,
                **{key: value for key, value in fields.items() if key in accepted},
            )

        exposure = dict(exposure_dimension_record_fields(observation))
        exposure.pop("instrument", None)
        exposure["group"] = visit.groupId
        timespan = Timespan(observation.begin, observation.end)
        exposure["timespan"] = timespan
        records: VisitRecords = {
            "day_obs": [make("day_obs", id=observation.day_obs, timespan=_night_timespan(observation))],
            "group": [make("group", name=visit.groupId)],
            "exposure": [make("exposure", **exposure)],
        }
        regions = self._regions(observation)
        if regions is None:
            return records
        detector, whole_camera = regions
        systems = sorted({_ONE_TO_ONE, self._instrument_record.visit_system or _ONE_TO_ONE})
        number = observation.exposure_id
        records["visit_system"] = [
            make("visit_system", id=system, name=_VISIT_SYSTEM_NAMES.get(system, str(system)))
            for system in systems
        ]
        records["visit"] = [
            make(
                "visit",
                **_visit_fields(exposure),
                id=number,
                name=observation.obs_id,
                timespan=timespan,
                region=whole_camera,
            )
        ]
        records["visit_definition"] = [make("visit_definition", visit=number, exposure=number)]
        records["visit_system_membership"] = [
            make("visit_system_membership", visit=number, visit_system=system) for system in systems
        ]
        records["visit_detector_region"] = [
            make("visit_detector_region", visit=number, detector=visit.detector, region=detector)
        ]
        return records

    def _regions(self, observation: Observation) -> tuple[ConvexPolygon, ConvexPolygon] | None:
        """Return the regions of the detector and the whole camera, if the header states the pointing."""
        ra, dec, rotation = observation.ra, observation.dec, observation.rotation
        if ra is None or dec is None or rotation is None:
            return None
        camera = self._camera
        region = detector_region(
            camera,
            camera.detector(observation.detector),
            ra,
            dec,
            rotation,
            padding_arcsec=self._padding_arcsec,
        )
        # All workers share the first worker's visit record, so it must not depend on the detector.
        corners = [
            vertex
            for outer in self._outer
            for vertex in detector_region(
                camera, outer, ra, dec, rotation, padding_arcsec=self._padding_arcsec
            ).getVertices()
        ]
        return region, ConvexPolygon.convexHull(corners)

    def _enter(self, observation: Observation, records: VisitRecords, file: ResourcePath) -> DatasetRef:
        butler = self._local.butler
        with butler.transaction():
            for element, rows in records.items():
                # A visit that is delivered twice has the same records, except perhaps a newer region.
                self._local.insert(element, rows, replace=element not in _SHARED_ELEMENTS)
            raw = butler.get_dataset_type("raw")
            data_id = butler.registry.expandDataId(
                instrument=observation.instrument,
                exposure=observation.exposure_id,
                detector=observation.detector,
            )
            ref = DatasetRef(raw, data_id.subset(raw.dimensions), run=self._local.collections.raw)
            butler.ingest(FileDataset(path=file, refs=[ref]), transfer="move")
        return ref


_SHARED_ELEMENTS = {"day_obs", "group", "visit_system"}


def outer_detectors(camera: Camera) -> tuple[Detector, ...]:
    """Return the detectors at the edge of the focal plane, whose hull contains all detectors."""
    # Imported late: it takes a tenth of a second, which would delay a worker that starts for a visit.
    from scipy.spatial import ConvexHull

    detectors = tuple(camera.detectors.values())
    corners = np.array(
        [
            (one.x_mm + camera.pixel_mm * x, one.y_mm + camera.pixel_mm * y)
            for one in detectors
            # A square that contains the detector in any orientation is enough here.
            for half in [max(one.width, one.height) / 2]
            for x, y in ((-half, -half), (half, -half), (half, half), (-half, half))
        ]
    )
    on_hull = sorted({int(index) // 4 for index in ConvexHull(corners).vertices})
    return tuple(detectors[index] for index in on_hull)


def check_complete(path: Path) -> None:
    """Check that a FITS file is as long as its headers require.

    Parameters
    ----------
    path : `~pathlib.Path`
        The file, not compressed as a whole.

    Raises
    ------
    RawFileError
        Raised if the file is truncated or not a FITS file.
    """
    if path.suffix == ".gz":
        # The compressed length says nothing; decompression of a truncated file fails.
        return
    try:
        with path.open("rb") as file:
            promised = promised_length(file)
    except (OSError, ValueError) as error:
        raise RawFileError(str(path), f"not a FITS file: {error}") from error
    size = path.stat().st_size
    if size < promised:
        raise RawFileError(str(path), f"truncated: {size} of {promised} bytes.")


def _night_timespan(observation: Observation) -> Timespan:
    noon = Time(f"{day_text(observation.day_obs)}T12:00:00", format="isot", scale="tai")
    return Timespan(noon, noon + TimeDelta(86400.0, format="sec"))


def _visit_fields(exposure: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value
        for key, value in exposure.items()
        if key not in ("id", "obs_id", "group", "timespan", "instrument")
    }
