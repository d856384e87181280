"""Whiten the noise that PSF matching has correlated, and compute the PSF of the result."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from prompt_processing.images import Psf, polynomial_terms
from prompt_processing.images.kernel import MatchingKernel
from prompt_processing.images.psf import FWHM_PER_SIGMA, adaptive_moments
from prompt_processing.imaging.templates.warp import fit_psf, warped_noise_correlation

from .block_convolution import kernel_spectra
from .smoothing import Smoothing, gaussian_spectrum

Spectra = NDArray[np.complex64]


def images_at(psf: Psf, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return a polynomial image, not normalised, at positions (pixels); shape (n, size, size)."""
    terms = polynomial_terms((x - psf.x_centre) / psf.scale, (y - psf.y_centre) / psf.scale, psf.order)
    flat = terms.astype(np.float32) @ psf.coefficients.reshape(len(psf.coefficients), -1)
    return np.asarray(flat.reshape(len(x), psf.size, psf.size))


@dataclass(frozen=True, slots=True, eq=False)
class DifferenceFilters:
    """Filters of the two images that make a difference with white noise.

    Attributes
    ----------
    kernel : `MatchingKernel`
        Kernel for one of the images.
    smoothing : `Smoothing`
        Gaussian that smooths the other image, and that expected from the PSFs for the kernel.
    science_variance, template_variance : `float`
        Variances of the sky, nJy squared.
    template_affine : `tuple` of `float` or `None`
        Template pixels per science pixel (xx, xy, yx, yy), if it was warped, which
        correlates its noise.
    floor : `float`
        Power of the Gaussian, in units of that at frequency 0, below which the ratio of
        the two filters comes from the expected widths instead of the fit,
        which is dominated by noise there.

    Notes
    -----
    Reiss & Lupton 2016, DMTN-021. The difference's noise power is
    ``v_s |k_s|^2 + v_t |k_t|^2``; dividing by its root whitens it. The filter has
    sum 1: fluxes keep their scale, and the white variance is the power at
    frequency 0. Smoothing of the fixed image for the fit is undone here,
    because the whitening would divide it out in any case.
    """

    kernel: MatchingKernel
    smoothing: Smoothing
    science_variance: float
    template_variance: float
    template_affine: tuple[float, float, float, float] | None
    floor: float = 1e-4

    def template_power(self, n: int) -> NDArray[np.float32]:
        """Return the relative power of the template's noise; shape (n, n // 2 + 1) or (1, 1)."""
        if self.template_affine is None:
            return np.ones((1, 1), np.float32)
        correlation = warped_noise_correlation(self.template_affine)
        power = np.maximum(kernel_spectra(correlation, n).real, 1e-3)
        return np.asarray(power / power[0, 0], np.float32)

    def spectra(
        self, x: NDArray[np.float64], y: NDArray[np.float64], n: int, power: NDArray[np.float32]
    ) -> tuple[Spectra, Spectra, Spectra]:
        """Return the whole filter of the science image, that of the template, and the kernel's.

        Parameters
        ----------
        x, y : `~numpy.ndarray`, shape (m,)
            Positions, pixels.
        n : `int`
            Width of the transform, pixels.
        power : `~numpy.ndarray`
            `template_power`.

        Returns
        -------
        science, template, matching : `~numpy.ndarray`, shape (m, n, n // 2 + 1)
            The first two include the whitening; ``matching`` is the kernel's own,
            scaled as it is applied.
        """
        moving = kernel_spectra(self.kernel.images_at(x, y), n)
        flux_ratio = self.kernel.weights_at(x, y)[:, 0, np.newaxis, np.newaxis].astype(np.float32)
        ratio = moving
        if self.smoothing.smooths:
            fixed = gaussian_spectrum(self.smoothing.companion, n)
            expected = gaussian_spectrum(self.smoothing.difference, n)
            trusted = fixed**2 + self.floor
            ratio = moving * (fixed / trusted) + flux_ratio * (self.floor * expected / trusted)
        if self.kernel.convolves_science:
            noise = np.float32(self.science_variance) * _squared(ratio)
            noise = noise + np.float32(self.template_variance) * power
            white = np.sqrt(noise[:, :1, :1] / noise) / flux_ratio
            return np.asarray(ratio * white, np.complex64), white.astype(np.complex64), moving
        noise = np.float32(self.template_variance) * power * _squared(ratio)
        noise = noise + np.float32(self.science_variance)
        white = np.sqrt(noise[:, :1, :1] / noise)
        return white.astype(np.complex64), np.asarray(ratio * white, np.complex64), moving

    def matched_psf(self, science_psf: Psf | None, template_psf: Psf | None) -> Psf | None:
        """Return the PSF of the matched template: the target's, smoothed as the target was."""
        target = template_psf if self.kernel.convolves_science else science_psf
        if target is None or not self.smoothing.smooths:
            return target
        size = target.size
        n = int(fft.next_fast_len(2 * size, real=True))
        spectra = fft.rfft2(target.coefficients, s=(n, n)) * gaussian_spectrum(self.smoothing.companion, n)
        smooth = fft.irfft2(spectra, s=(n, n))[:, :size, :size]
        return replace(target, coefficients=np.ascontiguousarray(smooth, np.float32))

    def psf_and_noise(
        self,
        science_psf: Psf,
        x: NDArray[np.float64],
        y: NDArray[np.float64],
        shape: tuple[int, int],
        reach: int,
    ) -> tuple[Psf, Psf, Psf]:
        """Return the difference's PSF and the squared filters for the variances.

        Parameters
        ----------
        science_psf : `Psf`
            PSF of the unfiltered science image.
        x, y : `~numpy.ndarray`, shape (m,)
            Positions at which to sample for the polynomial fits, pixels.
        shape : `tuple` of `int`
            Height and width of the image, pixels.
        reach : `int`
            Half width of the squared filters, pixels.

        Returns
        -------
        psf, science_noise, template_noise : `Psf`
            The sums of the last two are not 1.
        """
        n = 160
        power = self.template_power(n)
        science, template, _ = self.spectra(x, y, n, power)
        stamps = np.array([science_psf.image_at(*p) for p in zip(x, y, strict=True)])
        blurred = fft.irfft2(science * kernel_spectra(stamps, n), s=(n, n))
        images = _centred(blurred, _needed_half(blurred, science_psf.size // 2)).astype(np.float64)
        images /= images.sum(axis=(1, 2), keepdims=True)
        science_noise = _centred(fft.irfft2(science, s=(n, n)), reach) ** 2
        template_noise = _centred(fft.irfft2(template, s=(n, n)), reach) ** 2
        # Noise that lacks high frequencies loses less power than white noise.
        full = np.broadcast_to(power, template.shape[1:])
        coloured = fft.irfft2(_squared(template) * full, s=(n, n))[:, 0, 0]
        template_noise *= (coloured / template_noise.sum(axis=(1, 2)))[:, np.newaxis, np.newaxis]
        return (
            fit_psf(images, x, y, shape, 3),
            fit_psf(science_noise.astype(np.float64), x, y, shape, 2),
            fit_psf(template_noise.astype(np.float64), x, y, shape, 2),
        )


def _needed_half(images: NDArray[np.float32], half: int) -> int:
    """Return the half width of a difference's PSF: the science image's, or more for a wide kernel."""
    widest = images.shape[-1] // 4
    ixx, iyy, ixy = adaptive_moments(_centred(images[len(images) // 2][np.newaxis], widest)[0].astype(float))
    fwhm = FWHM_PER_SIGMA * math.sqrt(0.5 * (ixx + iyy) + math.hypot(0.5 * (ixx - iyy), ixy))
    return max(half, min(math.ceil(2.5 * fwhm), widest))


def _squared(values: Spectra) -> NDArray[np.float32]:
    """Return the squared modulus."""
    return np.asarray(values.real**2 + values.imag**2)


def _centred(images: NDArray[np.float32], half: int) -> NDArray[np.float32]:
    """Cut squares of half width ``half`` around pixel (0, 0) of periodic images."""
    index = np.arange(-half, half + 1) % images.shape[-1]
    return np.ascontiguousarray(images[:, index[:, np.newaxis], index])
