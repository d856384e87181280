"""A point-spread function that varies over the detector."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

FWHM_PER_SIGMA = 2.3548200450309493

LEAST_SIGMA = 0.6
"""Sigma, pixels, of the narrowest weight under which sums over pixels measure moments."""


def polynomial_terms(x: ArrayLike, y: ArrayLike, order: int) -> NDArray[np.float64]:
    """Evaluate ``x**i * y**j`` for ``i + j <= order``.

    Parameters
    ----------
    x, y : array_like, shape (n,)
        Scaled coordinates, about -1 to 1.
    order
        Highest total degree.

    Returns
    -------
    terms : `~numpy.ndarray`, shape (n, (order + 1) * (order + 2) / 2)
        Ordered by total degree, then by decreasing power of x: 1, x, y, x2, xy, y2.
    """
    px, py = np.atleast_1d(np.asarray(x, float)), np.atleast_1d(np.asarray(y, float))
    return np.stack(
        [px ** (degree - j) * py**j for degree in range(order + 1) for j in range(degree + 1)], axis=-1
    )


def polynomial_term(i: int, j: int) -> int:
    """Return the place of ``x**i * y**j`` in `polynomial_terms`."""
    degree = i + j
    return degree * (degree + 1) // 2 + j


def lanczos_weights(offsets: NDArray[np.float64], side: int, order: int) -> NDArray[np.float64]:
    """Return weights of Lanczos interpolation, which are not normalised.

    Parameters
    ----------
    offsets : `~numpy.ndarray`, shape (n,)
        Places at which to interpolate, in samples from the middle one.
    side
        Number of samples, odd.
    order
        Samples on each side that have a weight.

    Returns
    -------
    weights : `~numpy.ndarray`, shape (n, side)
        Weight of each sample at each place.
    """
    distance = offsets[:, np.newaxis] - (np.arange(side) - side // 2)
    return np.where(np.abs(distance) < order, np.sinc(distance) * np.sinc(distance / order), 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Psf:
    """Pixel image whose values are polynomials of the position.

    Attributes
    ----------
    coefficients : `~numpy.ndarray`, shape (n_terms, size, size)
        Image of each term of `polynomial_terms`; the size is odd, the centre is
        the middle pixel, and the sampling is that of the detector.
    order
        Total degree of the polynomial.
    x_centre, y_centre, scale
        Position (pixels) ``(x, y)`` is evaluated at
        ``((x - x_centre) / scale, (y - y_centre) / scale)``.
    """

    coefficients: NDArray[np.float32]
    order: int = 0
    x_centre: float = 0.0
    y_centre: float = 0.0
    scale: float = 1.0

    @property
    def size(self) -> int:
        """Width of the image, pixels."""
        return int(self.coefficients.shape[-1])

    def shifted(self, x0: float, y0: float) -> Psf:
        """Return the PSF of the part of an image that begins at pixel ``(x0, y0)``."""
        return replace(self, x_centre=self.x_centre - x0, y_centre=self.y_centre - y0)

    def image_at(self, x: float, y: float) -> NDArray[np.float64]:
        """Return the PSF at a position, centred on its middle pixel, of sum 1; shape (size, size)."""
        terms = polynomial_terms(
            (x - self.x_centre) / self.scale, (y - self.y_centre) / self.scale, self.order
        )[0]
        image = np.tensordot(terms, self.coefficients.astype(np.float64), axes=1)
        return np.asarray(image / image.sum())

    def stamp_at(self, x: float, y: float) -> tuple[NDArray[np.float64], int, int]:
        """Return the PSF of a source at a subpixel position.

        Returns
        -------
        stamp : `~numpy.ndarray`, shape (size, size)
            Sum 1, shifted by a cubic spline.
        x0, y0
            Pixel of the detector under ``stamp[0, 0]``.
        """
        # Imported late: it takes a tenth of a second, which would delay a worker that starts for a visit.
        from scipy import ndimage

        column, row = round(x), round(y)
        image = self.image_at(x, y)
        shifted = ndimage.shift(image, (y - row, x - column), order=3, mode="constant")
        half = self.size // 2
        return shifted / shifted.sum(), column - half, row - half

    def moments_at(self, x: float, y: float) -> tuple[float, float, float]:
        """Return the Gaussian-weighted second moments ``ixx, iyy, ixy``, pixels squared."""
        return _moments(self, x, y)

    def fwhm_at(self, x: float | None = None, y: float | None = None) -> float:
        """Return the FWHM of the Gaussian with the same moments, pixels; by default at the centre."""
        ixx, iyy, ixy = self.moments_at(self.x_centre if x is None else x, self.y_centre if y is None else y)
        return float(FWHM_PER_SIGMA * max(ixx * iyy - ixy**2, 0.0) ** 0.25)

    def effective_area_at(self, x: float, y: float) -> float:
        """Return the noise-equivalent area ``1 / sum(psf**2)``, pixels."""
        return float(1.0 / np.sum(self.image_at(x, y) ** 2))


@lru_cache(maxsize=8)
def _moments(psf: Psf, x: float, y: float) -> tuple[float, float, float]:
    """Return the moments of a PSF at a position; many steps ask for those in the middle of an image."""
    return adaptive_moments(psf.image_at(x, y))


def adaptive_moments(image: NDArray[np.float64], iterations: int = 30) -> tuple[float, float, float]:
    """Measure second moments under a matched elliptical Gaussian.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (n, n)
        Background-free, centred on the middle pixel.

    Returns
    -------
    ixx, iyy, ixy
        Pixels squared.

    Notes
    -----
    Bernstein & Jarvis 2002, AJ 123, 583: the weight has the measured moments. Below `LEAST_SIGMA` pixels the
    moments are those of the round Gaussian with the same noise-equivalent area.
    """
    half = image.shape[0] // 2
    rows, columns = np.mgrid[-half : image.shape[0] - half, -half : image.shape[1] - half].astype(float)
    squares = np.stack([columns**2, rows**2, columns * rows]).reshape(3, -1)
    flat = image.ravel()
    ixx = iyy = (image.shape[0] / 8.0) ** 2
    ixy = 0.0
    for _ in range(iterations):
        determinant = ixx * iyy - ixy**2
        weighted = np.exp(np.array([iyy, ixx, -2 * ixy]) * (-0.5 / determinant) @ squares) * flat
        total = weighted.sum()
        if total <= 0:
            break
        # A Gaussian weighted with itself has half the moments.
        new = (2 / total * (squares @ weighted)).tolist()
        if new[0] <= 0 or new[1] <= 0 or new[0] * new[1] <= new[2] ** 2:
            break
        converged = abs(new[0] - ixx) + abs(new[1] - iyy) < 1e-4 * (ixx + iyy)
        ixx, iyy, ixy = new
        if converged:
            break
    if max(ixx * iyy - ixy**2, 0.0) ** 0.25 < LEAST_SIGMA and (power := float(flat @ flat)) > 0:
        # For so narrow a weight the sum over pixels is not an integral, and the moments vanish with it.
        ixx = iyy = float(flat.sum()) ** 2 / power / (4 * np.pi)
        ixy = 0.0
    return float(ixx), float(iyy), float(ixy)
