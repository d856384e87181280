"""The association tasks as a pipeline runs them: Butler datasets in, APDB and alerts out."""

from __future__ import annotations

import io
from pathlib import Path

import fastavro
import numpy as np
import pytest
from astropy.table import Table
from astropy.time import Time, TimeDelta
from astropy.wcs import WCS
from connected_tasks import connections_of_environment
from lsst.alert.packet import Schema
from lsst.daf.butler import Butler, DatasetType, Timespan
from lsst.dax.apdb import Apdb, ApdbSql
from lsst.pipe.base import Pipeline
from lsst.pipe.base.separable_pipeline_executor import SeparablePipelineExecutor
from lsst.pipe.base.utils import RegionTimeInfo
from lsst.sphgeom import ConvexPolygon, LonLat, UnitVector3d

from prompt_processing.alerts.files import kept_files, read_alerts
from prompt_processing.domain.ids import pack_ids
from prompt_processing.images import Exposure, Psf, VisitInfo
from prompt_processing.tasks.connected_task import ConnectedTaskFactory

pytestmark = pytest.mark.integration

INSTRUMENT, DETECTOR, SIZE = "LSSTCam", 94, 200
RA, DEC = 150.0, 2.0
VISITS = {2025060900001: "group-one", 2025060900002: "group-two"}
START = Time("2025-06-10T03:00:00", scale="tai")

PREPROCESSING = """
description: What is known
tasks:
  loadDiaCatalogs: prompt_processing.tasks.load_dia_catalogs.LoadDiaCatalogsTask
  mpSkyEphemerisQuery: prompt_processing.tasks.mpsky_ephemeris_query.MPSkyEphemerisQueryTask
"""
MAIN = """
description: What is new
tasks:
  standardizeDiaSource: prompt_processing.tasks.standardize_dia_source.StandardizeDiaSourceTask
  associateApdb: prompt_processing.tasks.associate_apdb.AssociateApdbTask
"""


def _wcs() -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crpix = [SIZE / 2, SIZE / 2]
    wcs.wcs.crval = [RA, DEC]
    wcs.wcs.cd = np.diag([-0.2, 0.2]) / 3600
    wcs.wcs.set()
    return wcs


def _begin(visit: int) -> Time:
    return START + TimeDelta(60.0 * (visit % 100), format="sec")


def _visit_info(visit: int) -> VisitInfo:
    middle = _begin(visit) + TimeDelta(15.0, format="sec")
    return VisitInfo(INSTRUMENT, visit, DETECTOR, "r_57", "r", middle.tai.mjd, 30.0, RA, DEC, 0.0)


def _exposure(visit: int) -> Exposure:
    psf = Psf(np.exp(-0.5 * np.sum(np.mgrid[-10:11, -10:11] ** 2, axis=0) / 3)[np.newaxis].astype(np.float32))
    exposure = Exposure.blank((SIZE, SIZE), wcs=_wcs(), psf=psf, visit_info=_visit_info(visit))
    exposure.image[:] = np.random.default_rng(visit).normal(0, 5, (SIZE, SIZE))
    exposure.variance[:] = 25
    return exposure


def _region() -> ConvexPolygon:
    corners = _wcs().all_pix2world([0, SIZE, SIZE, 0], [0, 0, SIZE, SIZE], 0)
    return ConvexPolygon([UnitVector3d(LonLat.fromDegrees(*corner)) for corner in zip(*corners, strict=True)])


def _insert_dimensions(butler: Butler) -> None:
    registry = butler.registry
    registry.insertDimensionData(
        "instrument",
        {"name": INSTRUMENT, "visit_max": 2**63 - 1, "exposure_max": 2**63 - 1, "detector_max": 256},
    )
    one = {"instrument": INSTRUMENT}
    registry.insertDimensionData("physical_filter", {**one, "name": "r_57", "band": "r"})
    registry.insertDimensionData("detector", {**one, "id": DETECTOR, "full_name": "R22_S11"})
    registry.insertDimensionData("day_obs", {**one, "id": 20250609})
    registry.insertDimensionData("visit_system", {**one, "id": 0, "name": "one-to-one"})
    common = {**one, "physical_filter": "r_57", "day_obs": 20250609}
    for visit, group in VISITS.items():
        span = Timespan(_begin(visit), _begin(visit) + TimeDelta(30.0, format="sec"))
        registry.insertDimensionData("group", {**one, "name": group})
        registry.insertDimensionData(
            "exposure", {**common, "id": visit, "obs_id": str(visit), "group": group, "timespan": span}
        )
        registry.insertDimensionData(
            "visit", {**common, "id": visit, "name": str(visit), "timespan": span, "region": _region()}
        )
        registry.insertDimensionData(
            "visit_detector_region", {**one, "visit": visit, "detector": DETECTOR, "region": _region()}
        )
        registry.insertDimensionData("visit_definition", {**one, "exposure": visit, "visit": visit})
        registry.insertDimensionData("visit_system_membership", {**one, "visit": visit, "visit_system": 0})


def _put(
    butler: Butler, name: str, dimensions: tuple[str, ...], storage: str, value: object, **data: object
) -> None:
    kind = DatasetType(name, dimensions, storage, universe=butler.dimensions)
    butler.registry.registerDatasetType(kind)
    butler.put(value, kind, instrument=INSTRUMENT, detector=DETECTOR, run="inputs", **data)


def _put_inputs(butler: Butler) -> None:
    ra, dec = _wcs().all_pix2world([40.0, 100, 150], [50.0, 120, 60], 0)
    for visit, group in VISITS.items():
        span = Timespan(_begin(visit), _begin(visit) + TimeDelta(30.0, format="sec"))
        of_visit = ("instrument", "visit", "detector")
        info = RegionTimeInfo(region=_region(), timespan=span)
        _put(
            butler, "regionTimeInfo", ("instrument", "group", "detector"), "RegionTimeInfo", info, group=group
        )
        for name in ("preliminary_visit_image", "template_matched", "difference_image"):
            _put(butler, name, of_visit, "ExposureF", _exposure(visit), visit=visit)
        of_exposure = ("instrument", "exposure", "detector")
        _put(butler, "post_isr_image", of_exposure, "ExposureF", _exposure(visit), exposure=visit)
        ids = pack_ids(visit, DETECTOR, range(3))
        sources = Table(
            {
                "diaSourceId": ids,
                "ra": ra,
                "dec": dec,
                "x": np.array([40.0, 100, 150]),
                "y": np.array([50.0, 120, 60]),
                "psfFlux": np.array([100.0, 200, 300]),
                "psfFluxErr": np.full(3, 5.0),
                "bboxSize": np.full(3, 15, np.int32),
            }
        )
        _put(butler, "dia_source_filtered", of_visit, "ArrowAstropy", sources, visit=visit)
        scores = Table({"diaSourceId": ids, "score": np.full(3, 0.5), "version": ["v0"] * 3})
        _put(butler, "dia_source_reliability", of_visit, "ArrowAstropy", scores, visit=visit)


def _run(butler: Butler, pipeline: str, where: str) -> None:
    factory = ConnectedTaskFactory(connections_of_environment())
    executor = SeparablePipelineExecutor(butler, task_factory=factory)
    parsed = Pipeline.fromString(pipeline)
    graph = executor.make_quantum_graph(parsed, where=where)
    executor.pre_execute_qgraph(graph, register_dataset_types=True, save_init_outputs=True)
    executor.run_pipeline(graph, fail_fast=True)


@pytest.fixture
def butler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Butler:
    config = tmp_path / "apdb.yaml"
    ApdbSql.init_database(db_url=f"sqlite:///{tmp_path / 'apdb.db'}").save(str(config))
    monkeypatch.setenv("CONFIG_APDB", str(config))
    monkeypatch.setenv("ALERT_KEEP_DIR", str(tmp_path / "kept"))
    monkeypatch.delenv("AP_KAFKA_SERVER", raising=False)
    monkeypatch.delenv("MP_SKY_URL", raising=False)
    Butler.makeRepo(str(tmp_path / "repo"))
    writable = Butler.from_config(str(tmp_path / "repo"), writeable=True)
    _insert_dimensions(writable)
    writable.registry.registerRun("inputs")
    writable.registry.registerRun("outputs")
    _put_inputs(writable)
    return Butler.from_config(
        str(tmp_path / "repo"), writeable=True, collections=["outputs", "inputs"], run="outputs"
    )


def test_each_visit_gets_the_catalogues_of_its_own_group(butler: Butler, tmp_path: Path) -> None:
    for visit, group in VISITS.items():
        _run(butler, PREPROCESSING, f"instrument='{INSTRUMENT}' AND detector={DETECTOR} AND group='{group}'")
        # Both groups are in the repository, as in a worker that keeps something of the visit before.
        _run(butler, MAIN, f"instrument='{INSTRUMENT}' AND detector={DETECTOR} AND visit={visit}")
    first, second = VISITS
    of_visit = {"instrument": INSTRUMENT, "detector": DETECTOR}
    counts = [
        butler.get("associateApdb_metadata", visit=visit, **of_visit)["associateApdb"] for visit in VISITS
    ]
    assert [count["numNewDiaObjects"] for count in counts] == [3, 0]
    assert [count["numUpdatedDiaObjects"] for count in counts] == [0, 3]
    assert [count["numAlertsKept"] for count in counts] == [3, 3]
    marker = butler.get("apdb_marker", visit=second, **of_visit)
    assert marker["visit"] == second
    assert marker["apdbWritten"] is True

    apdb = Apdb.from_uri(str(tmp_path / "apdb.yaml"))
    assert apdb.containsVisitDetector(first, DETECTOR)
    assert len(apdb.getDiaObjects(_region())) == 3
    schema = Schema.from_file().definition
    (path,) = (
        path for path in kept_files(tmp_path / "kept") if path.name.startswith(f"{second}_{DETECTOR}.")
    )
    for packet in read_alerts(path):
        alert = fastavro.schemaless_reader(io.BytesIO(packet.message[5:]), schema)
        assert [source["visit"] for source in alert["prvDiaSources"]] == [first]
        assert alert["diaSource"]["reliability"] == 0.5


def test_catalogues_keep_their_types_on_the_way_through_the_butler(butler: Butler) -> None:
    first, second = VISITS
    where = f"instrument='{INSTRUMENT}' AND detector={DETECTOR}"
    _run(butler, PREPROCESSING, f"{where} AND group='{VISITS[first]}'")
    _run(butler, MAIN, f"{where} AND visit={first}")
    _run(butler, PREPROCESSING, f"{where} AND group='{VISITS[second]}'")
    of_visit = {"instrument": INSTRUMENT, "detector": DETECTOR}
    pairs = {
        "dia_source_apdb": "preloaded_dia_source",
        "dia_object_apdb": "preloaded_dia_object",
        "dia_forced_source_apdb": "preloaded_dia_forced_source",
    }
    for written_name, preloaded_name in pairs.items():
        written = butler.get(written_name, visit=first, **of_visit)
        preloaded = butler.get(preloaded_name, group=VISITS[second], **of_visit)
        assert len(written) == len(preloaded) == 3
        assert list(written.columns) == list(preloaded.columns)
        for name in ("diaObjectId", "ra"):
            assert sorted(written[name]) == sorted(preloaded[name])
            assert written[name].dtype == preloaded[name].dtype
