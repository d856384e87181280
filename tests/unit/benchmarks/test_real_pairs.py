"""Pairs of real images are judged by what is known of them, and by fits that share no code with ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from real.comparison import Row, judge
from real.report import described, overall
from real.seeing import gaussian_seeing
from real.sets import Pair, read_sets

from prompt_processing.images import Exposure


def write_image(path: Path, band: str = "r", fwhm: float = 4.0, rays: int = 0) -> None:
    rng = np.random.default_rng(1)
    image = rng.normal(500, 8, (300, 320))
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    for px, py, height in zip(*rng.uniform(20, 280, (2, 25)), rng.uniform(500, 9000, 25), strict=True):
        image += height * np.exp(-0.5 * ((x - px) ** 2 + (y - py) ** 2) / (fwhm / 2.3548) ** 2)
    image[rng.integers(0, 300, rays), rng.integers(0, 320, rays)] += 3000
    fits.PrimaryHDU(image.astype(np.float32), fits.Header({"FILTER": band})).writeto(path)


def test_sets_are_read_from_their_lists(tmp_path: Path) -> None:
    (tmp_path / "field").mkdir()
    (tmp_path / "field" / "pairs.yaml").write_text(
        "pairs:\n- {science: a.fits, template: b.fits, changes: [{x: 3, y: 4}]}\n"
        "- {science: c.fits, template: b.fits, possible: false}\nchanges: [{ra: 1.0, dec: 2.0}]\n"
    )
    first, second = read_sets(tmp_path)["field"]
    assert first.science == str(tmp_path / "field" / "a.fits")
    assert first.changes == [{"ra": 1.0, "dec": 2.0}, {"x": 3, "y": 4}]
    assert not second.possible
    assert read_sets(tmp_path, ["another"]) == {}


def test_folder_without_a_list_is_compared_with_the_first_image_of_each_filter(tmp_path: Path) -> None:
    for name, band in (("1.fits", "r"), ("2.fits", "g"), ("3.fits", "r")):
        write_image(tmp_path / name, band)
    (pairs,) = read_sets(tmp_path).values()
    assert [(Path(pair.science).name, Path(pair.template).name) for pair in pairs] == [("3.fits", "1.fits")]


@pytest.mark.parametrize("fwhm", [2.5, 4.0, 8.0])
def test_gaussian_fits_measure_stars_among_more_hits_than_stars(tmp_path: Path, fwhm: float) -> None:
    write_image(tmp_path / "a.fits", fwhm=fwhm, rays=40)
    assert gaussian_seeing(str(tmp_path / "a.fits")) == pytest.approx(fwhm, rel=0.05)


def test_known_changes_count_if_they_are_reliable_and_of_their_sign() -> None:
    row = Row("field", "a.fits", "b.fits", True)
    sources = Table(
        {
            "x": [10.0, 40.0, 70.0, 90.0],
            "y": [10.0, 40.0, 70.0, 90.0],
            "reliability": [0.9, 0.3, 0.9, 0.8],
            "psfFlux": [5.0, 5.0, 5.0, -5.0],
        }
    )
    changes = [{"x": 11, "y": 10}, {"x": 40, "y": 41}, {"x": 70, "y": 70, "sign": -1}, {"x": 400, "y": 1}]
    science = Exposure(*(np.zeros((100, 100), kind) for kind in (np.float32, np.int32, np.float32)))
    judge(row, Pair("a.fits", "b.fits", changes), sources, science)
    assert (row.known, row.found, row.spurious) == (3, 1, 1)
    assert row.missed == ["(40, 41) scored 0.30", "(70, 70)"]
    assert "known ones found 1 of 3" in described(row)
    assert "found 1 of 3; 1 spurious above 0.5" in overall([row])
