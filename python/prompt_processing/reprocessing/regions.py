"""Regions and times of visit-detectors, which workers predict at night and which are known by day."""

from __future__ import annotations

from collections.abc import Collection

from lsst.daf.butler import Butler, DatasetType, MissingDatasetTypeError
from lsst.pipe.base.utils import RegionTimeInfo

__all__ = ["put_missing_regions"]

_NAME = "regionTimeInfo"
_DIMENSIONS = ("instrument", "group", "detector")


def put_missing_regions(
    butler: Butler,
    instrument: str,
    visits: Collection[int],
    detectors: Collection[int],
    inputs: tuple[str, ...],
    run: str,
) -> int:
    """Write the region of each visit-detector that no input collection has.

    Parameters
    ----------
    butler
        The repository; writeable.
    instrument
        Camera.
    visits
        Ids.
    detectors
        Ids; all detectors if empty.
    inputs
        Collections that may have regions.
    run
        Run for the others; it is registered if needed.

    Returns
    -------
    number
        Number of regions that were written.
    """
    bind: dict[str, object] = {"inst": instrument, "ids": sorted(visits)}
    where = "instrument = inst AND visit IN (ids)"
    groups = _groups(butler, where, bind)
    times = {
        int(record.id): record.timespan
        for record in butler.query_dimension_records(
            "visit", where=where, bind=bind, limit=None, explain=False
        )
    }
    known = _known(butler, inputs, instrument)
    new = []
    for record in butler.query_dimension_records(
        "visit_detector_region", where=where, bind=bind, limit=None, explain=False
    ):
        visit, detector = int(record.visit), int(record.detector)
        group = groups.get(visit)
        if group is None or (detectors and detector not in detectors) or (group, detector) in known:
            continue
        new.append((group, detector, RegionTimeInfo(region=record.region, timespan=times[visit])))
    if new:
        butler.collections.register(run)
        butler.registry.registerDatasetType(
            DatasetType(_NAME, _DIMENSIONS, "RegionTimeInfo", universe=butler.dimensions)
        )
    for group, detector, region in new:
        butler.put(region, _NAME, instrument=instrument, group=group, detector=detector, run=run)
    return len(new)


def _groups(butler: Butler, where: str, bind: dict[str, object]) -> dict[int, str]:
    """Return the group of each visit; one of several snaps has one group, too."""
    found = butler.query_dimension_records(
        "visit_definition", where=where, bind=bind, limit=None, explain=False
    )
    visits = {int(record.exposure): int(record.visit) for record in found}
    exposures = butler.query_dimension_records(
        "exposure",
        where="instrument = inst AND exposure IN (ids)",
        bind={"inst": bind["inst"], "ids": sorted(visits)},
        limit=None,
        explain=False,
    )
    return {visits[int(record.id)]: str(record.group) for record in exposures}


def _known(butler: Butler, inputs: tuple[str, ...], instrument: str) -> set[tuple[str, int]]:
    try:
        found = butler.query_datasets(_NAME, inputs, instrument=instrument, limit=None, explain=False)
    except MissingDatasetTypeError:
        return set()
    return {(str(ref.dataId["group"]), int(ref.dataId["detector"])) for ref in found}
