"""The way of a mosaic that no package describes, in DECam's form of files, beside the truth."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import astropy.units as u
import fastavro
import numpy as np
import pytest
import yaml
from astropy.coordinates import SkyCoord
from lsst.daf.butler import Butler
from mosaic_observatory import CCDS, FILTER, GAINS, READ_NOISES, WIDTH, Mosaic, write_mosaic
from numpy.typing import NDArray

from prompt_processing.butler.formatters import read_image
from prompt_processing.butler.opening import open_repository
from prompt_processing.butler.types import use_butler_types
from prompt_processing.demo.raws.commands import enter_solved
from prompt_processing.demo.raws.depth import depth_ratio
from prompt_processing.images import UNUSABLE, Exposure
from prompt_processing.instruments.description.registry import SEARCH_PATH_VARIABLE
from prompt_processing.repository.catalogues.of_templates import stars_of_templates

pytestmark = pytest.mark.integration

NAME = "Wideye"
_ELSEWHERE = ("AP_KAFKA_", "MP_SKY_URL", "EXPORT_TYPE_REGEXP", "SATTLE_URI_BASE", "KAFKA_", "CONFIG_APDB")
_PROGRAM = """
import json, sys
from prompt_processing.cli.main import run
for words in json.loads(sys.argv[1]):
    print("$ prompt", *words, flush=True)
    if status := run(*words):
        sys.exit(status)
"""
"""Runs several commands: most of the time of one is that of its imports."""


@pytest.fixture(scope="module")
def mosaic(tmp_path_factory: pytest.TempPathFactory) -> Mosaic:
    return write_mosaic(tmp_path_factory.mktemp("mosaic"))


@pytest.fixture(scope="module")
def repo(mosaic: Mosaic) -> str:
    """Go the way that doc/any-camera.md describes, and return the repository."""
    root = mosaic.root

    def files(pattern: str) -> list[str]:
        return sorted(str(path.relative_to(root)) for path in root.glob(pattern))

    here = ("--repo", "repo", "--instrument", NAME)
    camera = f"cameras/{NAME}"
    sources = [
        word for path in [*files("calibration/*"), *files("earlier/*")[:2]] for word in ("--from", path)
    ]
    check = ["instrument", "check", camera, files("earlier/*")[0], "--catalogue", "stars.csv"]
    printed = commands(root, [["instrument", "new", camera, *sources], check])
    assert enter_solved(printed, root / camera / "instrument.yaml")
    commands(
        root,
        [
            ["repo", "make", "--instrument", NAME, "repo"],
            ["repo", "import-raws", "repo", "calibration"],
            ["calibrations", "build", *here, "--name", "first"],
            ["refcat", "import", "stars.csv", "--repo", "repo", "--name", "stars"],
            ["watch", "earlier", "--once", *here, "--work", "earlier-work"],
            ["templates", "build", *here, "--new-skymap", "fields", "--name", "first"],
            ["watch", "tonight", "--once", *here, "--work", "night"],
        ],
    )
    return str(root / "repo")


def commands(root: Path, lines: Sequence[Sequence[str]]) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_ELSEWHERE)}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, json.dumps(lines)],
        cwd=root,
        env={**environment, SEARCH_PATH_VARIABLE: str(root / "cameras")},
        capture_output=True,
        text=True,
        timeout=840,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def butler(repo: str, mosaic: Mosaic, monkeypatch: pytest.MonkeyPatch) -> Iterator[Butler]:
    monkeypatch.setenv(SEARCH_PATH_VARIABLE, str(mosaic.root / "cameras"))
    use_butler_types()
    with open_repository(repo) as opened:
        yield opened


def test_description_has_the_detectors_and_what_the_stars_say(repo: str, mosaic: Mosaic) -> None:
    described = yaml.safe_load((mosaic.root / "cameras" / NAME / "instrument.yaml").read_text())
    assert {one["id"]: one["name"] for one in described["detectors"]} == CCDS
    assert described["parity_flipped_x"] is True
    assert described["header"]["rotation"]["constant"] == pytest.approx(90, abs=0.1)
    assert described["filters"][FILTER] == "r"


def test_gain_and_read_noise_are_those_of_each_amplifier(butler: Butler) -> None:
    camera = butler.get("camera", instrument=NAME, collections=f"{NAME}/calib")
    for ccd in CCDS:
        for amplifier in camera.detector(ccd).amplifiers:
            assert amplifier.gain == pytest.approx(GAINS[ccd][amplifier.name], rel=0.02)
            assert amplifier.read_noise == pytest.approx(READ_NOISES[ccd][amplifier.name], rel=0.05)


def test_bias_and_flat_differ_from_the_truth_by_their_noise(butler: Butler, mosaic: Mosaic) -> None:
    run = f"{NAME}/calib/first/run"
    for kind, truth in (("bias", mosaic.bias), ("flat", mosaic.response)):
        refs = butler.query_datasets(kind, run)
        assert {ref.dataId["detector"] for ref in refs} == set(CCDS)
        for ref in refs:
            made: Exposure = butler.get(ref, storageClass="ExposureF")
            true = truth[int(ref.dataId["detector"])]
            true = true / np.median(true) if kind == "flat" else true
            # Of each amplifier: what its gain is off is in the level of its flat, too, which corrects it.
            for half in (slice(None, WIDTH // 2), slice(WIDTH // 2, None)):
                assert pull(made, true, half) == pytest.approx(1, abs=0.05)


def pull(made: Exposure, truth: NDArray[np.float64], columns: slice) -> float:
    """Return the scatter of an image about the truth over the noise that its variance states."""
    usable = (made.variance > 0) & ((made.mask & np.int32(int(UNUSABLE))) == 0)
    usable &= np.isin(np.arange(WIDTH), np.arange(WIDTH)[columns])
    # The level of all is another question.
    difference = made.image[usable] - truth[usable]
    pulls = (difference - np.median(difference)) / np.sqrt(made.variance[usable])
    low, high = np.percentile(pulls, [15.865, 84.135])
    return float(high - low) / 2


def test_template_is_as_deep_as_its_images_together(butler: Butler) -> None:
    refs = butler.query_datasets("preliminary_visit_image", f"{NAME}/prompt/*", find_first=False)
    earlier = [read_image(butler, ref) for ref in refs if str(ref.dataId["day_obs"]) < "20230822"]
    (ref,) = butler.query_datasets("template_coadd", f"{NAME}/templates/first")
    assert depth_ratio(butler.get(ref, storageClass="ExposureF"), earlier) == pytest.approx(1, abs=0.02)


def test_stars_on_the_template_are_where_the_truth_has_them(butler: Butler, mosaic: Mosaic) -> None:
    stars = stars_of_templates(butler, f"{NAME}/templates/first")
    bright = stars[np.asarray(stars["r_flux"] > 100 * stars["r_fluxErr"])]
    truth = mosaic.stars[mosaic.stars["mag"] < 21]
    _, separation, _ = places(bright).match_to_catalog_sky(places(truth))
    assert len(bright) > 40
    # For one axis; the median, since blended stars have no position of their own.
    assert float(np.median(separation.arcsec)) * 1000 / np.sqrt(2 * np.log(2)) < 20


def test_alerts_are_the_changes(repo: str, mosaic: Mosaic) -> None:
    sources = []
    for path in sorted((mosaic.root / "night" / "alerts").glob("*.avro")):
        with path.open("rb") as file:
            sources += [alert["diaSource"] for alert in fastavro.reader(file)]
    found = SkyCoord([one["ra"] for one in sources], [one["dec"] for one in sources], unit=u.deg)
    _, separation, _ = places(mosaic.changes).match_to_catalog_sky(found)
    # Enough that one missed change is less than a per cent; all have S/N > 10.
    assert len(mosaic.changes) >= 100
    assert float(np.mean(separation.arcsec < 0.7)) >= 0.99
    _, separation, _ = found.match_to_catalog_sky(places(mosaic.changes))
    spurious = [one["snr"] for one, apart in zip(sources, separation.arcsec, strict=True) if apart > 1.5]
    assert sum(snr > 10 for snr in spurious) <= 0.02 * len(sources)


def places(table: object) -> SkyCoord:
    return SkyCoord(table["ra"], table["dec"], unit=u.deg)  # type: ignore[index]
