"""Raw frames of a camera that is only described become certified calibrations with the frames' properties."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
import small_camera as testcam
from astropy.time import Time
from click.testing import CliRunner
from lsst.daf.butler import Butler
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor

from prompt_processing.butler.types import use_butler_types
from prompt_processing.cli.calibrations.build import main as build
from prompt_processing.cli.refcat.of_image import main as of_image
from prompt_processing.cli.repo.import_ import import_raws
from prompt_processing.cli.repo.make import main as make
from prompt_processing.flows.engine import execute
from prompt_processing.flows.flow import load_flow
from prompt_processing.flows.place import Place
from prompt_processing.flows.run import Silent
from prompt_processing.instruments import read_header, translate
from prompt_processing.repository.catalogues.of_image import calibrations_of
from prompt_processing.tasks.isr import IsrConfig, IsrTask

CURVE = 6e-7


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, testcam.SmallCamera, str]]:
    """Return a repository with calibrations, the camera, and what the command printed."""
    folder = tmp_path_factory.mktemp("camera")
    camera = testcam.SmallCamera(curve=CURVE, crosstalk=4e-4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROMPT_INSTRUMENT_PATH", str(testcam.write_instrument(folder / "instruments")))
        use_butler_types()
        root = str(folder / "repo")
        run = CliRunner().invoke
        made = run(make, ["--instrument", testcam.NAME, root], catch_exceptions=False)
        assert made.exit_code == 0, made.output
        raws = [str(path) for path in camera.write_calibrations(folder / "raws")]
        stars = np.full((testcam.HEIGHT, testcam.WIDTH), 400.0)
        for number in range(3):
            stars[40 + 60 * number : 52 + 60 * number, 30 + 20 * number : 42 + 20 * number] = 60_000.0
        science = camera.write(
            folder / "raws" / "s.fits", "object", stars, 5.0, 90.0, FILTNAM="red", ROTATOR=0.0
        )
        imported = run(import_raws, [root, *raws, str(science)], catch_exceptions=False)
        assert imported.exit_code == 0, imported.output
        page = folder / "page.html"
        built = run(
            build,
            [
                "--repo",
                root,
                "--instrument",
                testcam.NAME,
                "--name",
                "one",
                "--page",
                str(page),
                "--crosstalk",
            ],
            catch_exceptions=False,
        )
        assert built.exit_code == 0, built.output
        assert "data:image/png" in page.read_text()
        yield root, camera, built.output


def test_gain_and_read_noise_are_within_2_and_5_per_cent(repo: tuple[str, testcam.SmallCamera, str]) -> None:
    with Butler.from_config(repo[0], collections=f"{testcam.NAME}/calib") as butler:
        camera = butler.get("camera", instrument=testcam.NAME)
    for amplifier in camera.detector(0).amplifiers:
        assert amplifier.gain == pytest.approx(testcam.GAIN[amplifier.name], rel=0.02)
        noise = testcam.READ_NOISE_ADU[amplifier.name] * testcam.GAIN[amplifier.name]
        assert amplifier.read_noise == pytest.approx(noise, rel=0.05)


def test_combined_frames_are_the_truth_within_their_noise(repo: tuple[str, testcam.SmallCamera, str]) -> None:
    root, truth, _ = repo
    collections = [f"{testcam.NAME}/calib/one/run"]
    with Butler.from_config(root, collections=collections) as butler:
        data_id = {"instrument": testcam.NAME, "detector": 0}
        bias, dark = (butler.get(name, data_id, storageClass="ExposureF") for name in ("bias", "dark"))
        flat = butler.get("flat", data_id, physical_filter="red", storageClass="ExposureF")
        defects = butler.get("defects", data_id)
    pull = (bias.image - truth.bias) / np.sqrt(bias.variance)
    assert np.std(pull) == pytest.approx(1.0, abs=0.1)
    current = dark.image[:, : testcam.WIDTH // 2] * testcam.GAIN["L"]
    assert np.median(current) == pytest.approx(testcam.DARK, rel=0.03)
    expected = truth.response / np.median(truth.response)
    column, first, last = truth.dead_column
    good = np.ones(expected.shape, np.bool_)
    good[:, column] = False
    assert np.median(flat.image[good] / expected[good]) == pytest.approx(1.0, abs=0.002)
    # Photon noise of a dozen flats of some 40 000 electrons.
    assert np.std(flat.image[good] / expected[good]) < 0.004
    mask = np.zeros(expected.shape, np.int32)
    defects.apply(mask)
    assert mask[truth.hot[1], truth.hot[0]]
    assert mask[first + 5 : last - 5, column].all()
    assert np.count_nonzero(mask) < 250


def test_images_are_processed_with_all_that_was_measured(repo: tuple[str, testcam.SmallCamera, str]) -> None:
    root, _, _ = repo
    config = IsrConfig()
    config.doCosmicRays = False
    config.allowMissing = True
    with Butler.from_config(root, writeable=True) as butler:
        run = f"{testcam.NAME}/test"
        butler.collections.register(run)
        own = butler.clone(collections=[run, f"{testcam.NAME}/calib", f"{testcam.NAME}/raw/all"], run=run)
        executor = SimplePipelineExecutor.from_task_class(
            IsrTask, config, "isr", where="exposure.observation_type = 'science'", butler=own
        )
        executor.run(register_dataset_types=True, save_versions=False)
        (ref,) = butler.query_datasets("post_isr_image", collections=run)
        image = butler.get(ref)
        metadata = butler.get("isr_metadata", ref.dataId, collections=run)["isr"]
    applied = {
        name: metadata[f"{name}_applied"] for name in ("bias", "dark", "flat", "linearity", "crosstalk")
    }
    assert all(applied.values()), applied
    assert not metadata["fringe_applied"]
    bright = image.image[42:50, 32:40]
    assert np.median(bright) == pytest.approx(60_000, rel=0.02)
    # The ghost of the star in the other amplifier.
    ghost = np.median(image.image[42:50, 192:200]) - np.median(image.image[60:90, 192:200])
    assert abs(ghost) < 6


def test_what_exists_is_not_overwritten(repo: tuple[str, testcam.SmallCamera, str]) -> None:
    arguments = ["--repo", repo[0], "--instrument", testcam.NAME]
    again = CliRunner().invoke(build, [*arguments, "--name", "one"])
    assert again.exit_code == 1
    assert "exists already" in again.output
    none = CliRunner().invoke(build, [*arguments, "--nights", "20010101", "20010102"])
    assert none.exit_code == 1
    assert "import-raws" in none.output


def test_dry_run_of_the_flow_lists_quanta_and_their_cost_and_writes_nothing(
    repo: tuple[str, testcam.SmallCamera, str], tmp_path: Path
) -> None:
    files = sorted(Path(repo[0]).rglob("*"))
    tables = execute(
        load_flow("build-calibrations"),
        {"repo": repo[0], "instrument": testcam.NAME, "crosstalk": True},
        work=tmp_path / "work",
        place=Place(),
        reporter=Silent(),
        dry_run=True,
    )
    quanta = {str(row["step"]): row for row in tables[-1].rows}
    assert [row["quanta"] for row in quanta.values()] == [1, 1, 1, 1, 1, 1]
    assert list(quanta) == [
        *("combineBias", "combineDark", "photonTransfer", "combineFlat", "findDefects", "measureCrosstalk")
    ]
    # As measured on the calibrations that the repository has.
    assert all(row["core hours"] and row["output bytes"] for row in quanta.values()), quanta
    assert sorted(Path(repo[0]).rglob("*")) == files
    assert not (tmp_path / "work").exists()


def test_kind_of_raws_whose_headers_do_not_say_it_is_named(
    repo: tuple[str, testcam.SmallCamera, str], tmp_path: Path
) -> None:
    root, camera, _ = repo
    raw = camera.write(tmp_path / "raw.fits", "engineering", 0.0, 60.0, 200.0)
    arguments = [root, str(raw), "--type", "dark", "--run", "further"]
    assert CliRunner().invoke(import_raws, arguments, catch_exceptions=False).exit_code == 0
    with Butler.from_config(root) as butler:
        (ref,) = butler.query_datasets("raw", "further", with_dimension_records=True)
    assert ref.dataId.exposure.observation_type == "dark"


def test_stars_of_a_raw_serve_where_there_is_no_catalogue(
    repo: tuple[str, testcam.SmallCamera, str], tmp_path: Path
) -> None:
    root, camera, _ = repo
    light = np.full((testcam.HEIGHT, testcam.WIDTH), 400.0)
    yy, xx = np.mgrid[: testcam.HEIGHT, : testcam.WIDTH]
    for number in range(25):
        x, y = 30 + 60 * (number % 5) + 3 * (number // 5), 30 + 45 * (number // 5)
        light += 7000 * np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / 4.5)
    raw = camera.write(tmp_path / "raw.fits", "object", light, 30.0, 300.0, FILTNAM="red", ROTATOR=0.0)
    arguments = [str(raw), "--repo", root, "--instrument", testcam.NAME, "--position", "150", "2"]
    entered = CliRunner().invoke(of_image, arguments, catch_exceptions=False)
    assert entered.exit_code == 0, entered.output
    assert int(entered.output.split("Entered ")[1].split()[0]) > 12
    with Butler.from_config(root) as butler:
        begin = Time("2026-03-04T05:00:00", scale="utc")
        observation = replace(translate(read_header(raw)), begin=begin, end=begin + 30 * u.s)
        found = calibrations_of(butler, f"{testcam.NAME}/calib", observation)
    assert set(found) == {"bias", "dark", "flat", "defects"}
    assert found["bias"].shape == light.shape
