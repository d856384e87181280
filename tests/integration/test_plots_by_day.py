"""The figures of processed visits, as the pipelines draw them by day."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import plot_repository as plots
import pytest
from astropy.table import Table
from astropy.wcs import WCS
from lsst.daf.butler import Butler, CollectionType
from lsst.sphgeom import HtmPixelization

from prompt_processing.batch import run as batch
from prompt_processing.batch.request import RunRequest
from prompt_processing.butler.pipelines.files import pipelines_folder
from prompt_processing.flows.engine import execute
from prompt_processing.flows.flow import load_flow
from prompt_processing.flows.place import Place
from prompt_processing.flows.run import Silent
from prompt_processing.images import Exposure, MatchingKernel, Psf, VisitInfo
from prompt_processing.instruments import load_camera

pytestmark = pytest.mark.integration

SIZE = 160
VISIT, DETECTOR = plots.VISITS[0], plots.DETECTORS[0]
BOTH = ("instrument", "visit", "detector")
FIGURES = {
    "difference_residual_histogram_plot", "difference_residual_map_plot", "dia_source_map_plot",
    "difference_kernel_plot", "psf_residual_plot", "astrometric_residual_plot", "photometric_residual_plot",
}  # fmt: skip


def _exposure() -> Exposure:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crpix, wcs.wcs.crval = [SIZE / 2, SIZE / 2], [150.0, 2.0]
    wcs.wcs.cd = np.diag([-0.2, 0.2]) / 3600
    wcs.wcs.set()
    psf = Psf(np.exp(-0.5 * np.sum(np.mgrid[-10:11, -10:11] ** 2, axis=0) / 3)[np.newaxis].astype(np.float32))
    info = VisitInfo(
        plots.INSTRUMENT, VISIT, DETECTOR, "r_57", "r", plots.START.tai.mjd, 30.0, 150.0, 2.0, 0.0
    )
    exposure = Exposure.blank((SIZE, SIZE), wcs=wcs, psf=psf, visit_info=info)
    exposure.image[:] = np.random.default_rng(1).normal(0, 5, exposure.shape)
    exposure.variance[:] = 25
    return exposure


def _stars(exposure: Exposure) -> Table:
    x, y = np.random.default_rng(2).uniform(15, SIZE - 15, (2, 30))
    assert exposure.wcs is not None
    ra, dec = exposure.wcs.all_pix2world(x, y, 0)
    flux = np.full(30, 5000.0)
    return Table(
        {
            "x": x, "y": y, "ra": ra, "dec": dec, "ref_id": np.arange(30), "psfFlux": flux,
            "psfFluxErr": flux / 50,
            "snr": np.full(30, 50.0), "psf_used": np.ones(30, bool), "astrom_used": np.ones(30, bool),
            "photom_used": np.arange(30) > 3,
        }
    )  # fmt: skip


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    repo = plots.make_repository(tmp_path / "repo")
    exposure = _exposure()
    stars = _stars(exposure)
    where = {"instrument": plots.INSTRUMENT, "visit": VISIT, "detector": DETECTOR}
    basis = np.zeros((1, 11, 11))
    basis[0, 5, 5] = 1
    kernel = MatchingKernel(basis, np.ones((1, 1)), 0, SIZE / 2, SIZE / 2, SIZE / 2)
    trixel = HtmPixelization(7).envelope(plots.square(150.0, 2.0, 0.001))[0][0]
    reference = Table(
        {"id": stars["ref_id"], "ra": stars["ra"], "dec": stars["dec"], "r_flux": stars["psfFlux"]}
    )
    metrics = {"alertProduction": [{"metric": "seeing", "value": 0.8, "unit": "arcsec"}]}
    dia_sources = pd.DataFrame({"x": [20.0, 90], "y": [30.0, 70], "reliability": [0.9, 0.1]})
    with Butler.from_config(repo, writeable=True) as butler:
        plots.put(butler, "difference_image", BOTH, "ExposureF", exposure, "in", **where)
        plots.put(butler, "preliminary_visit_image", BOTH, "ExposureF", exposure, "in", **where)
        plots.put(butler, "single_visit_star", BOTH, "ArrowAstropy", stars, "in", **where)
        plots.put(butler, "dia_source_apdb", BOTH, "DataFrame", dia_sources, "in", **where)
        plots.put(butler, "difference_kernel", BOTH, "MatchingKernel", kernel, "in", **where)
        plots.put(butler, "alertProduction_metrics", BOTH, "MetricMeasurementBundle", metrics, "in", **where)
        plots.put(butler, "reference_stars", ("htm7",), "ArrowAstropy", reference, "in", htm7=int(trixel))
        camera = load_camera(plots.INSTRUMENT)
        plots.put_camera(butler, camera, "in")
    return repo


def test_the_flow_of_a_night_draws_and_lists_its_plots(repository: Path, tmp_path: Path) -> None:
    chain = "LSSTCam/prompt/output-2025-06-09"
    with Butler.from_config(repository, writeable=True) as butler:
        for name in (chain, "LSSTCam/defaults"):
            butler.collections.register(name, CollectionType.CHAINED)
        butler.collections.redefine_chain(chain, "in")
    parameters = {
        "repo": str(repository),
        "instrument": "LSSTCam",
        "night": "2025-06-09",
        "pipeline": f"{pipelines_folder('LSSTCam')}/Analysis.yaml#plotKernel",
        "summaries": str(tmp_path / "lists"),
        "name": "main",
    }

    def flow(*, dry_run: bool) -> None:
        execute(
            load_flow("draw-night"), parameters, work=tmp_path / "work", place=Place(), reporter=Silent(),
            dry_run=dry_run,
        )  # fmt: skip

    flow(dry_run=True)
    with Butler.from_config(repository) as butler:
        assert not butler.collections.query("LSSTCam/plots/*")
    flow(dry_run=False)
    with Butler.from_config(repository) as butler:
        assert len(butler.query_datasets("difference_kernel_plot", "LSSTCam/plots/2025-06-09")) == 1
    assert (tmp_path / "lists/main/collection_LSSTCam%2Fplots%2F2025-06-09.json.gz").exists()


def test_a_visit_is_drawn_by_its_pipeline(repository: Path, tmp_path: Path) -> None:
    pipeline = f"{pipelines_folder('LSSTCam')}/Analysis.yaml#afterburner,plotSeeing"
    done = batch.run(RunRequest(str(repository), pipeline, ("in",), "u/plots"), tmp_path / "work")
    assert done.complete, [one.reason for one in done.outcomes]
    with Butler.from_config(repository, collections="u/plots") as butler:
        drawn = {}
        for kind in butler.registry.queryDatasetTypes("*_plot"):
            assert kind.storageClass_name == "Plot"
            drawn |= {ref.datasetType.name: butler.getURI(ref).read() for ref in butler.query_datasets(kind)}
    assert set(drawn) == FIGURES | {"focal_plane_seeing_plot"}
    for name, content in drawn.items():
        assert content.startswith(b"\x89PNG"), name
