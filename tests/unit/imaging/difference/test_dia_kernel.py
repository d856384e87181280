"""What the kernel fit and the convolutions must do."""

import numpy as np
import pytest
from scipy.signal import fftconvolve

from prompt_processing.images import Psf
from prompt_processing.images.kernel import MatchingKernel
from prompt_processing.imaging.difference.block_convolution import (
    BlockGrid,
    PolynomialSpectra,
    convolve_blocks,
    kernel_spectra,
)
from prompt_processing.imaging.difference.kernel import Stamps, fit_kernel, make_basis
from prompt_processing.imaging.difference.options import KernelOptions


def gaussian(sigma, size, dx=0.0, dy=0.0):
    offsets = np.arange(size) - size // 2
    x, y = np.exp(-0.5 * ((offsets - dx) / sigma) ** 2), np.exp(-0.5 * ((offsets - dy) / sigma) ** 2)
    return np.outer(y, x) / (2 * np.pi * sigma**2)


@pytest.mark.parametrize("shape", [(150, 260), (97, 101)])
def test_blocks_convolve_as_one_transform_would(shape):
    rng = np.random.default_rng(1)
    image, kernel = rng.normal(size=shape).astype(np.float32), rng.normal(size=(15, 15))
    out = np.empty(shape, np.float32)
    grid = BlockGrid(shape, 7, 64)
    convolve_blocks([image], [out], grid, lambda x, y: [[kernel_spectra(kernel[np.newaxis], 64)]])
    assert np.allclose(out, fftconvolve(image, kernel, mode="same"), atol=1e-3)


def test_polynomial_spectra_are_those_of_the_mixed_image():
    rng = np.random.default_rng(2)
    psf = Psf(rng.normal(size=(6, 9, 9)).astype(np.float32), 2, 50.0, 40.0, 60.0)
    x = np.array([3.0, 77.0])
    spectra = PolynomialSpectra.of(psf, 32).at(x, 11.0)
    u, v = (77.0 - 50) / 60, (11.0 - 40) / 60
    terms = np.array([1, u, v, u * u, u * v, v * v])
    assert np.allclose(spectra[1], kernel_spectra(np.tensordot(terms, psf.coefficients, 1), 32), atol=1e-4)


def stamps_of(
    kernel_sigma: float,
    n: int,
    noise: float,
    *,
    dex: float = 4.0,
    slope: float = 0.0,
    expected: float | None = None,
) -> Stamps:
    """Stars of sigma 1.5 pixels and what a Gaussian kernel of flux ratio 0.9 makes of them, with noise.

    The kernel's sigma changes by ``slope`` (pixels) from the left edge to the right one. The basis is that
    for an ``expected`` kernel.
    """
    rng = np.random.default_rng(1)
    basis = make_basis(expected or kernel_sigma, KernelOptions())
    window = 25
    wide = window + 2 * basis.half
    x, y = rng.uniform(0, 1000, n), rng.uniform(0, 1000, n)
    source, target = np.empty((n, wide, wide)), np.empty((n, window, window))
    for i in range(n):
        dx, dy, flux = rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5), 10 ** rng.uniform(dex - 0.5, dex + 0.5)
        total_sigma = np.hypot(1.5, kernel_sigma + slope * (x[i] - 500) / 1000)
        source[i] = flux * gaussian(1.5, wide, dx, dy) + rng.normal(0, noise, (wide, wide))
        target[i] = (
            0.9 * flux * gaussian(total_sigma, window, dx, dy) + 7.0 + rng.normal(0, 1, (window, window))
        )
    ones = np.ones((n, window, window), np.float32)
    variance = noise**2 * ones
    return Stamps(
        x, y,
        source.astype(np.float32), target.astype(np.float32), ones, variance,
    )  # fmt: skip


def matched_star(kernel: MatchingKernel, x: float = 500) -> np.ndarray:
    """What the kernel makes of a star of sigma 1.5 pixels: only that part of it can be measured."""
    return fftconvolve(gaussian(1.5, 31), kernel.image_at(x, 500), mode="same")


def test_known_kernel_is_found_whatever_the_background():
    options = KernelOptions()
    basis = make_basis(1.6, options)
    fit = fit_kernel(stamps_of(1.6, 80, 0.01), basis, (1000, 1000), options)
    assert matched_star(fit.kernel) == pytest.approx(0.9 * gaussian(np.hypot(1.5, 1.6), 31), abs=1e-4)
    assert fit.kernel.sum_at(200, 700) == pytest.approx(0.9, abs=0.005)
    assert np.median(fit.chi2) == pytest.approx(1.0, abs=0.1)


def test_noise_of_the_convolved_image_does_not_bias_the_kernel():
    options = KernelOptions()
    basis = make_basis(1.6, options)
    fit = fit_kernel(stamps_of(1.6, 120, 3.0, dex=2.5), basis, (1000, 1000), options)
    # Uncorrected, the noise would flatten the matched star by 7.5 per cent.
    assert matched_star(fit.kernel).max() == pytest.approx(
        0.9 * gaussian(np.hypot(1.5, 1.6), 31).max(), rel=0.03
    )


def test_few_stars_do_not_make_a_constant_kernel_vary():
    options = KernelOptions()
    fit = fit_kernel(stamps_of(1.6, 40, 1.0, dex=3.0), make_basis(1.6, options), (1000, 1000), options)
    changes = [matched_star(fit.kernel, x) - matched_star(fit.kernel) for x in (50, 950)]
    # Free to vary, it moves 3 per cent of the light.
    assert max(np.abs(change).sum() for change in changes) < 0.012


def test_kernel_that_varies_is_followed():
    options = KernelOptions()
    fit = fit_kernel(stamps_of(1.6, 80, 0.1, slope=0.4), make_basis(1.6, options), (1000, 1000), options)
    for x, sigma in ((100, 1.44), (900, 1.76)):
        truth = 0.9 * gaussian(np.hypot(1.5, sigma), 31)
        assert np.abs(matched_star(fit.kernel, x) - truth).sum() < 0.003


def test_variable_star_is_left_out():
    options = KernelOptions()
    basis = make_basis(1.6, options)
    stamps = stamps_of(1.6, 60, 0.01)
    stamps.target[7] += 0.3 * (stamps.target[7] - 7.0)
    fit = fit_kernel(stamps, basis, (1000, 1000), options)
    assert not fit.used[7]
    assert fit.used.sum() > 50


@pytest.mark.parametrize(
    ("sigma", "dex"),
    [(1.6, 2.4), (1.3, 3.2)],
    ids=["beside faint stars", "with a narrower kernel than expected"],
)
@pytest.mark.parametrize("change", [0.13, -0.13])
def test_brightest_star_does_not_bend_the_kernel_if_it_varies_by_an_eighth(sigma, dex, change):
    options = KernelOptions()
    stamps = stamps_of(sigma, 80, 0.01, dex=dex, expected=1.6)
    bright = stamps_of(sigma, 1, 0.01, dex=5.3, expected=1.6)
    stamps.source[0], stamps.target[0] = bright.source[0], 7.0 + (1 + change) * (bright.target[0] - 7.0)
    stamps.x[0] = 950.0
    stamps.variance[:] = 1 + np.maximum(stamps.target - 7.0, 0)
    fit = fit_kernel(stamps, make_basis(1.6, options), (1000, 1000), options)
    assert not fit.used[0]
    assert fit.used.sum() == 79
    sums = [fit.kernel.sum_at(x, 500) for x in (100, 500, 950)]
    assert np.ptp(sums) < 0.01


def test_kernel_of_few_stars_is_that_of_those_that_agree():
    options = KernelOptions()
    stamps = stamps_of(1.6, 11, 0.01)
    for i, change in enumerate((0.8, -0.4, 0.3, 1.5, -0.6, 0.5)):
        stamps.target[i] += change * (stamps.target[i] - 7.0)
    fit = fit_kernel(stamps, make_basis(1.6, options), (1000, 1000), options)
    assert not fit.used[:6].any()
    assert fit.kernel.sum_at(500, 500) == pytest.approx(0.9, abs=0.01)


def test_brightest_stars_keep_determining_a_kernel_that_cannot_match_them_exactly():
    rng = np.random.default_rng(3)
    options = KernelOptions()
    stamps = stamps_of(1.6, 60, 0.01, dex=3.0)
    brightest = np.argsort(-stamps.target.max(axis=(1, 2)))[:10]
    # The detector's sampling changes each star by some per cent, which noise hides in the faint ones.
    for target in stamps.target:
        light = target - 7.0
        target += 0.15 * rng.normal() * np.gradient(light, axis=1)
    fit = fit_kernel(stamps, make_basis(1.6, options), (1000, 1000), options)
    assert fit.used[brightest].sum() >= 9


def test_kernel_survives_a_file(tmp_path):
    rng = np.random.default_rng(3)
    kernel = MatchingKernel(rng.normal(size=(4, 7, 7)), rng.normal(size=(4, 3)), 1, 10.0, 20.0, 30.0, True)
    kernel.write_fits(tmp_path / "kernel.fits")
    back = MatchingKernel.read_fits(tmp_path / "kernel.fits")
    assert np.array_equal(back.image_at(3, 4), kernel.image_at(3, 4))
    assert back.convolves_science
