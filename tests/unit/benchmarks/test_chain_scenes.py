"""The truth that the chain is judged by must depend on the scene alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from chain.scenes import REGIMES, ideal_noise, ideal_snr, make_scene
from moffat.exposure import NJY_PER_ELECTRON

from prompt_processing.images import Exposure, Psf

SHAPE = (480, 480)
SCENES = [("typical", 11), ("template blurrier", 12), ("galaxies", 13), ("template sharper", 14)]

PROGRAM = """
import json, sys
from pathlib import Path
from chain.scenes import REGIMES, make_scene
scene = make_scene(REGIMES[sys.argv[1]], int(sys.argv[2]), {shape}, Path(sys.argv[3]))
print(json.dumps([list(map(float, scene.truth["snr"])), list(map(bool, scene.truth["clear"]))]))
"""


def test_truth_of_a_scene_does_not_depend_on_those_before(tmp_path: Path) -> None:
    """Old scenes are freed as new ones are drawn, and their memory used again."""
    together = []
    for name, seed in SCENES:
        truth = make_scene(REGIMES[name], seed, SHAPE, tmp_path / "one").truth
        together.append((np.asarray(truth["snr"]), np.asarray(truth["clear"])))
    benchmarks = Path(__file__).parents[3] / "benchmarks"
    for (name, seed), (snr, clear) in zip(SCENES, together, strict=True):
        command = [sys.executable, "-c", PROGRAM.format(shape=SHAPE), name, str(seed), str(tmp_path / "own")]
        done = subprocess.run(command, cwd=benchmarks, capture_output=True, text=True, check=True)
        alone = json.loads(done.stdout)
        np.testing.assert_array_equal(snr, alone[0])
        np.testing.assert_array_equal(clear, alone[1])


def _exposure(fwhm: float, sigma: float) -> Exposure:
    out = Exposure.blank((80, 80))
    out.variance[:] = sigma**2
    y, x = np.mgrid[-20:21, -20:21]
    image = np.exp(-4 * np.log(2) * (x**2 + y**2) / fwhm**2)
    out.psf = Psf((image / image.sum()).astype(np.float32)[np.newaxis], 0, 39.5, 39.5, 40.0)
    return out


def test_ideal_snr_is_that_of_the_image_alone_where_the_template_has_no_noise() -> None:
    science, template = _exposure(5.0, 3.0), _exposure(3.0, 1e-4)
    noise = ideal_noise(science), ideal_noise(template)
    found = ideal_snr(noise, 100.0, (40, 40), (40, 40))
    # Of a Gaussian, by its noise-equivalent area.
    assert found == pytest.approx(100 / 3 / np.sqrt(4 * np.pi * (5 / 2.3548) ** 2), rel=0.01)


def test_ideal_snr_follows_the_scene_that_it_is_asked_of() -> None:
    sharp = [ideal_noise(_exposure(fwhm, 3.0)) for fwhm in (3.0, 3.0)]
    wide = [ideal_noise(_exposure(fwhm, 3.0)) for fwhm in (7.0, 3.0)]
    values = [ideal_snr(tuple(pair), 100.0, (40, 40), (40, 40)) for pair in (sharp, wide, sharp)]
    assert values[0] == values[2]
    assert values[1] < 0.7 * values[0]


def test_regimes_span_the_seeing_and_the_densities_that_are_promised() -> None:
    seeings = {(r.science_fwhm, r.template_fwhm) for r in REGIMES.values()}
    assert {(1.4, 0.6), (0.6, 1.4)} <= seeings
    stars = [r.stars for r in REGIMES.values()]
    assert (min(stars), max(stars)) == (1000, 50_000)
    assert [name for name, r in REGIMES.items() if not r.relaxed] == ["typical", "sparse, 1 000 stars"]


def test_scenes_files_hold_what_the_truth_tells(tmp_path: Path) -> None:
    scene = make_scene(REGIMES["typical"], 11, SHAPE, tmp_path)
    truth: Table = scene.truth
    chosen = (truth["kind"] == "transient") & truth["clear"] & (truth["snr"] > 50)
    assert chosen.any()
    for row in truth[chosen]:
        x, y = round(row["x"]), round(row["y"])
        light = scene.pair.science.image[y - 2 : y + 3, x - 2 : x + 3].sum() / NJY_PER_ELECTRON
        assert light > 0.3 * row["electrons"]
