"""Stars of one raw image calibrate others where there is no catalogue."""

from pathlib import Path

import numpy as np
import pytest
from small_camera import HEIGHT, NAME, WIDTH, SmallCamera, write_instrument

from prompt_processing.instruments import detector_wcs, load_camera
from prompt_processing.instruments.description.registry import SEARCH_PATH_VARIABLE
from prompt_processing.repository.catalogues.errors import CatalogueError
from prompt_processing.repository.catalogues.of_image import stars_of_image

PLACE = (150.0, 2.0)
ZERO_POINT = 23.0


@pytest.fixture
def raws(tmp_path, monkeypatch):
    monkeypatch.setenv(SEARCH_PATH_VARIABLE, str(write_instrument(tmp_path / "instruments")))
    x, y = np.random.default_rng(4).uniform(20, [WIDTH - 20, HEIGHT - 20], (30, 2)).T
    yy, xx = np.mgrid[:HEIGHT, :WIDTH]
    light = np.full((HEIGHT, WIDTH), 400.0)
    for number in range(30):
        squares = (xx - x[number]) ** 2 + (yy - y[number]) ** 2
        light += 60_000 / (2 * np.pi * 1.5**2) * np.exp(-squares / (2 * 1.5**2))
    camera = SmallCamera()
    cards = {"FILTNAM": "red", "ROTATOR": 12.5}
    place = {"TELRA": PLACE[0], "TELDEC": PLACE[1]}
    science = camera.write(tmp_path / "science.fits", "object", light, 30.0, 1.0, **cards, **place)
    nowhere = camera.write(tmp_path / "nowhere.fits", "object", light, 30.0, 2.0, **cards)
    empty = camera.write(tmp_path / "empty.fits", "object", 400.0, 30.0, 3.0, **cards, **place)
    dome = camera.write(tmp_path / "dome.fits", "dome", 5000.0, 30.0, 4.0, **cards)
    return {"science": science, "nowhere": nowhere, "empty": empty, "dome": dome}, np.column_stack([x, y])


def measured(path: Path, **options):
    return stars_of_image(path, load_camera(NAME), lambda observation: {}, zero_point=ZERO_POINT, **options)


def test_stars_have_positions_of_the_header_and_magnitudes_of_the_zero_point(raws):
    paths, pixels = raws
    stars = measured(paths["science"])
    camera = load_camera(NAME)
    wcs = detector_wcs(camera, camera.detector(0), *PLACE, 12.5)
    found = np.column_stack(wcs.all_world2pix(stars["ra"], stars["dec"], 0))
    distance = np.hypot(*(found[:, np.newaxis] - pixels).T).min(axis=0)
    assert len(stars) > 12
    assert np.median(distance) < 0.1
    # Gains are nominal here: the description has 1 instead of 1.35 to 1.7 electrons per ADU.
    magnitude = 31.4 - 2.5 * np.log10(np.median(stars["r_flux"]))
    assert magnitude == pytest.approx(ZERO_POINT - 2.5 * np.log10(60_000 / 1.5 / 30), abs=0.2)


def test_given_position_precedes_and_serves_headers_without_one(raws):
    paths, _ = raws
    stars = measured(paths["nowhere"], position=(10.0, -30.0))
    assert np.median(stars["ra"]) == pytest.approx(10, abs=0.03)
    assert np.median(stars["dec"]) == pytest.approx(-30, abs=0.03)


@pytest.mark.parametrize(
    ("name", "problem"),
    [("nowhere", "no position: name it with --position"), ("dome", "is a flat frame"), ("empty", "no stars")],
)
def test_image_that_cannot_serve_is_refused_with_the_reason(raws, name, problem):
    with pytest.raises(CatalogueError, match=problem):
        measured(raws[0][name])
