"""The mesh of the sky is that of SExtractor, and survives holes, steps and missing boxes."""

from __future__ import annotations

import numpy as np
import pytest
import sep

from prompt_processing.imaging.calibration.sky_mesh import measure_mesh

SIGMA = 12.0


def sky(shape=(640, 800), level=900.0, stars=0, seed=1):
    rng = np.random.default_rng(seed)
    image = rng.normal(level, SIGMA, shape)
    for y, x, flux in zip(
        rng.integers(5, shape[0] - 5, stars),
        rng.integers(5, shape[1] - 5, stars),
        100 * SIGMA * rng.pareto(1.0, stars),
        strict=True,
    ):
        image[y - 2 : y + 3, x - 2 : x + 3] += flux / 25
    return image.astype(np.float32)


@pytest.mark.parametrize("stars", [0, 300, 3000])
@pytest.mark.parametrize("masked", [False, True])
def test_level_and_noise_are_those_of_sep(stars, masked):
    image = sky(stars=stars)
    mask = np.zeros(image.shape, np.bool_)
    if masked:
        mask[:128, :384] = True
        mask[::7] = True
    peer = sep.Background(image, mask=mask, bw=128, bh=128, fw=3, fh=3)
    level, noise = measure_mesh(image, mask, 128, 1)
    centres = np.ix_(np.arange(5) * 128 + 64, np.minimum(np.arange(7) * 128 + 64, 784))
    assert np.abs(level - peer.back()[centres]).max() < 0.1 * SIGMA
    assert np.median(level) == pytest.approx(peer.globalback, abs=0.01 * SIGMA)
    assert np.median(noise) == pytest.approx(peer.globalrms, rel=0.01)


def test_every_other_pixel_gives_the_same_sky():
    image = sky(stars=300)
    full, sparse = measure_mesh(image, None, 128, 1), measure_mesh(image, None, 128, 2)
    assert full[0].shape == sparse[0].shape
    assert np.abs(full[0] - sparse[0]).max() < 0.1 * SIGMA


def test_numbers_that_are_none_do_not_count():
    image = sky()
    level, noise = measure_mesh(image, None, 128, 1)
    image[::3, ::3] = np.nan
    image[1::3, 1::3] = np.inf
    holes = measure_mesh(image, None, 128, 1)
    assert np.abs(holes[0] - level).max() < 0.1 * SIGMA
    assert np.abs(holes[1] - noise).max() < 0.1 * SIGMA


def test_boxes_without_sky_are_like_the_nearest():
    image = sky()
    image[:, 384:] += 500
    mask = np.zeros(image.shape, np.bool_)
    mask[:384, :256] = True
    level, _ = measure_mesh(image, mask, 128, 1)
    assert level[0, 0] == pytest.approx(900, abs=0.2 * SIGMA)
    assert level[0, -1] == pytest.approx(1400, abs=0.2 * SIGMA)


def test_no_sky_at_all_is_nan_and_a_constant_has_no_noise():
    image = np.full((256, 256), 7.0, np.float32)
    level, noise = measure_mesh(image, None, 128, 1)
    assert np.all(level == 7)
    assert not noise.any()
    assert all(np.isnan(plane).all() for plane in measure_mesh(image, np.ones(image.shape, np.bool_), 128, 1))
