"""Images of visits become templates that workers find first, without what was there only once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import small_camera as testcam
from astropy.time import Time, TimeDelta
from click.testing import CliRunner, Result
from lsst.daf.butler import (  # type: ignore[attr-defined]
    Butler,
    CollectionType,
    DatasetType,
    Timespan,
)
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor

from prompt_processing.butler.types import use_butler_types
from prompt_processing.cli.repo.make import main as make
from prompt_processing.cli.templates.build import main as build
from prompt_processing.flows.engine import execute
from prompt_processing.flows.flow import load_flow
from prompt_processing.flows.place import Place
from prompt_processing.flows.run import Silent, Table
from prompt_processing.images import Exposure, SkyMap, VisitInfo
from prompt_processing.imaging.templates import coaddition
from prompt_processing.simulation.conditions import draw_conditions
from prompt_processing.simulation.pair import expose, tangent_wcs
from prompt_processing.simulation.scene import Frame, truth_of
from prompt_processing.simulation.sky import SkyCatalogue, SkyDensity
from prompt_processing.tasks.build_template import BuildTemplateTask

RA, DEC = 150.0, 2.0
SHAPE = (testcam.HEIGHT, testcam.WIDTH)
NIGHT = 20260110
SEEING = {1: 2.0, 2: 2.2, 3: 1.9, 4: 5.0, 5: 2.1}
"""FWHM by visit, arcsec; the fourth is too bad, the fifth has the transient."""
PIXEL = 0.6
TEMPLATES = f"{testcam.NAME}/templates"
SKY = SkyCatalogue(4, SkyDensity(galaxies=0.0))
FLASH = (RA + 0.004, DEC - 0.004)


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("templates")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROMPT_INSTRUMENT_PATH", str(testcam.write_instrument(folder / "instruments")))
        use_butler_types()
        root = str(folder / "repo")
        made = CliRunner().invoke(make, ["--instrument", testcam.NAME, root], catch_exceptions=False)
        assert made.exit_code == 0, made.output
        with Butler.from_config(root, writeable=True) as butler:
            put_visits(butler)
        yield root


def put_visits(butler: Butler) -> None:
    known = {each.name for each in butler.registry.queryDatasetTypes()}
    if "preliminary_visit_image" not in known:
        dimensions = ("instrument", "visit", "detector")
        butler.registry.registerDatasetType(
            DatasetType("preliminary_visit_image", dimensions, "VisitImage", universe=butler.dimensions)
        )
    run = f"{testcam.NAME}/prompt/output-2026-01-10/ApPipe/test"
    butler.collections.register(run)
    begin = Time("2026-01-11T03:00:00", scale="tai")
    for visit, seeing in SEEING.items():
        exposure = image_of(visit, seeing)
        start = begin + TimeDelta(100.0 * visit, format="sec")
        insert_visit(butler, visit, start, exposure)
        butler.put(
            exposure, "preliminary_visit_image", instrument=testcam.NAME, visit=visit, detector=0, run=run
        )


def image_of(visit: int, seeing: float) -> Exposure:
    rng = np.random.default_rng([3, visit])
    conditions = draw_conditions(rng, "LSSTCam", "r", 30.0, seeing)
    offset = rng.uniform(-4, 4, 2) / 3600
    wcs = tangent_wcs(SHAPE, RA + offset[0], DEC + offset[1], 0.0, PIXEL)
    frame = Frame(wcs, SHAPE, (RA, DEC))
    exposure = expose(truth_of(SKY, frame, "r", None), frame, conditions, rng)
    if visit in (2, 5):
        x, y = wcs.all_world2pix(*FLASH, 0)
        stamp, x0, y0 = exposure.psf.stamp_at(float(x), float(y))
        noise = np.sqrt(np.median(exposure.variance) / np.sum(stamp**2))
        exposure.image[y0 : y0 + len(stamp), x0 : x0 + len(stamp)] += (100 * noise * stamp).astype(np.float32)
    exposure.metadata = {"BUNIT": "nJy", "background_electrons": 1000.0 * visit}
    exposure.visit_info = VisitInfo(testcam.NAME, visit, 0, "red", "r", 61051.1, 30.0, RA, DEC, 0.0)
    return exposure


def insert_visit(butler: Butler, visit: int, start: Time, exposure: Exposure) -> None:
    region = SkyMap.footprint_region(exposure)
    noon = Time("2026-01-10T12:00:00", scale="tai")
    rows = {
        "day_obs": {"id": NIGHT, "timespan": Timespan(noon, noon + TimeDelta(1.0, format="jd"))},
        "visit": {
            "id": visit,
            "physical_filter": "red",
            "day_obs": NIGHT,
            "name": f"v{visit}",
            "timespan": Timespan(start, start + TimeDelta(30.0, format="sec")),
            "region": region,
        },
        "visit_detector_region": {"visit": visit, "detector": 0, "region": region},
    }
    for element, values in rows.items():
        record = butler.dimensions[element].RecordClass(instrument=testcam.NAME, **values)
        butler.registry.insertDimensionData(element, record, skip_existing=True)


def run(repo: str, *options: str) -> Result:
    return CliRunner().invoke(build, ["--repo", repo, "--instrument", testcam.NAME, *options])


def chain(repo: str) -> tuple[str, ...]:
    with Butler.from_config(repo) as butler:
        return tuple(butler.collections.get_info(TEMPLATES).children)


@pytest.fixture(scope="module")
def without_sky_map(repo: str) -> Result:
    return run(repo)


@pytest.fixture(scope="module")
def first(
    repo: str, without_sky_map: Result, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Result, Path]:
    page = tmp_path_factory.mktemp("page") / "templates.html"
    options = ("--name", "one", "--new-skymap", "fields", "--seeing", "3", "--page", str(page))
    return run(repo, *options, "--before", "2026-01-11T03:07:00"), page


def test_sky_map_is_asked_for_where_there_is_none(without_sky_map: Result) -> None:
    assert without_sky_map.exit_code == 1
    assert "--new-skymap" in without_sky_map.output


def test_templates_of_the_chosen_visits_come_first(repo: str, first: tuple[Result, Path]) -> None:
    done, page = first
    assert done.exit_code == 0, done.output
    assert "4/0: left out, seeing 5." in done.output
    assert chain(repo)[0] == f"{TEMPLATES}/one"
    shown = page.read_text()
    assert "data:image/png" in shown
    assert "3 visits" in done.output
    with Butler.from_config(repo, collections=[TEMPLATES, "skymaps"]) as butler:
        images = butler.query_datasets("preliminary_visit_image", collections=f"{TEMPLATES}/one/images")
        assert sorted(ref.dataId["visit"] for ref in images) == [1, 2, 3]


def test_patches_cover_an_image_to_the_expected_depth_without_the_flash(
    repo: str, first: tuple[Result, Path]
) -> None:
    assert first[0].exit_code == 0, first[0].output
    science = image_of(1, SEEING[1])
    inputs = [f"{testcam.NAME}/prompt/output-2026-01-10/ApPipe/test", TEMPLATES, "skymaps"]
    with Butler.from_config(repo, writeable=True) as butler:
        butler.collections.register("difference")
        own = butler.clone(collections=inputs, run="difference")
        executor = SimplePipelineExecutor.from_task_class(
            BuildTemplateTask,
            label="buildTemplate",
            where="instrument = the_instrument AND visit = 1 AND skymap = 'fields'",
            bind={"the_instrument": testcam.NAME},
            butler=own,
        )
        executor.run(register_dataset_types=True, save_versions=False)
        (ref,) = butler.query_datasets("template_detector", collections="difference")
        template = butler.get(ref, storageClass="ExposureF")
    assert np.mean(np.isfinite(template.image)) > 0.95
    assert template.psf is not None
    expected = 1 / sum(1 / float(np.median(image_of(v, SEEING[v]).variance)) for v in (1, 2, 3))
    middle = np.s_[60:-60, 60:-60]
    assert np.median(template.variance[middle]) == pytest.approx(expected, rel=0.1)
    x, y = (float(each) for each in science.wcs.all_world2pix(*FLASH, 0))
    part = np.s_[round(y) - 5 : round(y) + 6, round(x) - 5 : round(x) + 6]
    left = np.sum((template.image - science.image)[part])
    assert abs(left) < 6 * np.sqrt(np.sum((template.variance + science.variance)[part]))


def test_failed_build_leaves_the_chain_and_no_run(
    repo: str, first: tuple[Result, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert first[0].exit_code == 0
    before = chain(repo)

    def fail(*_: object) -> None:
        raise RuntimeError("disk full")

    monkeypatch.setattr(coaddition, "_averaged_psf", fail)
    assert run(repo, "--name", "two").exit_code != 0
    assert chain(repo) == before
    with Butler.from_config(repo) as butler:
        assert not butler.collections.query(f"{TEMPLATES}/two*")


def test_unpublished_and_refused_builds_change_nothing_for_workers(
    repo: str, first: tuple[Result, Path]
) -> None:
    assert first[0].exit_code == 0
    before = chain(repo)
    again = run(repo, "--name", "one")
    assert again.exit_code == 1
    assert "exists already" in again.output
    few = run(repo, "--name", "few", "--least", "9")
    assert few.exit_code == 4, few.output
    none = run(repo, "--nights", "20010101", "20010102")
    assert none.exit_code == 1
    assert "--collections" in none.output
    dark = run(repo, "--background", "500")
    assert dark.exit_code == 1
    assert "All images are left out" in dark.output
    kept = run(repo, "--name", "three", "--visits", "1", "--least", "1", "--no-publish")
    assert kept.exit_code == 0, kept.output
    assert chain(repo) == before
    with Butler.from_config(repo, collections=f"{TEMPLATES}/three") as butler:
        assert butler.collections.get_info(f"{TEMPLATES}/three/images").type is CollectionType.TAGGED
        refs = butler.query_datasets("template_coadd", collections=f"{TEMPLATES}/three")
        marks = [butler.get(ref, storageClass="ExposureF").metadata["NEXPOSE"] for ref in refs]
    assert set(marks) == {1}


def test_flow_makes_the_same_templates_and_its_dry_run_none(
    repo: str, first: tuple[Result, Path], tmp_path: Path
) -> None:
    assert first[0].exit_code == 0
    before = chain(repo)
    parameters = {
        "repo": repo,
        "instrument": testcam.NAME,
        "name": "flow",
        "skymap": "fields",
        "seeing": 3.0,
        "before": "2026-01-11T03:07:00",
        "publish": False,
    }

    def flow(dry_run: bool) -> dict[str, Table]:
        tables = execute(
            load_flow("build-templates"),
            parameters,
            work=tmp_path / "work",
            place=Place(),
            reporter=Silent(),
            dry_run=dry_run,
        )
        return {table.title: table for table in tables}

    planned = flow(dry_run=True)["Quanta"].rows[0]
    assert not (tmp_path / "work").exists()
    with Butler.from_config(repo) as butler:
        assert not butler.collections.query(f"{TEMPLATES}/flow*")
    made = flow(dry_run=False)["Patches"]
    assert planned["quanta"] == len(made.rows)
    # Measured on the patches that the command made.
    assert planned["core hours"]
    assert planned["output bytes"]
    with Butler.from_config(repo) as butler:
        refs = butler.query_datasets("template_coadd", collections=f"{TEMPLATES}/flow")
        assert refs
        for ref in refs:
            mine = butler.get(ref, storageClass="ExposureF")
            theirs = butler.get(
                "template_coadd", ref.dataId, collections=f"{TEMPLATES}/one", storageClass="ExposureF"
            )
            np.testing.assert_array_equal(mine.image, theirs.image)
            np.testing.assert_array_equal(mine.variance, theirs.variance)
    assert chain(repo) == before


def test_later_templates_precede_the_earlier(repo: str, first: tuple[Result, Path]) -> None:
    assert first[0].exit_code == 0
    later = run(repo, "--name", "four", "--visits", "1,2,3,5", "--seeing", "3")
    assert later.exit_code == 0, later.output
    assert chain(repo)[:2] == (f"{TEMPLATES}/four", f"{TEMPLATES}/one")
