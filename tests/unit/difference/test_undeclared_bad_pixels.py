"""Values that are no measurement are found although nothing declares them; measurements are left alone."""

import numpy as np
import pytest

from prompt_processing.difference.reading.bad_pixels import sky_statistics, undeclared_bad

SHAPE = (260, 280)
LEVEL, NOISE = 800.0, 20.0


def scene(fwhm=3.5, seed=1):
    """Return a sky with stars of all brightnesses."""
    rng = np.random.default_rng(seed)
    image = rng.normal(LEVEL, NOISE, SHAPE)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    width = fwhm / 2.355
    for flux in 10 ** rng.uniform(3, 5.8, 25):
        at = rng.uniform(0, SHAPE[1]), rng.uniform(0, SHAPE[0])
        image += (
            flux * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * width**2)) / (2 * np.pi * width**2)
        )
    return image


def found(image):
    image = np.asarray(image, np.float32)
    return undeclared_bad(image, sky_statistics(image))


def block(bad):
    bad[:, :60] = True
    bad[150:200, 150:230] = True


def columns(bad):
    bad[:, [30, 77, 145]] = True


def row(bad):
    bad[200] = True


def single(bad):
    bad[[50, 99, 210], [33, 240, 222]] = True


def scattered(bad):
    bad |= np.random.default_rng(8).uniform(size=SHAPE) < 0.02


@pytest.mark.parametrize("value", [-999.0, -1e30, 0.0, -32768.0, 1e30, 65535.0])
@pytest.mark.parametrize("place", [block, columns, row, single, scattered])
@pytest.mark.parametrize("whole", [False, True])
def test_fill_values_are_found_wherever_they_are(value, place, whole):
    image, bad = scene(), np.zeros(SHAPE, bool)
    image = np.round(image) if whole else image
    place(bad)
    image[bad] = value
    marked = found(image)
    assert np.count_nonzero(marked & ~bad) == 0
    # Pairs of scattered bright pixels may top a star.
    assert np.count_nonzero(bad & ~marked) <= (0.01 * bad.sum() if value > LEVEL else 0)


@pytest.mark.parametrize("place", [block, columns, row])
def test_constant_areas_at_the_level_of_the_sky_are_found(place):
    image, bad = scene(), np.zeros(SHAPE, bool)
    place(bad)
    image[bad] = LEVEL
    assert np.array_equal(found(image), bad)


@pytest.mark.parametrize("step", [0, 0.3, 0.5, 1, 2, 5, 20])
def test_quantised_sky_is_left_alone(step):
    image = scene() / NOISE
    assert not found(np.round(image / step) if step else image).any()


@pytest.mark.parametrize("fwhm", [1.2, 1.6, 2.0, 8.0])
def test_stars_of_every_width_are_left_alone(fwhm):
    assert not found(scene(fwhm)).any()


def test_gradients_are_left_alone():
    tilted = scene() + np.linspace(0, 600, SHAPE[1])
    assert not found(tilted).any()
    assert not found(np.round(tilted)).any()


def test_stars_that_saturate_are_left_alone_beside_blanks_of_the_same_value():
    image, bad = np.minimum(scene(), 3000.0), np.zeros(SHAPE, bool)
    assert not found(image).any()
    bad[:40] = True
    image[bad] = 3000
    assert np.count_nonzero(found(image) != bad) < 0.005 * bad.sum()


def test_noise_that_was_cut_off_at_a_value_is_left_alone():
    assert not found(np.maximum(scene() - LEVEL, 0)).any()


def test_image_of_one_value_has_no_statistics_and_nothing_found():
    assert not found(np.full(SHAPE, 5.0)).any()


def test_round_top_of_a_star_without_wings_is_left_alone():
    image = scene()
    image[100:103, 100:103] = 65535
    image[200:210, 50:57] = 65535
    assert not found(image).any()


def test_sky_without_noise_is_no_blank_area_and_blank_areas_in_it_are_found():
    rows, columns = np.indices((200, 240))
    image = np.full(rows.shape, 800.0)
    rng = np.random.default_rng(3)
    for x, y, height in zip(
        rng.uniform(0, 240, 25), rng.uniform(0, 200, 25), rng.uniform(200, 9000, 25), strict=True
    ):
        distance = np.hypot(columns - x, rows - y)
        image += np.where(distance < 20, height * (1 + (distance / 3) ** 2) ** -3.5, 0)
    assert not found(image).any()
    image[:, :30] = 0
    assert np.array_equal(np.flatnonzero(found(image).all(axis=0)), np.arange(30))
    assert not found(image)[:, 30:].any()
