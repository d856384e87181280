"""Residuals at stars measure the subtraction, not the changes of the sky."""

from __future__ import annotations

import numpy as np
from astropy.table import Table

from prompt_processing.images import Exposure, Psf
from prompt_processing.imaging.difference.residuals import measure_residuals, stars_in_both

SHAPE = (300, 300)
SIGMA = 1.8


def exposure(x: np.ndarray, y: np.ndarray, flux: np.ndarray, rng: np.random.Generator) -> Exposure:
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    image = rng.normal(0, 1, SHAPE)
    for px, py, light in zip(x, y, flux, strict=True):
        profile = np.exp(-((columns - px) ** 2 + (rows - py) ** 2) / (2 * SIGMA**2))
        image += light / (2 * np.pi * SIGMA**2) * profile
    stamp = np.exp(-((np.mgrid[:25, :25] - 12.0) ** 2).sum(axis=0) / (2 * SIGMA**2))
    made = Exposure.blank(SHAPE)
    made.image[:], made.variance[:] = image, 1.0
    made.psf = Psf((stamp / stamp.sum()).astype(np.float32)[np.newaxis])
    return made


def test_a_field_full_of_new_sources_has_the_residuals_of_its_stars() -> None:
    rng = np.random.default_rng(4)
    # A grid, so that no source is on another.
    x, y = (each.ravel() + rng.uniform(-3, 3, 49) for each in np.mgrid[25:280:7j, 25:280:7j])
    flux = rng.uniform(300, 2000, 49)
    new = np.arange(49) % 3 == 0
    science = exposure(x, y, flux, rng)
    template = exposure(x, y, np.where(new, 0, flux), rng)
    difference = exposure(x[new], y[new], flux[new], rng)
    stars = Table({"x": x, "y": y, "snr": flux / 6})
    chosen = stars_in_both(stars, science, template)
    assert len(chosen) == np.count_nonzero(~new)
    assert measure_residuals(difference, stars).stars > 3
    assert measure_residuals(difference, chosen).stars < 1.2


def test_stars_of_a_failed_subtraction_stay() -> None:
    rng = np.random.default_rng(5)
    x, y = (each.ravel() for each in np.mgrid[25:280:5j, 25:280:5j])
    flux = np.full(25, 1000.0)
    science, template = exposure(x, y, flux, rng), exposure(x, y, 0.7 * flux, rng)
    stars = Table({"x": x, "y": y, "snr": flux / 6})
    assert len(stars_in_both(stars, science, template)) == 25
