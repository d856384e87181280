"""Differences whose noise or sky is not what simple simulations have."""

import numpy as np
import pytest
from scipy import ndimage

from prompt_processing.images import Psf
from prompt_processing.imaging.difference.background import remove_fine_background, remove_residual_background
from prompt_processing.imaging.difference.options import SubtractionOptions
from prompt_processing.imaging.difference.subtraction import subtract
from prompt_processing.imaging.measurement.detect_and_measure import detect_and_measure
from prompt_processing.imaging.measurement.dia_detection import detect_dia_sources
from prompt_processing.imaging.measurement.dia_filters import filter_dia_sources

SIGMA = 1.7


def gaussian(xx, yy, size=31):
    rows, columns = np.indices((size, size)) - size // 2
    image = np.exp(-0.5 * (columns**2 / xx + rows**2 / yy))
    return (image / image.sum())[np.newaxis].astype(np.float32)


def test_correlated_noise_makes_no_sources_and_keeps_the_true_ones(star_image):
    stars = [(60.0, 50.0, 2500.0), (200.3, 140.0, -2500.0), (120.0, 220.4, 2500.0)]
    difference = star_image((300, 300), stars, seed=11)
    difference.image[...] = ndimage.gaussian_filter(difference.image, 1.0)
    difference.psf = Psf(gaussian(SIGMA**2 + 1, SIGMA**2 + 1))
    difference.variance[...] = difference.image[:40].var()
    sources = detect_and_measure(difference, difference, difference)
    kept, _ = filter_dia_sources(sources)
    assert len(kept) == 3
    # What a flux scatters by is what is given for its error, not what white noise would make of it.
    fluxes = [float(np.abs(f)) for f in kept["psfFlux"]]
    assert np.std(fluxes) < 4 * float(np.median(kept["psfFluxErr"]))
    assert np.median(kept["pixelSnr"] / kept["snr"]) > 2


def test_white_noise_keeps_its_errors(star_image):
    difference = star_image((300, 300), [(100.0, 100.0, 300.0)], seed=12)
    peaks = detect_dia_sources(difference)
    assert peaks["scatter"] == pytest.approx(1, abs=0.1)


def test_fringes_are_taken_out_and_white_noise_is_left_alone():
    rng = np.random.default_rng(13)
    noise = rng.normal(0, 1, (400, 400)).astype(np.float32)
    quiet = np.ones(noise.shape, bool)
    white = noise.copy()
    assert remove_fine_background(white, quiet, 28) == 0
    assert np.array_equal(white, noise)
    rows, columns = np.indices(noise.shape)
    fringed = noise + np.float32(0.7) * np.sin((columns + 0.3 * rows) / 14).astype(np.float32)
    assert remove_fine_background(fringed, quiet, 28) > 0.3
    smooth = ndimage.gaussian_filter(fringed - noise, 3)
    assert smooth.std() < 0.2


def test_level_of_coarse_steps_is_their_mean():
    values = np.random.default_rng(14).normal(0.33, 0.9, (300, 300))
    image = (2 * np.round(values / 2)).astype(np.float32)
    remove_residual_background(image, np.ones(image.shape, bool), 256)
    assert abs(image.mean()) < 0.02


@pytest.mark.parametrize("wide", ["science", "template"])
def test_image_that_is_sharper_along_each_axis_is_convolved_whatever_its_noise(star_image, wide):
    rng = np.random.default_rng(15)
    stars = [(float(x), float(y), float(f)) for x, y, f in zip(
        *rng.uniform(40, 360, (2, 60)), rng.uniform(2e3, 2e4, 60), strict=True)]  # fmt: skip
    images = {}
    for name, noise, seed in (("science", 1.0, 16), ("template", 1.5, 17)):
        exposure = star_image((400, 400), stars, sigma=1.5, noise=noise, seed=seed)
        exposure.psf = Psf(gaussian(2.25, 2.25))
        if name == wide:
            exposure.image[...] = ndimage.gaussian_filter(exposure.image, (0.1, 1.8))
            exposure.image += rng.normal(0, noise, exposure.shape)
            exposure.psf = Psf(gaussian(2.25 + 1.8**2, 2.25))
        images[name] = exposure
    result = subtract(images["science"], images["template"], options=SubtractionOptions(minimum_snr=20.0))
    assert result.metrics["scienceConvolved"] == (wide == "template")
