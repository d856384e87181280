from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from lsst.pipe.base import Pipeline
from lsst.sphgeom import HtmPixelization, LonLat, UnitVector3d

from prompt_processing.butler.ingest import outer_detectors
from prompt_processing.instruments.camera import load_camera
from prompt_processing.instruments.geometry import detector_region
from prompt_processing.repository.reference_stars import shards

PIPELINES = Path(__file__).parents[3] / "pipelines"
INSTRUMENTS = ("HSC", "LATISS", "LSSTCam")
LABELS = {
    "Preprocessing": {"loadDiaCatalogs", "mpSkyEphemerisQuery"},
    "Isr": {"isr"},
    "SingleFrame": {"isr", "calibrateImage"},
    "ApPipe": {"isr", "calibrateImage", "buildTemplate", "subtractImages", "detectAndMeasureDiaSource"}
    | {"filterDiaSource", "computeReliability", "standardizeDiaSource", "associateApdb"},
}


def test_every_star_is_in_the_shard_of_its_trixel() -> None:
    rng = np.random.default_rng(1)
    stars = Table({"id": np.arange(50), "ra": rng.uniform(149, 151, 50), "dec": rng.uniform(1, 3, 50)})
    pixelization = HtmPixelization(7)
    found = dict(shards(stars))
    assert len(found) > 1
    assert sorted(int(number) for shard in found.values() for number in shard["id"]) == list(range(50))
    for pixel, shard in found.items():
        for row in shard:
            position = UnitVector3d(LonLat.fromDegrees(row["ra"], row["dec"]))
            assert pixelization.index(position) == pixel


@pytest.mark.parametrize("instrument", INSTRUMENTS)
@pytest.mark.parametrize("stem", LABELS)
def test_pipeline_has_the_tasks_of_the_contract(instrument: str, stem: str) -> None:
    graph = Pipeline.from_uri(str(PIPELINES / instrument / f"{stem}.yaml")).to_graph()
    later = {"plotDifference", "plotKernel", "plotStars"} if stem == "ApPipe" else set()
    assert set(graph.tasks) == LABELS[stem] | later
    assert set(graph.task_subsets.get("afterburner", ())) == later
    subsets = {"preload"} if stem == "Preprocessing" else {"prompt", "afterburner"}
    assert set(graph.task_subsets) == subsets


@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_a_task_has_one_configuration_in_all_pipelines(instrument: str) -> None:
    graphs = {
        stem: Pipeline.from_uri(str(PIPELINES / instrument / f"{stem}.yaml")).to_graph() for stem in LABELS
    }
    for stem in ("Isr", "SingleFrame"):
        for label, task in graphs[stem].tasks.items():
            assert task.get_config_str() == graphs["ApPipe"].tasks[label].get_config_str()


@pytest.mark.parametrize("instrument", ["LSSTCam", "LATISS", "HSC"])
def test_outer_detectors_are_around_all_others(instrument: str) -> None:
    from lsst.sphgeom import ConvexPolygon

    camera = load_camera(instrument)
    outer = outer_detectors(camera)
    hull = ConvexPolygon.convexHull(
        [
            vertex
            for one in outer
            for vertex in detector_region(camera, one, 10.0, -40.0, 15.0, padding_arcsec=10).getVertices()
        ]
    )
    assert all(
        hull.contains(detector_region(camera, one, 10.0, -40.0, 15.0)) for one in camera.detectors.values()
    )
