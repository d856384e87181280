"""Fetch what a visit's pipelines need, before its images are there."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from astropy.time import Time
from lsst.daf.butler import DatasetRef, DatasetType, DimensionRecord, Timespan
from lsst.sphgeom import Region

from prompt_processing.activator.storage.known_inputs import KnownInputs
from prompt_processing.butler.central import CentralRepository
from prompt_processing.butler.errors import passing, try_twice
from prompt_processing.butler.local import Certified, LocalRepository
from prompt_processing.butler.pipeline_library import InputKind, ReadyPipeline
from prompt_processing.domain.visit import FannedOutVisit

from .calibration_cache import CalibrationCache

_LOG = logging.getLogger("lsst.activator.services.preload")


@dataclass(slots=True)
class PreloadedData:
    """What was found for a visit.

    Attributes
    ----------
    refs : `list` [`~lsst.daf.butler.DatasetRef`]
        All inputs, whether they had to be copied or not.
    calibrations : `list` [`Certified`]
        Those of them that are valid for a time.
    region : `~lsst.sphgeom.Region` or `None`
        What the detector may see, for which they were looked up.
    copied : `int`
        How many were not in the local repository.
    seconds : `dict` [`str`, `float`]
        Wall time of each step.
    """

    refs: list[DatasetRef] = field(default_factory=list)
    calibrations: list[Certified] = field(default_factory=list)
    region: Region | None = None
    copied: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    def count(self, dataset_type: str) -> int:
        """Return how many datasets of a type there are."""
        return sum(ref.datasetType.name == dataset_type for ref in self.refs)


def visit_timespan(visit: FannedOutVisit) -> Timespan:
    """Return when a visit is expected to take place."""
    # Nobody announces a visit without its time; the message's own is close enough to choose calibrations by.
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
) -> PreloadedData:
    """Look up the inputs of all pipelines that a visit may get.

    Parameters
    ----------
    central : `CentralRepository`
        Where to look for what depends on the place in the sky.
    known : `KnownInputs`
        Where to look for the rest.
    order : `tuple` [`str`]
        Collections, the one searched first in front.
    pipelines : iterable of `ReadyPipeline`
        The pipelines.
    visit : `FannedOutVisit`
        Gives detector, filter and time.
    region : `lsst.sphgeom.Region` or `None`
        What the detector will see, padded; without it nothing of the sky is
        looked up.
    skymap : `str`
        Name of the sky map.
    band : `str` or `None`
        Band of the filter, if both are known; without it nothing that
        belongs to a band is looked up.

    Returns
    -------
    data : `PreloadedData`
        Of which nothing is copied yet.
    """
    wanted: dict[str, tuple[DatasetType, InputKind]] = {}
    for pipeline in pipelines:
        for dataset_type, kind in pipeline.inputs():
            wanted.setdefault(dataset_type.name, (dataset_type, kind))
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
            data.calibrations += calibrations
            found = [calibration.ref for calibration in calibrations]
        elif kind is InputKind.OTHER:
            found = known.datasets(dataset_type, data_id, order)
        elif region is None or ("band" in dataset_type.dimensions and band is None):
            continue
        else:
            found = central.find_overlapping(dataset_type, data_id, region, order)
        data.refs += found
        data.seconds[f"find {name}"] = time.monotonic() - start
        level = logging.DEBUG if found else logging.WARNING
        _LOG.log(level, "Found %d %s for %s.", len(found), name, visit)
    return data


def copy_inputs(
    central: CentralRepository, local: LocalRepository, cache: CalibrationCache, data: PreloadedData
) -> None:
    """Copy what the local repository lacks, and make it findable there.

    Parameters
    ----------
    central, local : `CentralRepository`, `LocalRepository`
        From, to.
    cache : `CalibrationCache`
        What the local repository has; brought up to date.
    data : `PreloadedData`
        What is needed.

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
    # Decompressing them takes seconds, which are idle now and precious once the image is there.
    local.read_ahead(data.refs, data.region)
    data.seconds["read"] = time.monotonic() - start


def _records(refs: Iterable[DatasetRef]) -> dict[str, list[DimensionRecord]]:
    """Collect the records of the sky map, tracts and patches; the instrument's own are there already."""
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
