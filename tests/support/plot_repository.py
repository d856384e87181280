"""A repository whose visits have datasets of one's own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from astropy.time import Time, TimeDelta
from lsst.daf.butler import Butler, DatasetType, Timespan
from lsst.sphgeom import ConvexPolygon, LonLat, UnitVector3d
from matplotlib.figure import Figure

from prompt_processing.butler.types import use_butler_types
from prompt_processing.instruments import Camera

INSTRUMENT = "LSSTCam"
VISITS = (2025060900001, 2025060900002, 2025060900003)
DETECTORS = (94, 95)
TRACTS = (7, 8)
SKYMAP = "tiles"
START = Time("2025-06-10T03:00:00", scale="tai")


def make_repository(folder: Path, region: ConvexPolygon | None = None) -> Path:
    """Make a repository with an instrument, visits, and a sky map of two tracts, but without datasets."""
    use_butler_types()
    Butler.makeRepo(folder)
    with Butler.from_config(folder, writeable=True) as butler:
        insert = butler.registry.insertDimensionData
        one = {"instrument": INSTRUMENT}
        insert(
            "instrument", {"name": INSTRUMENT, "visit_max": 2**62, "exposure_max": 2**62, "detector_max": 256}
        )
        insert("physical_filter", {**one, "name": "r_57", "band": "r"}, {**one, "name": "i_39", "band": "i"})
        insert("day_obs", {**one, "id": 20250609})
        insert("visit_system", {**one, "id": 0, "name": "one-to-one"})
        for detector in DETECTORS:
            insert("detector", {**one, "id": detector, "full_name": f"D{detector}"})
        region = region or square(150.0, 2.0)
        for number, visit in enumerate(VISITS):
            begin = START + TimeDelta(60.0 * number, format="sec")
            insert(
                "visit",
                {
                    **one,
                    "id": visit,
                    "name": str(visit),
                    "physical_filter": "r_57",
                    "day_obs": 20250609,
                    "timespan": Timespan(begin, begin + TimeDelta(30.0, format="sec")),
                    "region": region,
                },
            )
            for detector in DETECTORS:
                insert(
                    "visit_detector_region",
                    {**one, "visit": visit, "detector": detector, "region": region},
                )
        insert(
            "skymap", {"name": SKYMAP, "hash": b"hash", "tract_max": 9, "patch_nx_max": 1, "patch_ny_max": 1}
        )
        for tract in TRACTS:
            insert("tract", {"skymap": SKYMAP, "id": tract, "region": region})
    return folder


def square(ra: float, dec: float, half: float = 0.05) -> ConvexPolygon:
    """Return a square around a position, degrees."""
    corners = [
        (ra - half, dec - half),
        (ra + half, dec - half),
        (ra + half, dec + half),
        (ra - half, dec + half),
    ]
    return ConvexPolygon([UnitVector3d(LonLat.fromDegrees(*corner)) for corner in corners])


def put(
    butler: Butler, name: str, dimensions: Iterable[str], storage: str, value: object, run: str, **data: Any
) -> None:
    """Store a dataset, and register its type."""
    kind = DatasetType(name, tuple(dimensions), storage, universe=butler.dimensions)
    butler.registry.registerDatasetType(kind)
    butler.collections.register(run)
    butler.put(value, kind, run=run, **data)


def put_camera(butler: Butler, camera: Camera, run: str) -> None:
    """Store a camera; unlike in a calibration collection, it is valid at all times."""
    kind = DatasetType("camera", ("instrument",), "Camera", isCalibration=True, universe=butler.dimensions)
    butler.registry.registerDatasetType(kind)
    butler.put(camera, kind, run=run, instrument=camera.name)


def put_plot(butler: Butler, name: str, run: str, **data: Any) -> None:
    """Store a small figure of the dimensions of its data ID."""
    figure = Figure(figsize=(0.4, 0.3))
    figure.text(0.1, 0.5, run[-1])
    put(butler, name, data, "Plot", figure, run, **data)
