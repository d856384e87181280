"""`prompt watch` with the worker's own repositories, pipelines and APDB."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event

import butler_world as world
import numpy as np
import pytest
import watch_process
from astropy.wcs import WCS
from lsst.daf.butler import Butler

from prompt_processing.domain.errors import RepositoryProblemError
from prompt_processing.images import Psf
from prompt_processing.watch.arrivals import Folder
from prompt_processing.watch.context import WatchContext, WatchOptions
from prompt_processing.watch.journal import FileState, Journal
from prompt_processing.watch.references import ensure_reference_stars
from prompt_processing.watch.service import Report, Watch

pytestmark = pytest.mark.integration


@pytest.fixture
def options(central_folder: Path) -> WatchOptions:
    pipelines = central_folder / "pipelines"
    world.write_pipelines(pipelines)
    return WatchOptions(
        str(central_folder / "central"), world.INSTRUMENT, central_folder / "work", pipelines=pipelines
    )


@pytest.fixture
def context(options: WatchOptions) -> Iterator[WatchContext]:
    opened = WatchContext(options, world.small_camera())
    yield opened
    opened.close()


def watch(folder: Path, context: WatchContext, work: Path) -> list[Report]:
    reports: list[Report] = []
    with Journal(work / "journal.db") as journal:
        service = Watch(Folder(folder), journal, context, world.INSTRUMENT, tell=reports.append)
        service.run(Event(), 0.05, once=True)
    return reports


def raws(folder: Path, number: int) -> Path:
    """Write raws of one detector, one minute apart."""
    camera = world.small_camera()
    for n in range(number):
        path = world.write_raw(folder / f"of {n}", camera, exposure=world.EXPOSURE + n, group=f"group {n}")
        then = time.time() - 60 + n
        os.utime(path, (then, then))
    return folder


def test_raws_become_outputs_of_the_central_repository(
    central_folder: Path, context: WatchContext, options: WatchOptions
) -> None:
    folder = raws(central_folder / "incoming", 2)
    reports = watch(folder, context, options.work)
    assert [report.entry.state for report in reports] == [FileState.DONE] * 2, reports
    pipelines = {report.image.outcome.pipeline for report in reports if report.image is not None}
    assert pipelines == {"ApPipe"}
    assert watch(folder, context, options.work) == []
    with Butler.from_config(options.repo) as butler:
        refs = butler.query_datasets(
            "preliminary_visit_image", collections=f"{world.INSTRUMENT}/prompt/*", find_first=False
        )
    assert {ref.dataId["visit"] for ref in refs} == {world.EXPOSURE, world.EXPOSURE + 1}
    assert (options.work / "apdb.yaml").exists()
    context.close()
    published = [path.read_text().count('"ended"') for path in (options.work / "outcomes").rglob("*.jsonl")]
    assert sum(published) == 2


def test_night_and_local_repository_are_ready_before_the_first_image(
    context: WatchContext, options: WatchOptions
) -> None:
    context.warm()
    with Butler.from_config(options.repo) as butler:
        runs = butler.collections.query(f"{world.INSTRUMENT}/prompt/*", flatten_chains=True)
        assert butler.query_datasets("isr_config", collections=runs, find_first=False)
    assert len(list((options.work / "local").glob("butler-*"))) == 1


def test_no_image_is_lost_or_doubled_when_the_process_is_killed(
    central_folder: Path, options: WatchOptions
) -> None:
    number = 3
    folder = raws(central_folder / "incoming", number)
    program = [sys.executable, watch_process.__file__, str(central_folder)]
    environment = {**os.environ, "PYTHONPATH": str(Path(watch_process.__file__).parent)}
    rng = np.random.default_rng()
    with subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        # Killed somewhere in the image after the next one.
        assert process.stdout.readline()
        time.sleep(float(rng.uniform(0.0, 1.0)))
        process.kill()
    subprocess.run(program, env=environment, check=True, timeout=200)
    with Journal(options.work / "journal.db") as journal:
        entries = list(journal.entries())
    assert sorted(entry.exposure or 0 for entry in entries) == [world.EXPOSURE + n for n in range(number)]
    assert {entry.state for entry in entries} == {FileState.DONE}, [entry.reason for entry in entries]
    with Butler.from_config(options.repo) as butler:
        refs = butler.query_datasets(
            "preliminary_visit_image", collections=f"{world.INSTRUMENT}/prompt/*", find_first=False
        )
    assert sorted(ref.dataId["visit"] for ref in refs) == [world.EXPOSURE + n for n in range(number)]
    assert len(list(folder.rglob("*.fits"))) == number


def test_a_folder_without_pipelines_is_named(options: WatchOptions, central_folder: Path) -> None:
    with pytest.raises(RepositoryProblemError, match="--pipelines"):
        WatchContext(replace(options, pipelines=central_folder / "none"), world.small_camera())


def test_without_catalogue_the_stars_of_the_templates_serve(tmp_path: Path) -> None:
    camera = world.small_camera()
    content = world.small_content(camera)
    rng = np.random.default_rng(5)
    template = next(one for one in content.templates if one.patch == 12)
    coadd = template.coadd
    assert content.sky_map is not None
    coadd.wcs = WCS(naxis=2)
    coadd.wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    coadd.wcs.wcs.crval, coadd.wcs.wcs.crpix = [world.RA, world.DEC], [100.0, 100.0]
    coadd.wcs.wcs.cdelt = [-0.2 / 3600, 0.2 / 3600]
    yy, xx = np.mgrid[: coadd.shape[0], : coadd.shape[1]]
    coadd.image[:] = rng.normal(0, 10, coadd.shape)
    coadd.variance[:] = 100
    for y in range(25, 230, 40):
        for x in range(25, 230, 40):
            coadd.image += 4000 * np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / (2 * 1.8**2))
    stamp = np.exp(-((np.mgrid[:25, :25] - 12.0) ** 2).sum(axis=0) / (2 * 1.8**2))
    coadd.psf = Psf((stamp / stamp.sum()).astype(np.float32)[np.newaxis])
    world.make_central(tmp_path, reference_stars=None, templates=[template], calibrations=())
    repo = str(tmp_path / "central")
    assert "stars of the templates" in ensure_reference_stars(repo, world.INSTRUMENT)
    with Butler.from_config(repo, collections="refcats") as butler:
        tables = [butler.get(ref) for ref in butler.query_datasets("reference_stars")]
    flux = np.concatenate([np.asarray(table["r_flux"]) for table in tables])
    assert len(flux) >= 30
    assert np.median(flux) == pytest.approx(4000 * 2 * np.pi * 1.8**2, rel=0.02)
    assert ensure_reference_stars(repo, world.INSTRUMENT) == ""
