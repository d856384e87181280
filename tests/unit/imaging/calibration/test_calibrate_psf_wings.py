"""What is told of a PSF's wings and variation when there are few stars."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from prompt_processing.imaging.calibration.psf.wings import elliptical_radius, mean_wings, shape_variation

SIZE, FWHM = 41, 4.5


def moffat(width: float = 1.0, e1: float = 0.0) -> NDArray[np.float64]:
    """A profile of unit sum; ``e1`` is (a2 - b2) / (a2 + b2)."""
    rows, columns = np.mgrid[-20:21, -20:21].astype(float)
    squared = ((1 - e1) * columns**2 + (1 + e1) * rows**2) / np.sqrt(1 - e1**2)
    image = (1 + squared / (4.3 * width) ** 2) ** -3.0
    return np.asarray(image / image.sum())


def core() -> NDArray[np.float64]:
    rows, columns = np.mgrid[-20:21, -20:21]
    return (np.hypot(rows, columns) < 8).astype(float)


def test_radius_is_constant_along_the_profile_s_contours() -> None:
    image = moffat(e1=0.2)
    radius = elliptical_radius(image, FWHM)
    ring = (radius > 5.9) & (radius < 6.1)
    assert np.ptp(np.log(image[ring])) < 0.25
    assert elliptical_radius(moffat(), FWHM) == pytest.approx(np.hypot(*np.mgrid[-20:21, -20:21]), rel=1e-6)


def test_neighbours_do_not_raise_the_wings() -> None:
    rng = np.random.default_rng(1)
    flux = np.full(12, 1e5)
    stamps = moffat() + rng.normal(0, 30, (12, SIZE, SIZE)) / flux[:, None, None]
    radius = elliptical_radius(moffat(), FWHM)
    nothing = np.zeros((SIZE, SIZE))
    alone = mean_wings(stamps, flux, radius, nothing, FWHM, 30.0)
    for stamp in stamps[::2]:
        row, column = rng.integers(4, 12, 2)
        stamp[row : row + 6, column : column + 6] += 2e-3
    wings = mean_wings(stamps, flux, radius, nothing, FWHM, 30.0)
    outer = radius > 9
    # Half of the stars have a neighbour of 7 per cent of their light.
    of_a_mean = float(np.sum((stamps.mean(axis=0) - moffat())[outer]))
    assert of_a_mean > 0.03
    assert abs(float(np.sum((wings - alone)[outer]))) < 0.25 * of_a_mean


def test_error_of_the_sky_does_not_go_into_the_wings() -> None:
    rng = np.random.default_rng(3)
    flux = 10 ** rng.uniform(4.3, 6, 40)
    truth = moffat()
    stamps = truth + (rng.normal(0, 35, (40, SIZE, SIZE)) - 3.0) / flux[:, None, None]
    radius = elliptical_radius(truth, FWHM)
    outer = radius > 1.5 * FWHM
    as_it_was = np.median(stamps[np.argsort(flux)[-8:]], axis=0)
    # A tenth of the sky's noise is 3 per cent of the eighth star.
    assert float(np.sum((as_it_was - truth)[outer])) < -0.005
    wings = mean_wings(stamps, flux, radius, np.zeros_like(truth), FWHM, 35.0)
    assert abs(float(np.sum((wings - truth)[outer]))) < 0.003


def test_wings_are_corrected_towards_the_same_profile_whatever_the_model_was() -> None:
    rng = np.random.default_rng(4)
    flux = np.full(20, 3e5)
    truth = moffat(e1=0.1)
    stars = truth + rng.normal(0, 30, (20, SIZE, SIZE)) / flux[:, None, None]
    radius = elliptical_radius(truth, FWHM)
    outer = radius > 2.5 * FWHM
    first = moffat(1.2)
    stepwise = first + mean_wings(stars - first, flux, radius, first, FWHM, 30.0)
    at_once = mean_wings(stars, flux, radius, np.zeros_like(truth), FWHM, 30.0)
    assert float(np.abs(stepwise - at_once)[outer].sum()) < 0.002
    assert float(np.abs(stepwise - truth)[outer].sum()) < 0.003


def test_widening_across_the_image_is_followed_and_a_wide_star_is_not() -> None:
    rng = np.random.default_rng(2)
    x = rng.uniform(-1, 1, 30)
    terms = np.column_stack([np.ones(30), x])
    residuals = np.array([moffat(1 + 0.03 * u) - moffat() for u in x])
    residuals += rng.normal(0, 1e-5, residuals.shape)
    residuals[7] = moffat(1.15) - moffat()
    variation, trust = shape_variation(residuals, moffat(), terms, np.ones(30), core())
    truth = (moffat(1.03) - moffat(0.97)) / 2
    assert np.abs(variation[0] - truth).max() < 0.05 * np.abs(truth).max()
    assert trust[7] == 0
    assert trust.sum() > 20
