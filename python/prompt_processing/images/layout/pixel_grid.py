"""Convert between our PSFs and the polynomials of Piff's ``PixelGrid`` with ``BasisPolynomial``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prompt_processing.images.psf import Psf, lanczos_weights, polynomial_term

__all__ = ["monomials", "psf_of_grid"]


def psf_of_grid(
    model: Mapping[str, Any],
    solution: NDArray[np.float64],
    shape: tuple[int, int],
) -> Psf | None:
    """Make a PSF of Piff's description.

    Parameters
    ----------
    model
        ``psf`` of a file's description.
    solution : `~numpy.ndarray`, shape (size * size, n_terms)
        Coefficients of the polynomials.
    shape
        Height and width of the image.

    Returns
    -------
    psf
        `None` if it is another model than `PixelGridPsf`'s.
    """
    try:
        inner = model["piff"]["objects"]["piff"]
        grid, interpolation = inner["structs"]["model"], inner["structs"]["interp"]
        scale = float(inner["wcs"]["wcs"]["scale"])
        keys = interpolation.get("keys") or ["u", "v"]
        order = int(interpolation["order"])
        size = int(grid["size"])
        is_ours = (
            grid["type"] == "PixelGrid"
            and interpolation["type"] == "BasisPolynomial"
            and interpolation.get("max_order") in (None, order)
            and sorted(keys) in (["u", "v"], ["x", "y"])
            and re.search("Lanczos", grid["interp"]) is not None
        )
    except (KeyError, TypeError, ValueError):
        return None
    if not is_ours:
        return None
    powers = [(i, j) for i in range(order + 1) for j in range(order + 1) if i + j <= order]
    if keys[0] in ("v", "y"):
        powers = [(j, i) for i, j in powers]
    unit = scale if keys[0] in ("u", "v") else 1.0
    images = {
        (i, j): solution[:, term].reshape(size, size) * unit ** (i + j) for term, (i, j) in enumerate(powers)
    }
    grid_pixels = float(grid["scale"]) / scale
    if grid_pixels != 1.0:
        images = {
            power: _resampled(image, grid_pixels, int(model["stamp_size"])) for power, image in images.items()
        }
        size = int(model["stamp_size"])
    height, width = shape
    # About the middle of the image, because single precision would not suffice for powers of pixels.
    x, y, norm = (width - 1) / 2, (height - 1) / 2, max(height, width) / 2
    coefficients = np.zeros(((order + 1) * (order + 2) // 2, size, size))
    for (i, j), image in images.items():
        for k in range(i + 1):
            for m in range(j + 1):
                weight = comb(i, k) * comb(j, m) * x ** (i - k) * y ** (j - m) * norm ** (k + m)
                coefficients[polynomial_term(k, m)] += weight * image
    return Psf(coefficients.astype(np.float32), order, x, y, norm)


def monomials(psf: Psf) -> NDArray[np.float64]:
    """Return coefficients of ``x**i * y**j`` in pixels, in Piff's order; shape (size * size, n_terms)."""
    order = psf.order
    result = {(i, j): np.zeros((psf.size, psf.size)) for i in range(order + 1) for j in range(order + 1 - i)}
    for i in range(order + 1):
        for j in range(order + 1 - i):
            image = psf.coefficients[polynomial_term(i, j)].astype(float) / psf.scale ** (i + j)
            for k in range(i + 1):
                for m in range(j + 1):
                    weight = comb(i, k) * comb(j, m) * (-psf.x_centre) ** (i - k) * (-psf.y_centre) ** (j - m)
                    result[k, m] += weight * image
    return np.stack([result[power].ravel() for power in sorted(result)], axis=-1)


def _resampled(image: NDArray[np.float64], grid_pixels: float, size: int) -> NDArray[np.float64]:
    """Sample a grid at the pixels of the detector by Lanczos interpolation of order 5."""
    weights = lanczos_weights((np.arange(size) - size // 2) / grid_pixels, image.shape[0], 5)
    return np.asarray(weights @ image @ weights.T)
