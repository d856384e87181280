"""Trails that are longer than what a PSF is fitted to."""

import numpy as np
import pytest

from prompt_processing.images import Exposure, Mask
from prompt_processing.imaging.measurement.detect_and_measure import detect_and_measure
from prompt_processing.imaging.measurement.dia_detection import detect_dia_sources
from prompt_processing.imaging.measurement.dia_filters import filter_dia_sources
from prompt_processing.imaging.measurement.dia_long_trails import join_long_trails
from prompt_processing.imaging.measurement.reliability import ReliabilityModel

SHAPE = (260, 280)


def measured(exposure):
    blank = Exposure.blank(exposure.shape, wcs=exposure.wcs, psf=exposure.psf)
    blank.variance[:] = 1
    return detect_and_measure(exposure, exposure, blank)


def line(x, y, length, angle, brightness):
    """Points along a trail, ``brightness`` in flux a pixel of its length."""
    steps = (np.arange(4 * length) + 0.5) / (4 * length) - 0.5
    turn = np.radians(angle)
    return [(x + s * length * np.cos(turn), y + s * length * np.sin(turn), brightness / 4) for s in steps]


@pytest.mark.parametrize("brightness", [25.0, 100.0, 1000.0, -100.0])
@pytest.mark.parametrize(("length", "angle"), [(26, 0), (33, 80), (45, 20), (62, 120), (100, 45)])
def test_long_trail_is_one_source_with_its_length_and_flux(star_image, length, angle, brightness):
    x, y = 140.3, 130.8
    sources = measured(star_image(SHAPE, line(x, y, length, angle, brightness), seed=3))
    assert len(sources) == 1
    trail = sources[0]
    assert np.hypot(trail["x"] - x, trail["y"] - y) < 0.1 + 6 * np.hypot(trail["xErr"], trail["yErr"])
    assert abs(trail["trailLength"] - length * 0.2) < 0.02 + 6 * trail["trailLengthErr"]
    flux = length * brightness
    assert abs(trail["trailFlux"] - flux) < 0.01 * abs(flux) + 6 * trail["trailFluxErr"]
    bearing = (90 - (180 - angle)) % 180
    off = (trail["trailAngle"] - bearing + 90) % 180 - 90
    assert abs(off) < 0.2 + 6 * trail["trailAngleErr"]
    kept, _ = filter_dia_sources(sources)
    assert len(kept) == 1
    assert ReliabilityModel.load().score(sources)[0] > 0.5


@pytest.mark.parametrize("angle", [0, 30, 135])
def test_trail_over_bad_columns_is_still_one(star_image, angle):
    image = star_image(SHAPE, line(140, 130, 60, angle, 200.0), seed=5)
    image.mask[:, 150:154] |= int(Mask.BAD)
    image.image[:, 150:154] = 0
    sources = measured(image)
    assert len(sources) == 1
    assert sources["trailFlux"][0] == pytest.approx(60 * 200, rel=0.03)
    assert sources["trailLength"][0] == pytest.approx(60 * 0.2, abs=0.1)


def test_faint_trail_that_is_detected_in_parts_is_one(star_image):
    image = star_image(SHAPE, line(140, 130, 60, 20, 7.5), seed=1)
    assert len(np.unique(detect_dia_sources(image)["footprint"])) > 1
    sources = measured(image)
    assert len(sources) == 1
    assert sources["trailLength"][0] == pytest.approx(60 * 0.2, abs=0.8)


def test_neighbour_beside_a_trail_stays_a_source_and_changes_it_little(star_image):
    stars = line(140, 130, 50, 0, 200.0)
    sources = measured(star_image(SHAPE, [*stars, (150.0, 152.0, 3000.0)], seed=6))
    assert len(sources) == 2
    trail = sources[np.argmax(np.asarray(sources["trailLength"], float) > 5)]
    assert trail["trailFlux"] == pytest.approx(50 * 200, rel=0.03)


def test_row_of_stars_is_not_taken_for_a_trail(star_image):
    fluxes = (900.0, 2500.0, 700.0, 1800.0, 1200.0)
    image = star_image(SHAPE, [(110.0 + 7.5 * i, 130.0, flux) for i, flux in enumerate(fluxes)], seed=7)
    peaks = detect_dia_sources(image)
    assert len(np.unique(peaks["footprint"])) == 1
    assert len(peaks) > 2
    assert np.array_equal(join_long_trails(image, peaks), peaks)


@pytest.mark.parametrize(
    ("separation", "fluxes"),
    [
        (1.7, (4000.0, 4000.0)),
        (2.2, (9000.0, 2500.0)),
        (2.2, (-4000.0, -3000.0)),
        (3.0, (9000.0, 2500.0)),
    ],
)
def test_two_sources_close_together_stay_two(star_image, separation, fluxes):
    first, second = fluxes
    fwhm = star_image(SHAPE, [], seed=0).psf.fwhm_at(140, 130)
    off = separation * fwhm
    image = star_image(SHAPE, [(120.3, 130.2, first), (120.3 + 0.8 * off, 130.2 + 0.6 * off, second)], seed=9)
    sources = measured(image)
    assert len(sources) == 2
    found = sources[np.argsort(sources["x"])]
    np.testing.assert_allclose(found["x"], [120.3, 120.3 + 0.8 * off], atol=0.5)
    np.testing.assert_allclose(found["y"], [130.2, 130.2 + 0.6 * off], atol=0.5)


@pytest.mark.parametrize(("dx", "dy"), [(0, 9), (0, -9), (60, 0)])
def test_trail_is_found_where_a_peak_is_centred_beyond_its_footprint(star_image, dx, dy):
    image = star_image(SHAPE, line(140, 130, 60, 0, 100.0), seed=1)
    peaks = detect_dia_sources(image)
    assert len(peaks) > 1
    peaks["x"][0] += dx
    peaks["y"][0] += dy
    joined = join_long_trails(image, peaks)
    assert joined["trail_length"].max() == pytest.approx(60, abs=2)
