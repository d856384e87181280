"""Satellites' streaks are masked, reported and not taken for sources."""

import numpy as np
import pytest

from prompt_processing.images import Mask
from prompt_processing.imaging.measurement.detect_and_measure import detect_and_measure
from prompt_processing.imaging.measurement.streaks import mask_streaks


def draw_streak(exposure, x, y, angle, brightness, sigma=2.0):
    """Add a streak across the image through a point; returns each pixel's distance from it."""
    rows, columns = np.mgrid[: exposure.shape[0], : exposure.shape[1]]
    turn = np.radians(angle)
    away = -(columns - x) * np.sin(turn) + (rows - y) * np.cos(turn)
    exposure.image += (brightness * np.exp(-0.5 * (away / sigma) ** 2)).astype(np.float32)
    return np.abs(away)


def random_stars(n, seed, shape=(800, 900)):
    rng = np.random.default_rng(seed)
    flux = 300 * 10 ** rng.uniform(0, 2, n)
    return list(zip(rng.uniform(20, shape[1] - 20, n), rng.uniform(20, shape[0] - 20, n), flux, strict=True))


@pytest.mark.parametrize("angle", [0, 17, 63, 90, 134])
@pytest.mark.parametrize("brightness", [1.0, 30.0])
def test_streak_across_the_image_is_masked_to_its_sides(star_image, angle, brightness):
    image = star_image((800, 900), random_stars(60, 3), seed=2)
    away = draw_streak(image, 430, 390, angle, brightness)
    streaks = mask_streaks(image)
    assert len(streaks) == 1
    difference = abs(streaks[0].angle - angle) % 180
    assert min(difference, 180 - difference) < 0.5
    masked = image.has(Mask.STREAK)
    assert masked[away < 3].mean() > 0.98
    assert not masked[away > 45].any()


@pytest.mark.parametrize("axis", [0, 1])
def test_step_between_amplifiers_is_no_streak(star_image, axis):
    image = star_image((512, 512), random_stars(40, 3, (512, 512)), seed=2)
    offset = (np.mgrid[:512, :512][axis] - 256) / 50.0
    # What is left of a step when the sky was subtracted.
    image.image += (0.5 * np.sign(offset) * np.exp(-np.abs(offset))).astype(np.float32)
    assert mask_streaks(image) == []
    assert not image.has(Mask.STREAK).any()


def test_pieces_of_a_streak_are_no_sources(star_image):
    image = star_image((800, 900), [(200.0, 700.0, 3000.0)], seed=2)
    away = draw_streak(image, 430, 390, 25, 4.0)
    image.psf.coefficients.setflags(write=False)
    sources = detect_and_measure(image, image, image)
    rows, columns = (np.rint(sources[name]).astype(int) for name in ("y", "x"))
    off_streak = away[rows, columns] > 12
    assert off_streak.sum() >= 1
    assert (~off_streak).sum() == 0


def test_sources_alone_are_no_streak(star_image):
    for seed in range(4):
        image = star_image((800, 900), random_stars(500, seed), seed=seed)
        assert mask_streaks(image) == []
        assert not image.has(Mask.STREAK).any()


def test_two_streaks_are_two(star_image):
    image = star_image((800, 900), [], seed=5)
    draw_streak(image, 430, 390, 25, 3.0)
    draw_streak(image, 300, 500, 110, 5.0)
    assert sorted(round(s.angle) for s in mask_streaks(image)) == [25, 110]


def test_crossing_streaks_do_not_widen_each_other(star_image):
    image = star_image((400, 400), [], seed=5)
    away = np.min([draw_streak(image, 200, 200, angle, 20.0) for angle in (20, 75, 140)], axis=0)
    assert len(mask_streaks(image)) == 3
    masked = image.has(Mask.STREAK)
    assert masked[away < 5].mean() > 0.98
    assert masked[away > 16].mean() < 0.02


def test_negative_streak_of_the_template_is_masked(star_image):
    image = star_image((800, 900), [], seed=6)
    draw_streak(image, 430, 390, 45, -3.0)
    assert len(mask_streaks(image)) == 1


def test_fast_asteroid_is_left_to_the_fit_of_trails(star_image):
    steps = np.linspace(0, 60, 120)
    image = star_image((400, 400), [(170 + s * 0.8, 180 + s * 0.6, 100.0) for s in steps], seed=7)
    assert mask_streaks(image) == []
