"""Errors of fluxes in a difference hold the photon noise of the source itself."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from prompt_processing.images import Exposure, Mask, Psf
from prompt_processing.images.kernel import MatchingKernel
from prompt_processing.imaging.difference.decorrelation import DifferenceFilters
from prompt_processing.imaging.difference.smoothing import NONE
from prompt_processing.imaging.difference.source_noise import PHOTON_NOISE, photon_noise, with_photon_noise

SIZE, MIDDLE = 160, 80
PHOTONS = 4e4
SKY = 10.0


def gaussian(sigma: float, size: int) -> NDArray[np.float64]:
    rows, columns = np.mgrid[-(size // 2) : size - size // 2, -(size // 2) : size - size // 2]
    image = np.exp(-0.5 * (rows**2 + columns**2) / sigma**2)
    return np.asarray(image / image.sum())


class BlurryTemplate:
    """A source of Gaussian profile that is convolved with a kernel of ``sigma`` and whitened."""

    def __init__(self, sigma: float) -> None:
        kernel = MatchingKernel(gaussian(sigma, 25)[np.newaxis], np.ones((1, 1)), convolves_science=True)
        self.filters = DifferenceFilters(kernel, NONE, SKY, SKY / 9, None)
        self.science_psf = Psf(gaussian(1.4, 31)[np.newaxis].astype(np.float32))
        point = np.array([80.0])
        self.spectrum = self.filters.spectra(point, point, SIZE, np.ones((1, 1), np.float32))[0][0]
        self.source = gaussian(1.4, SIZE)
        self.psf = Psf(self.filtered(self.source)[56:105, 56:105][np.newaxis].astype(np.float32))

    def filtered(self, image: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.fft.irfft2(np.fft.rfft2(image) * self.spectrum, s=(SIZE, SIZE))

    def exposures(self, photons: float) -> tuple[Exposure, Exposure]:
        squared = np.fft.irfft2(self.spectrum, s=(SIZE, SIZE)) ** 2
        seen = np.fft.irfft2(np.fft.rfft2(squared) * np.fft.rfft2(self.source), s=(SIZE, SIZE))
        difference, science = Exposure.blank((SIZE, SIZE), psf=self.psf), Exposure.blank((SIZE, SIZE))
        difference.variance[:] = SKY * 10 / 9 + photons * seen
        science.variance[:] = SKY + photons * self.source
        difference.metadata[PHOTON_NOISE] = photon_noise(self.filters, self.science_psf, 80.0, 80.0)
        return difference, science


def error_by_the_variance_plane(difference: Exposure) -> NDArray[np.float64]:
    assert difference.psf is not None
    p = difference.psf.image_at(MIDDLE, MIDDLE)
    part = difference.variance[MIDDLE - 24 : MIDDLE + 25, MIDDLE - 24 : MIDDLE + 25]
    return np.array([np.sqrt(np.sum(p**2 * part)) / np.sum(p**2)])


@pytest.mark.parametrize("sigma", [0.8, 2.5])
def test_error_is_the_scatter_of_fluxes(sigma: float) -> None:
    scene = BlurryTemplate(sigma)
    rng = np.random.default_rng(1)
    p = scene.psf.image_at(MIDDLE, MIDDLE)
    root = np.sqrt(PHOTONS * np.maximum(scene.source, 0))
    fluxes = []
    for _ in range(400):
        image = scene.filtered(rng.normal(0, 1, (SIZE, SIZE)) * root)
        fluxes.append(np.sum(p * image[MIDDLE - 24 : MIDDLE + 25, MIDDLE - 24 : MIDDLE + 25]) / np.sum(p**2))
    from_sky = SKY * 10 / 9 / np.sum(p**2)
    expected = np.sqrt(np.var(fluxes) + from_sky)
    difference, science = scene.exposures(PHOTONS)
    at = np.array([float(MIDDLE)])
    plain = error_by_the_variance_plane(difference)
    assert with_photon_noise(plain, at, at, difference, science)[0] == pytest.approx(expected, rel=0.06)
    if sigma > 2:
        # Of what the kernel smooths, pixels' variances tell less than half.
        assert plain[0] < 0.6 * expected


def test_faint_source_and_source_of_unknown_filters_keep_their_errors() -> None:
    scene = BlurryTemplate(2.5)
    at = np.array([float(MIDDLE)])
    difference, science = scene.exposures(0.0)
    plain = error_by_the_variance_plane(difference)
    assert with_photon_noise(plain, at, at, difference, science)[0] == pytest.approx(plain[0], rel=1e-6)
    difference, science = scene.exposures(PHOTONS)
    difference.metadata.clear()
    assert with_photon_noise(plain, at, at, difference, science)[0] == plain[0]


def test_light_and_flags_beside_a_source_do_not_raise_its_error() -> None:
    scene = BlurryTemplate(2.5)
    difference, science = scene.exposures(0.0)
    # A bright star on one side, bad pixels in the source.
    science.variance[:, MIDDLE + 15 :] += 1e4
    science.variance[MIDDLE - 3, MIDDLE - 3] = 1e8
    difference.mask[MIDDLE - 3, MIDDLE - 3] = int(Mask.BAD)
    plain = error_by_the_variance_plane(difference)
    at = np.array([float(MIDDLE)])
    assert with_photon_noise(plain, at, at, difference, science)[0] == pytest.approx(plain[0], rel=0.01)


def test_sources_off_the_image_and_at_its_corner_are_no_trouble() -> None:
    difference, science = BlurryTemplate(2.5).exposures(PHOTONS)
    x, y = np.array([np.nan, -5.0, 0.0, SIZE - 1.0]), np.array([3.0, 5.0, 0.0, SIZE - 1.0])
    corrected = with_photon_noise(np.full(4, 7.0), x, y, difference, science)
    assert corrected[:2].tolist() == [7.0, 7.0]
    assert corrected[2:] == pytest.approx(7.0, rel=0.05)
