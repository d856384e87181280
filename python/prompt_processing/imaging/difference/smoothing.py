"""Gaussians that PSF matching expects: the kernel, and the smoothing of the other image that permits it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Moments = tuple[float, float, float]
"""Second moments xx, yy, xy of a Gaussian, pixels squared."""

LEAST = 0.01
"""Smoothing below this sum of moments, pixels squared, is left out."""


@dataclass(frozen=True, slots=True)
class Smoothing:
    """What makes two PSFs alike without sharpening either along any axis.

    Attributes
    ----------
    companion : `tuple` of `float`
        Moments of the Gaussian that smooths the image to be matched; 0 along axes where the kernel
        widens enough.
    kernel : `tuple` of `float`
        Moments of the kernel to be expected then.
    difference : `tuple` of `float`
        Moments of the kernel without that smoothing: negative along axes where it would have to sharpen.
    """

    companion: Moments
    kernel: Moments
    difference: Moments

    @classmethod
    def between(cls, source: Moments, target: Moments, least: float) -> Smoothing:
        """Compute the Gaussians for the moments of two PSFs.

        Parameters
        ----------
        source, target : `tuple` of `float`
            Moments of the PSFs of the image to convolve and of the one to be matched.
        least : `float`
            Smallest sigma of a kernel along any axis, pixels.
        """
        xx, yy, xy = (t - s for s, t in zip(source, target, strict=True))
        widening, axes = np.linalg.eigh(np.array([[xx, xy], [xy, yy]]))
        extra = np.maximum(least**2 - widening, 0.0)
        if extra.sum() < LEAST:
            extra[:] = 0.0
        companion = (axes * extra) @ axes.T
        kernel = (axes * np.maximum(widening + extra, 0.0)) @ axes.T
        return cls(_moments(companion), _moments(kernel), (xx, yy, xy))

    @property
    def smooths(self) -> bool:
        """Whether the image to be matched is smoothed at all."""
        return self.companion[0] + self.companion[1] > 0

    @property
    def companion_sigma(self) -> float:
        """Sigma of the smoothing, averaged over the axes, pixels."""
        return float(np.sqrt(0.5 * (self.companion[0] + self.companion[1])))

    @property
    def kernel_sigma(self) -> float:
        """Sigma of the expected kernel, averaged over the axes, pixels."""
        return float(np.sqrt(0.5 * (self.kernel[0] + self.kernel[1])))


NONE = Smoothing((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
"""For images that are alike already."""


def least_widening(source: Moments, target: Moments) -> float:
    """Return the difference of two PSFs' moments along the axis where it is smallest, pixels squared."""
    xx, yy, xy = (t - s for s, t in zip(source, target, strict=True))
    return float(0.5 * (xx + yy) - np.hypot(0.5 * (xx - yy), xy))


def gaussian_spectrum(moments: Moments, n: int) -> NDArray[np.float32]:
    """Return the transform of a Gaussian of sum 1; shape (n, n // 2 + 1). Negative moments sharpen."""
    ky, kx = np.meshgrid(fft.fftfreq(n), fft.rfftfreq(n), indexing="ij")
    xx, yy, xy = moments
    exponent = -2 * np.pi**2 * (xx * kx**2 + yy * ky**2 + 2 * xy * kx * ky)
    return np.asarray(np.exp(np.minimum(exponent, MOST_SHARPENING)), np.float32)


MOST_SHARPENING = 20.0
"""Largest exponent of a sharpening, against overflow."""


def _moments(matrix: NDArray[np.float64]) -> Moments:
    return float(matrix[0, 0]), float(matrix[1, 1]), float(matrix[0, 1])
