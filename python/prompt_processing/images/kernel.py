"""Spatially varying kernel that matches one image's PSF to another's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import ArrayLike, NDArray

from .psf import polynomial_terms


@dataclass(frozen=True, slots=True, eq=False)
class MatchingKernel:
    """Sum of fixed images whose weights are polynomials of the position.

    Attributes
    ----------
    basis : `~numpy.ndarray`, shape (n_basis, size, size)
        Basis images; the size is odd, and the centre is the middle pixel.
    coefficients : `~numpy.ndarray`, shape (n_basis, n_terms)
        Weight of each basis image for each term of `polynomial_terms`.
    order
        Total degree of the polynomial.
    x_centre, y_centre, scale
        Position (pixels) ``(x, y)`` is evaluated at
        ``((x - x_centre) / scale, (y - y_centre) / scale)``.
    convolves_science
        Whether the kernel convolves the science image, because the template is
        blurrier; otherwise it convolves the template.
    """

    basis: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    order: int = 0
    x_centre: float = 0.0
    y_centre: float = 0.0
    scale: float = 1.0
    convolves_science: bool = False

    def __post_init__(self) -> None:
        n_terms = (self.order + 1) * (self.order + 2) // 2
        if self.basis.ndim != 3 or self.coefficients.shape != (len(self.basis), n_terms):
            raise ValueError(
                f"Basis of shape {self.basis.shape} and order {self.order} do not match coefficients of "
                f"shape {self.coefficients.shape}."
            )

    @property
    def size(self) -> int:
        """Width of the image, pixels."""
        return int(self.basis.shape[-1])

    def weights_at(self, x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
        """Return the weights of the basis images at positions (pixels); shape (n, n_basis)."""
        u = (np.atleast_1d(np.asarray(x, float)) - self.x_centre) / self.scale
        v = (np.atleast_1d(np.asarray(y, float)) - self.y_centre) / self.scale
        return polynomial_terms(u, v, self.order) @ self.coefficients.T

    def images_at(self, x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
        """Return the kernel at positions (pixels); shape (n, size, size)."""
        weights = self.weights_at(x, y)
        flat = weights @ self.basis.reshape(len(self.basis), -1)
        return flat.reshape(len(weights), self.size, self.size)

    def image_at(self, x: float, y: float) -> NDArray[np.float64]:
        """Return the kernel at a position (pixels); shape (size, size)."""
        return np.asarray(self.images_at(x, y)[0])

    def sum_at(self, x: float, y: float) -> float:
        """Return the kernel's sum, the flux ratio of the two images, at a position (pixels)."""
        return float(self.image_at(x, y).sum())

    def write_fits(self, path: str | Path) -> None:
        """Write the basis and the coefficients as two image extensions."""
        header = fits.Header()
        header["ORDER"] = (self.order, "total degree of the polynomial")
        header["XCENTRE"] = (self.x_centre, "pixel where the polynomial's x is 0")
        header["YCENTRE"] = (self.y_centre, "pixel where the polynomial's y is 0")
        header["SCALE"] = (self.scale, "pixels per unit of the polynomial")
        header["CONVSCI"] = (self.convolves_science, "fitted for the science image")
        fits.HDUList(
            [
                fits.PrimaryHDU(header=header),
                fits.ImageHDU(self.basis, name="BASIS"),
                fits.ImageHDU(self.coefficients, name="COEFFICIENTS"),
            ]
        ).writeto(path, overwrite=True)

    @classmethod
    def read_fits(cls, path: str | Path) -> MatchingKernel:
        """Read the extensions of `write_fits`."""
        with fits.open(path, memmap=False) as hdus:
            header = hdus[0].header
            return cls(
                np.asarray(hdus["BASIS"].data, np.float64),
                np.asarray(hdus["COEFFICIENTS"].data, np.float64),
                int(header["ORDER"]),
                float(header["XCENTRE"]),
                float(header["YCENTRE"]),
                float(header["SCALE"]),
                bool(header["CONVSCI"]),
            )
