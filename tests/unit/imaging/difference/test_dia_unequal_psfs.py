"""Pairs whose PSFs no kernel matches exactly: elongated across each other, or different from star to star."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table
from numpy.typing import NDArray

from prompt_processing.images import Exposure, Psf
from prompt_processing.imaging.difference.model_error import add_model_error
from prompt_processing.imaging.difference.options import SubtractionOptions
from prompt_processing.imaging.difference.residuals import flux_scatter, measure_residuals
from prompt_processing.imaging.difference.smoothing import Smoothing, gaussian_spectrum
from prompt_processing.imaging.difference.subtraction import subtract

SHAPE = (360, 360)
OFFSETS = np.arange(-20, 21)


def star(x: float, y: float, psf: tuple[float, float], gap: float = 0.0) -> NDArray[np.float64]:
    """Return an elliptical star of sigmas ``psf``; with a gap, two images of it, as after a jump in x."""
    across, along = OFFSETS - x, (OFFSETS - y)[:, np.newaxis]
    parts = [
        np.exp(-0.5 * ((across - shift) / psf[0]) ** 2 - 0.5 * (along / psf[1]) ** 2)
        for shift in ({-gap / 2, gap / 2} if gap else {0.0})
    ]
    image = np.mean(parts, axis=0)
    return np.asarray(image / image.sum())


def sky_of_stars(
    psf: tuple[float, float], seed: int, gap: float = 0.0, noise: float = 10.0, misfit: float = 0.0
) -> tuple[Exposure, Table]:
    places = np.random.default_rng(5)
    x, y = places.uniform(30, SHAPE[0] - 30, (2, 120))
    flux = 10 ** places.uniform(3.5, 5.7, 120)
    rng = np.random.default_rng(seed)
    image = np.zeros(SHAPE)
    for px, py, f in zip(x, y, flux, strict=True):
        i, j = round(px), round(py)
        own = psf[0] * (1 + misfit * rng.normal()), psf[1]
        image[j - 20 : j + 21, i - 20 : i + 21] += f * star(px - i, py - j, own, gap)
    variance = noise**2 + image
    image = image + rng.normal(0, np.sqrt(variance))
    exposure = Exposure(
        image.astype(np.float32),
        np.zeros(SHAPE, np.int32),
        variance.astype(np.float32),
        psf=Psf(star(0, 0, psf, gap)[np.newaxis].astype(np.float32)),
    )
    return exposure, Table({"x": x, "y": y, "snr": flux / np.sqrt(flux + 50 * noise**2)})


def test_smoothing_acts_only_along_the_axis_that_would_be_sharpened():
    smoothing = Smoothing.between((6.5, 2.5, 0.0), (5.0, 3.5, 0.0), 0.6)
    xx, yy, xy = smoothing.companion
    assert (xx, yy, xy) == pytest.approx((1.5 + 0.36, 0, 0))
    assert smoothing.kernel == pytest.approx((0.36, 1.0, 0))
    # Along y, nothing is smoothed.
    assert np.allclose(gaussian_spectrum(smoothing.companion, 32)[:, 0], 1)


def test_of_two_crossed_psfs_the_image_that_can_be_matched_is_convolved():
    # The template jumped along x: it lacks scales along x that the science image has. It is less noisy.
    science, stars = sky_of_stars((1.9, 2.2), 1)
    template, _ = sky_of_stars((1.9, 1.5), 2, gap=5.0, noise=5.0)
    result = subtract(science, template, stars)
    assert result.metrics["scienceConvolved"]
    forced = subtract(science, template, stars, SubtractionOptions(convolve="template"))
    chosen, other = (measure_residuals(each.difference, stars).stars for each in (result, forced))
    assert chosen < 1.1
    assert chosen < other


@pytest.mark.parametrize(("width", "sharper"), [(0.9, True), (1.9, False)], ids=["undersampled", "sampled"])
def test_undersampled_template_is_not_sharpened_even_if_it_is_less_noisy(width: float, sharper: bool) -> None:
    blurrier = float(np.sqrt(width**2 + 0.5))
    science, stars = sky_of_stars((width, width), 1)
    template, _ = sky_of_stars((blurrier, blurrier), 2, noise=5.0)
    assert subtract(science, template, stars).metrics["scienceConvolved"] == sharper


def test_residuals_that_vary_from_star_to_star_are_part_of_the_variance():
    science, stars = sky_of_stars((1.9, 1.9), 1, misfit=0.04)
    template, _ = sky_of_stars((1.6, 1.6), 2, noise=5.0)
    result = subtract(science, template, stars)
    assert 0.01 < float(result.metrics["modelError"]) < 0.15
    residuals = measure_residuals(result.difference, stars)
    assert residuals.sky == pytest.approx(1, abs=0.03)
    assert residuals.stars < 1.3
    assert residuals.bright_stars < 2
    # Fluxes of the residuals scatter as well: smaller changes are not significant in this pair.
    assert 0.01 < flux_scatter(result.difference, science, stars) < 0.06


def test_stars_that_match_add_nothing():
    science, stars = sky_of_stars((1.9, 1.9), 1)
    template, _ = sky_of_stars((1.6, 1.6), 2, noise=5.0)
    result = subtract(science, template, stars)
    assert result.metrics["modelError"] < 0.01
    assert flux_scatter(result.difference, science, stars) < 0.01


@pytest.mark.parametrize("exposures", [2, 4])
def test_image_less_its_own_coadd_is_noise(exposures):
    images = [sky_of_stars((1.9, 1.9), seed)[0] for seed in range(exposures)]
    science, stars = sky_of_stars((1.9, 1.9), 0)
    coadd = images[-1]
    coadd.image[...] = np.mean([each.image for each in images], axis=0)
    coadd.variance /= exposures
    result = subtract(science, coadd, stars)
    residuals = measure_residuals(result.difference, stars)
    # The noise that both share cancels: the difference has less than the sum of both.
    assert float(result.metrics["varianceScale"]) < 0.75
    assert residuals.sky == pytest.approx(1, abs=0.03)
    assert residuals.stars < 1.2
    assert residuals.bright_stars < 1.2
    assert float(result.metrics["kernelSum"]) == pytest.approx(1, abs=0.01)


def test_variable_stars_do_not_determine_the_model_error():
    rng = np.random.default_rng(3)
    image = rng.normal(0, 1, SHAPE).astype(np.float32)
    light = np.zeros(SHAPE, np.float32)
    x, y = np.tile(np.arange(30, 330, 30), 10), np.repeat(np.arange(30, 330, 30), 10)
    for k, (i, j) in enumerate(zip(x, y, strict=True)):
        spot = 1e3 * star(0, 0, (2.0, 2.0)) / star(0, 0, (2.0, 2.0)).max()
        light[j - 20 : j + 21, i - 20 : i + 21] += spot
        image[j - 20 : j + 21, i - 20 : i + 21] += (0.5 if k % 4 == 0 else 0.02) * spot
    stars = Table({"x": x.astype(float), "y": y.astype(float), "snr": np.full(100, 500.0)})
    variance = np.ones(SHAPE, np.float32)
    error = add_model_error(image, variance, np.zeros(SHAPE, np.int32), (light, light), stars, 4.7)
    assert error == pytest.approx(0.02, abs=0.004)
    assert variance[45, 45] == pytest.approx(1, abs=0.01)
    assert variance[30, 30] == pytest.approx(1 + (error * light[30, 30]) ** 2 - 0.25, rel=0.01)
