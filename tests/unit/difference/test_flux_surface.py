"""A flux ratio that varies over the field is followed; one that does not is left alone."""

import numpy as np
import pytest
from astropy.io import fits
from scipy.spatial import cKDTree

from prompt_processing.difference import difference_images
from prompt_processing.difference.flux_surface import fit_flux_surface
from prompt_processing.simulation.pair import simulate_pair

SHAPE = (900, 1200)


def stars(n=150, noise=0.03, seed=3):
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, SHAPE[1], n), rng.uniform(0, SHAPE[0], n)
    errors = rng.uniform(0.5, 1.5, n) * noise
    return rng, x, y, errors, rng.normal(0, errors)


def vignetting(x, y, loss=0.5, shape=SHAPE):
    """Return the transmission: 1 in the middle, less by a share in the corners."""
    height, width = shape
    middle = (width - 1) / 2, (height - 1) / 2
    return 1 - loss * ((x - middle[0]) ** 2 + (y - middle[1]) ** 2) / np.hypot(*middle) ** 2


def test_vignetting_is_recovered_among_variable_stars():
    rng, x, y, errors, noise = stars()
    transmission = vignetting(x, y)
    ratios = np.log(transmission) + noise
    ratios[:15] += rng.normal(0, 1, 15)
    surface = fit_flux_surface(x, y, ratios, errors, SHAPE)
    found = surface.logarithm_at(x, y)
    # The logarithm of a parabola is none: 2 % remain.
    assert np.std(found - np.log(transmission)) < 0.025
    assert 0.6 < surface.variation < 1.2


@pytest.mark.parametrize("scatter", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("seed", range(10))
def test_scatter_is_no_surface(scatter, seed):
    rng, x, y, errors, noise = stars(seed=seed)
    assert fit_flux_surface(x, y, noise + rng.normal(0, scatter, len(x)), errors, SHAPE) is None


def test_few_stars_show_no_surface():
    _, x, y, errors, noise = stars(n=30)
    assert fit_flux_surface(x, y, noise + np.log(vignetting(x, y)), errors, SHAPE) is None


def test_surface_stays_within_the_stars():
    _, x, y, errors, noise = stars()
    chosen = (x < 500) & (y < 500)
    surface = fit_flux_surface(x[chosen], y[chosen], (noise + x / 1000)[chosen], errors[chosen], SHAPE)
    far = surface.logarithm_at(np.array([1199.0]), np.array([899.0]))
    assert far[0] <= surface.limits[1]


def test_image_without_its_flat_field_is_subtracted(write_pair):
    pair = simulate_pair(32, (800, 800), 0.85, 0.75, density=4, transients=2.0)
    files = write_pair(pair)
    with fits.open(files.science, mode="update") as file:
        y, x = np.mgrid[: file[0].data.shape[0], : file[0].data.shape[1]]
        file[0].data *= vignetting(x, y, 0.4, file[0].data.shape).astype(np.float32)
    result = difference_images(files.science, files.template)
    assert 0.4 < result.summary["fluxVariation"] < 0.8
    assert result.residuals.stars == pytest.approx(1, abs=0.1)
    changed = pair.truth[np.abs(pair.truth["snr"]) > 12]
    tree = cKDTree(np.column_stack([result.sources["x"], result.sources["y"]]))
    distance, _ = tree.query(np.column_stack([changed["x"], changed["y"]]))
    assert np.mean(distance < 2.5) > 0.8
