"""Regions of the sky, and the datasets in them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import lsst.sphgeom
from lsst.daf.butler import DatasetRef, DatasetType, DimensionRecord

from prompt_processing.instruments.camera import Camera
from prompt_processing.instruments.geometry import detector_region


def regions_of(
    exposures: Iterable[DimensionRecord], camera: Camera, detectors: Collection[int] | None = None
) -> list[lsst.sphgeom.Region]:
    """Return the detectors' regions of some exposures, from their pointings.

    Parameters
    ----------
    exposures
        Records of the dimension ``exposure``; those without a pointing have no region.
    camera
        The instrument.
    detectors
        Detectors to include; by default all.
    """
    return [
        detector_region(
            camera,
            detector,
            record.tracking_ra,
            record.tracking_dec,
            record.sky_angle or 0.0,
            padding_arcsec=60,
        )
        for record in exposures
        if record.tracking_ra is not None and record.tracking_dec is not None
        for detector in camera.detectors.values()
        if detectors is None or detector.id in detectors
    ]


def circle(ra: float, dec: float, radius: float) -> lsst.sphgeom.Region:
    """Return a circle on the sky; all parameters in degrees."""
    centre = lsst.sphgeom.UnitVector3d(lsst.sphgeom.LonLat.fromDegrees(ra, dec))
    return lsst.sphgeom.Circle(centre, lsst.sphgeom.Angle.fromDegrees(radius))


def lies_in(ref: DatasetRef, kind: DatasetType, regions: Sequence[lsst.sphgeom.Region] | None) -> bool:
    """Return whether a dataset overlaps any of some regions.

    Parameters
    ----------
    ref
        With dimension records.
    kind
        Dataset type, with a dimension that has a region.
    regions
        Regions of the sky; `None` for all of it.
    """
    if regions is None:
        return True
    family = next(iter(kind.dimensions.spatial)).choose(kind.dimensions)
    skypix = kind.dimensions.universe.skypix_dimensions.get(family.name)
    if skypix is not None:
        own = skypix.pixelization.pixel(int(ref.dataId[family.name]))
    else:
        record = ref.dataId.records[family.name]
        own = None if record is None else record.region
    return own is not None and any(region.overlaps(own) is not False for region in regions)
