from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from prompt_processing.images import Mask, Psf
from prompt_processing.simulation import SimulatedPair, simulate_pair
from prompt_processing.simulation.pair import TemplateNoise, add_expected_snr


@pytest.fixture(scope="module")
def pair() -> SimulatedPair:
    return simulate_pair(3, shape=(600, 700), density=2.5, transients=12.0)


def test_variance_is_that_of_the_pixels(pair: SimulatedPair) -> None:
    for exposure in (pair.science, pair.template):
        pulls = exposure.image / np.sqrt(exposure.variance)
        spread = (np.percentile(pulls, 60) - np.percentile(pulls, 10)) / 1.535
        assert 0.9 < spread < 1.3


def test_template_is_deeper_and_sharper(pair: SimulatedPair) -> None:
    assert np.median(pair.template.variance) < 0.5 * np.median(pair.science.variance)
    assert pair.science.psf is not None
    assert pair.template.psf is not None
    assert pair.template.psf.fwhm_at() < pair.science.psf.fwhm_at()


def test_psf_is_that_of_the_stars(pair: SimulatedPair) -> None:
    stars = pair.truth[(pair.truth["kind"] == "star") & (pair.truth["flux"] > 6e3)]
    assert pair.science.psf is not None
    ratios = []
    for star in stars:
        stamp, x0, y0 = pair.science.psf.stamp_at(star["x"], star["y"])
        x1, y1 = x0 + stamp.shape[1], y0 + stamp.shape[0]
        if x0 < 0 or y0 < 0 or x1 > 700 or y1 > 600 or pair.science.mask[y0:y1, x0:x1].any():
            continue
        image = pair.science.image[y0:y1, x0:x1]
        ratios.append((image * stamp).sum() / (stamp**2).sum() / star["flux"])
    assert len(ratios) >= 5
    assert np.median(ratios) == pytest.approx(1, abs=0.02)


def test_transients_are_in_the_science_image_only(pair: SimulatedPair) -> None:
    new = pair.truth[
        (pair.truth["template_flux"] == 0) & (pair.truth["snr"] > 20) & (pair.truth["kind"] != "mover")
    ]
    assert len(new) >= 3
    for source in new:
        column, row = round(source["x"]), round(source["y"])
        if not (10 < column < 690 and 10 < row < 590):
            continue
        box = (slice(row - 3, row + 4), slice(column - 3, column + 4))
        excess = pair.science.image[box].sum() - pair.template.image[box].sum()
        assert excess > 0.3 * source["flux"]


@pytest.mark.parametrize("template_flux", [0.0, 40_000.0], ids=["transient", "variable"])
def test_expected_snr_is_that_of_fits_to_the_noise_of_both_images(template_flux: float) -> None:
    rng = np.random.default_rng(1)
    offsets = np.arange(-10, 11)
    stamp = np.exp(-0.5 * (offsets**2 + offsets[:, np.newaxis] ** 2) / 1.2**2)
    stamp /= stamp.sum()
    # Electrons and nJy: two electrons each; four exposures to the template.
    per_njy, exposures, sky, read, change = 2.0, 4, 300.0, 25.0, 6_000.0
    science = sky + per_njy * (template_flux + change) * stamp
    template = sky + per_njy * template_flux * stamp
    truth = Table(
        {"x": [10.0], "y": [10.0], "flux": [template_flux + change], "template_flux": [template_flux]}
    )
    truth["trail_x"] = truth["trail_y"] = 0.0
    noise = TemplateNoise(sky / per_njy**2 / exposures, 1 / per_njy / exposures)
    psf = Psf(stamp[np.newaxis].astype(np.float32), 0, 10.0, 10.0, 10.0)
    add_expected_snr(truth, psf, science.astype(np.float32), sky, read, per_njy, noise)
    shape = (4000, *stamp.shape)
    images = rng.poisson(science, shape) + rng.normal(0, np.sqrt(read), shape)
    differences = images - rng.poisson(template * exposures, shape) / exposures
    weight = stamp / (science + read + template / exposures)
    fluxes = np.sum(differences * weight, axis=(1, 2)) / np.sum(stamp * weight)
    assert fluxes.mean() == pytest.approx(per_njy * change, rel=0.01)
    assert truth["snr"][0] == pytest.approx(per_njy * change / fluxes.std(), rel=0.04)


def test_bright_stars_saturate() -> None:
    pair = simulate_pair(5, shape=(500, 500), density=4.0, saturation=20_000.0)
    saturated = pair.science.has(Mask.SAT)
    assert 0 < saturated.sum() < 0.02 * saturated.size


def test_template_of_its_own_grid_covers_the_science_image() -> None:
    pair = simulate_pair(7, shape=(300, 400), template_rotation=20.0)
    assert pair.science.wcs is not None
    assert pair.template.wcs is not None
    corners = pair.science.wcs.all_pix2world([[0, 0], [399, 0], [0, 299], [399, 299]], 0)
    x, y = pair.template.wcs.all_world2pix(corners, 0).T
    height, width = pair.template.shape
    assert np.all((x > 0) & (x < width) & (y > 0) & (y < height))


def test_pair_is_repeatable() -> None:
    first, again = (simulate_pair(8, shape=(100, 100)) for _ in range(2))
    assert np.array_equal(first.science.image, again.science.image)
    assert np.array_equal(first.template.image, again.template.image)
