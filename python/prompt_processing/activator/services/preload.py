"""Fetch the inputs of a visit's pipelines before its images arrive."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from astropy.time import Time
from lsst.daf.butler import DatasetRef, DatasetType, DimensionRecord, Timespan
from lsst.sphgeom import Region

from prompt_processing.activator.storage.known_inputs import KnownInputs
from prompt_processing.butler.central import CentralRepository
from prompt_processing.butler.errors import passing, try_twice
from prompt_processing.butler.field_types import own_ref
from prompt_processing.butler.local.repository import Certified, LocalRepository
from prompt_processing.butler.pipelines.library import InputKind, ReadyPipeline, input_kind
from prompt_processing.domain.visit import FannedOutVisit

from .calibration_cache import CalibrationCache

_LOG = logging.getLogger("lsst.activator.services.preload")


@dataclass(slots=True)
class PreloadedData:
    """The inputs found for a visit.

    Attributes
    ----------
    refs : `list` [`~lsst.daf.butler.DatasetRef`]
        All inputs, copied or already present.
    calibrations : `list` [`Certified`]
        The calibrations among them, with their validity ranges.
    region : `~lsst.sphgeom.Region` or `None`
        Padded sky region of the detector, for which they were looked up.
    copied : `int`
        Number of datasets copied to the local repository.
    seconds : `dict` [`str`, `float`]
        Wall time of each step.
    """

    refs: list[DatasetRef] = field(default_factory=list)
    calibrations: list[Certified] = field(default_factory=list)
    region: Region | None = None
    copied: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    def count(self, dataset_type: str) -> int:
        """Return the number of datasets of a type."""
        return sum(ref.datasetType.name == dataset_type for ref in self.refs)


def visit_timespan(visit: FannedOutVisit) -> Timespan:
    """Return when a visit is expected to take place."""
    # If the start time is missing, the time of the message is close enough to choose calibrations.
    start = visit.startTime or visit.private_sndStamp
    begin = Time(start, format="unix_tai", scale="tai")
    end = Time(start + max(visit.duration, 1.0), format="unix_tai", scale="tai")
    return Timespan(begin, end)


def find_inputs(
    central: CentralRepository,
    known: KnownInputs,
    order: tuple[str, ...],
    pipelines: Iterable[ReadyPipeline],
    visit: FannedOutVisit,
    region: Region | None,
    *,
    skymap: str,
    band: str | None,
    further: Iterable[DatasetType] = (),
) -> PreloadedData:
    """Look up the inputs of all pipelines that may run for a visit.

    Parameters
    ----------
    central : `CentralRepository`
        Source of the inputs that depend on the position in the sky.
    known : `KnownInputs`
        Source of all other inputs.
    order : `tuple` [`str`]
        Collections in search order.
    pipelines : iterable of `ReadyPipeline`
        The pipelines.
    visit : `FannedOutVisit`
        The visit, with its detector, filter and time.
    region : `lsst.sphgeom.Region` or `None`
        Padded sky region of the detector; without it, no inputs that depend
        on the position are looked up.
    skymap : `str`
        Name of the sky map.
    band : `str` or `None`
        Band of the filter, if both are known; without it, no inputs of a
        band are looked up.
    further : iterable of `~lsst.daf.butler.DatasetType`, optional
        Types to copy although no pipeline reads them.

    Returns
    -------
    data : `PreloadedData`
        The inputs, not yet copied.
    """
    wanted: dict[str, tuple[DatasetType, InputKind]] = {}
    needed: set[str] = set()
    for pipeline in pipelines:
        needed |= pipeline.needed_inputs()
        for dataset_type, kind in pipeline.inputs():
            wanted.setdefault(dataset_type.name, (dataset_type, kind))
    for dataset_type in further:
        if (kind_of_further := input_kind(dataset_type)) is not None:
            wanted.setdefault(dataset_type.name, (dataset_type, kind_of_further))
    data_id: dict[str, Any] = {
        "instrument": visit.instrument,
        "detector": visit.detector,
        "skymap": skymap,
    }
    if visit.filters:
        data_id["physical_filter"] = visit.filters
    if band is not None:
        data_id["band"] = band
    data = PreloadedData(region=region)
    when = visit_timespan(visit)
    for name, (dataset_type, kind) in wanted.items():
        start = time.monotonic()
        if kind is InputKind.CALIBRATION:
            calibrations = known.calibrations(dataset_type, data_id, when, order)
            calibrations = [replace(one, ref=own_ref(one.ref)) for one in calibrations]
            data.calibrations += calibrations
            found = [calibration.ref for calibration in calibrations]
        elif kind is InputKind.OTHER:
            found = known.datasets(dataset_type, data_id, order)
        elif region is None or ("band" in dataset_type.dimensions and band is None):
            continue
        else:
            found = central.find_overlapping(dataset_type, data_id, region, order)
        data.refs += [own_ref(ref) for ref in found]
        data.seconds[f"find {name}"] = time.monotonic() - start
        level = logging.DEBUG if found or name not in needed else logging.WARNING
        _LOG.log(level, "Found %d %s for %s.", len(found), name, visit)
    return data


def copy_inputs(
    central: CentralRepository, local: LocalRepository, cache: CalibrationCache, data: PreloadedData
) -> None:
    """Copy the inputs that the local repository lacks, and make them findable there.

    Parameters
    ----------
    central, local : `CentralRepository`, `LocalRepository`
        Source and destination.
    cache : `CalibrationCache`
        Content of the local repository; updated.
    data : `PreloadedData`
        The inputs.

    Raises
    ------
    RetriableError
        Raised if the central repository's files cannot be read.
    """
    start = time.monotonic()
    absent = cache.absent(data.refs)
    for element, records in _records(absent).items():
        local.insert(element, records)
    if absent:
        with passing("Copying inputs from the central repository"):
            try_twice(lambda: local.receive(central.reader, absent), central.retry_delay)
    cache.use(data.refs)
    local.certify(data.calibrations)
    local.update_chain()
    data.copied = len(absent)
    data.seconds["copy"] = time.monotonic() - start
    start = time.monotonic()
    # Decompression takes seconds. They are free now, and would delay the alerts once the image is there.
    local.read_ahead(data.refs, data.region)
    data.seconds["read"] = time.monotonic() - start


def _records(refs: Iterable[DatasetRef]) -> dict[str, list[DimensionRecord]]:
    """Collect the records of sky map, tracts and patches; those of the instrument are present already."""
    found: dict[str, dict[Any, DimensionRecord]] = {}
    for ref in refs:
        if not ref.dataId.hasRecords():
            continue
        for element in ("skymap", "tract", "patch"):
            if element in ref.dataId.dimensions.elements:
                record = ref.dataId.records[element]
                if record is not None:
                    found.setdefault(element, {})[record.dataId] = record
    return {element: list(records.values()) for element, records in found.items()}
