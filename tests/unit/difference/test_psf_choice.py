"""The stars that make the PSF of an image."""

import numpy as np
import pytest
from astropy.table import Table

from prompt_processing.difference.find_psf import PsfSettings, find_psf
from prompt_processing.difference.prepare import psf_error
from prompt_processing.images import Exposure

SHAPE, SKY_NOISE = (600, 600), 10.0


def add_gaussians(image, x, y, flux, sigma):
    rows, columns = np.indices((31, 31)) - 15
    for px, py, light in zip(x, y, flux, strict=True):
        i, j = round(px), round(py)
        square = (columns - (px - i)) ** 2 + (rows - (py - j)) ** 2
        image[j - 15 : j + 16, i - 15 : i + 16] += (
            light / (2 * np.pi * sigma**2) * np.exp(-square / 2 / sigma**2)
        )


@pytest.mark.parametrize("seed", [1, 2])
def test_bright_stars_make_the_psf_although_compact_galaxies_would_add_to_their_number(seed):
    rng = np.random.default_rng(seed)
    y, x = (axis.ravel() + rng.uniform(-4, 4, axis.size) for axis in np.mgrid[30:580:50, 30:580:50] * 1.0)
    order = rng.permutation(len(x))
    stars, galaxies = order[:36], order[36:]
    image = rng.normal(0, SKY_NOISE, SHAPE).astype(np.float32)
    # The noise of a star of FWHM 4.2 is that of 40 pixels of sky.
    noise = SKY_NOISE * np.sqrt(4 * np.pi * 1.8**2)
    add_gaussians(image, x[stars], y[stars], rng.uniform(150, 300, len(stars)) * noise, 1.8)
    add_gaussians(image, x[galaxies], y[galaxies], rng.uniform(50, 75, len(galaxies)) * noise, 1.95)
    exposure = Exposure(image, np.zeros(SHAPE, np.int32), np.full(SHAPE, SKY_NOISE**2, np.float32))

    found = find_psf(exposure, np.full(SHAPE, SKY_NOISE, np.float32), SKY_NOISE, "night.fits", PsfSettings())

    assert 30 <= found.stars <= 36
    assert found.psf is not None
    assert found.psf.fwhm_at() == pytest.approx(2.355 * 1.8, rel=0.01)


@pytest.mark.parametrize(("bright", "expected"), [(70, (60, 70)), (40, (85, 100))])
def test_the_brightest_stars_make_the_psf_alone_if_they_are_many(bright, expected):
    rng = np.random.default_rng(4)
    y, x = (axis.ravel() + rng.uniform(-4, 4, axis.size) for axis in np.mgrid[30:580:55, 30:580:55] * 1.0)
    noise = SKY_NOISE * np.sqrt(4 * np.pi * 1.8**2)
    snr = np.where(rng.permutation(len(x)) < bright, 400.0, 130.0)
    image = rng.normal(0, SKY_NOISE, SHAPE).astype(np.float32)
    add_gaussians(image, x, y, snr * noise, 1.8)
    # Neighbours of the faint ones, below the detection limit.
    faint = snr < 200
    add_gaussians(image, x[faint] + 4.0, y[faint], 3 * noise * np.ones(faint.sum()), 1.8)
    exposure = Exposure(image, np.zeros(SHAPE, np.int32), np.full(SHAPE, SKY_NOISE**2, np.float32))

    found = find_psf(exposure, np.full(SHAPE, SKY_NOISE, np.float32), SKY_NOISE, "night.fits", PsfSettings())

    assert expected[0] <= found.stars <= expected[1]


def light_beyond(radius, image):
    """Return the light of an image's PSF outside a radius in pixels."""
    exposure = Exposure(image, np.zeros(SHAPE, np.int32), np.full(SHAPE, SKY_NOISE**2, np.float32))
    psf = find_psf(
        exposure, np.full(SHAPE, SKY_NOISE, np.float32), SKY_NOISE, "night.fits", PsfSettings()
    ).psf
    assert psf is not None
    shape = psf.image_at(300.0, 300.0)
    rows, columns = np.indices(shape.shape) - shape.shape[0] // 2
    return shape[np.hypot(rows, columns) > radius].sum()


def test_wings_of_galaxies_with_the_cores_of_stars_do_not_enter_the_psf():
    rng = np.random.default_rng(3)
    y, x = (axis.ravel() + rng.uniform(-4, 4, axis.size) for axis in np.mgrid[30:580:50, 30:580:50] * 1.0)
    galaxies = rng.permutation(len(x)) < 36
    light = rng.uniform(150, 300, len(x)) * SKY_NOISE * np.sqrt(4 * np.pi * 1.8**2)
    image = rng.normal(0, SKY_NOISE, SHAPE).astype(np.float32)
    add_gaussians(image, x, y, light, 1.8)
    stars_alone = light_beyond(6.3, image)
    add_gaussians(image, x[galaxies], y[galaxies], 0.12 * light[galaxies], 4.5)

    assert light_beyond(6.3, image) == pytest.approx(stars_alone, abs=0.003)


def test_error_of_a_psf_is_that_of_stars_although_cosmic_rays_outnumber_them():
    misfit = np.repeat([0.01, 0.4], [20, 30])
    table = Table({"snr": np.full(50, 90.0), "clean": np.ones(50, bool), "misfit": misfit})
    assert psf_error(table) == pytest.approx(0.01)
    assert psf_error(table[:4]) == 0
