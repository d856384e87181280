"""The noise of pixels is right where unresolved stars, integer steps or a floor hide it."""

import numpy as np
import pytest
from scipy import ndimage
from tests.support.gaussian_stars import NOISE

from prompt_processing.imaging.blemishes.pixel_noise import (
    dithered,
    hides_noise,
    pixel_noise,
    quantum,
    unclipped,
)


def test_noise_between_stars_without_number_is_that_of_pixels():
    rng = np.random.default_rng(5)
    light = np.zeros((300, 300))
    light[rng.integers(0, 300, 3000), rng.integers(0, 300, 3000)] = rng.pareto(1.0, 3000) * 300
    image = (ndimage.gaussian_filter(light, 1.8) + rng.normal(0, NOISE, light.shape)).astype(np.float32)
    image -= np.median(image)
    clipped = 1.4826 * np.median(np.abs(image))
    assert clipped > 1.3 * NOISE
    assert pixel_noise(image, np.ones(image.shape, bool)) == pytest.approx(NOISE, rel=0.08)


def test_noise_of_a_resampled_image_is_that_of_pixels():
    white = np.random.default_rng(6).normal(0, NOISE, (300, 300))
    image = ndimage.gaussian_filter(white, 1.0).astype(np.float32)
    assert pixel_noise(image, np.ones(image.shape, bool)) == pytest.approx(image.std(), rel=0.1)


def test_steps_of_integers_are_seen_and_do_not_bias_the_middle():
    values = np.random.default_rng(7).normal(401.3, 7, (200, 200))
    usable = np.ones(values.shape, bool)
    steps = (np.round(values / 16) * 16).astype(np.float32)
    assert quantum(steps, usable) == 16
    assert quantum(values.astype(np.float32), usable) == 0
    assert np.median(dithered(steps, 16)) == pytest.approx(401.3, abs=0.6)


@pytest.mark.parametrize("level", [10.0, 10.3, 10.5])
@pytest.mark.parametrize("scatter", [0.05, 0.25, 0.8])
def test_steps_hide_the_noise_where_the_sky_has_two_values(level, scatter):
    values = np.rint(np.random.default_rng(2).normal(level, scatter, (200, 200))).astype(np.float32)
    assert hides_noise(values, np.ones(values.shape, bool), 1.0) == (scatter < 0.5)


def test_single_photons_hide_no_noise():
    for mean in (0.05, 0.2, 0.6, 1.5):
        counts = np.random.default_rng(3).poisson(mean, (200, 200)).astype(np.float32)
        assert not hides_noise(counts, np.ones(counts.shape, bool), 1.0)
        assert unclipped(counts, np.ones(counts.shape, bool)) is None
    assert not hides_noise(counts, np.zeros(counts.shape, bool), 1.0)


@pytest.mark.parametrize("floor", [-0.8, 0.0, 0.4])
def test_clipped_sky_gets_its_noise_back(floor):
    sky = np.random.default_rng(4).normal(0, 1, (300, 300)).astype(np.float32)
    full = unclipped(np.maximum(sky, np.float32(floor)), np.ones(sky.shape, bool))
    assert np.mean(full) == pytest.approx(0, abs=0.03)
    assert np.std(full) == pytest.approx(1, abs=0.03)
    assert (full[sky > floor] == sky[sky > floor]).all()
    counts = np.maximum(np.rint(4 * sky + 3), 0).astype(np.float32)
    assert np.std(unclipped(counts, np.ones(sky.shape, bool))) == pytest.approx(4, abs=0.2)


def test_blank_parts_and_plain_skies_are_not_clipped():
    sky = np.random.default_rng(4).normal(0, 1, (300, 300)).astype(np.float32)
    assert unclipped(sky, np.ones(sky.shape, bool)) is None
    assert unclipped(np.sign(sky), np.ones(sky.shape, bool)) is None
    sky[:, :90] = -10
    assert unclipped(sky, np.ones(sky.shape, bool)) is None
