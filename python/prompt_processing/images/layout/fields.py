"""Kernels, backgrounds and photometric calibrations as objects of ``lsst.images``, and back."""

from __future__ import annotations

import math
from typing import Any

import astropy.units
import numpy as np
from lsst.images import BackgroundMap, Box
from lsst.images.convolution_kernels import ConvolutionKernel, ImageBasisConvolutionKernel
from lsst.images.fields import BaseField, ChebyshevField, SplineField
from numpy.polynomial import chebyshev, polynomial
from numpy.typing import NDArray

from prompt_processing.images.background import Background
from prompt_processing.images.kernel import MatchingKernel
from prompt_processing.images.photo_calib import PhotoCalib
from prompt_processing.images.psf import polynomial_term

__all__ = [
    "background_of",
    "field_background",
    "field_kernel",
    "field_photo_calib",
    "fitted_shape",
    "kernel_of",
    "photo_calib_of",
]

_SKY = "sky"
_FALLBACK_BOX = 128


def field_kernel(kernel: MatchingKernel, shape: tuple[int, int]) -> ImageBasisConvolutionKernel:
    """Return a kernel whose weights are Chebyshev polynomials.

    Parameters
    ----------
    kernel
        Our kernel.
    shape
        Height and width of the image.
    """
    bbox = Box.from_shape(shape)
    return ImageBasisConvolutionKernel(
        np.asarray(kernel.basis, float),
        [ChebyshevField(bbox, _to_chebyshev(kernel, weights, shape)) for weights in kernel.coefficients],
    )


def fitted_shape(kernel: MatchingKernel) -> tuple[int, int] | None:
    """Return height and width of the image that a kernel was fitted to; `None` if it does not vary.

    The centre of the polynomials is that of the image.
    """
    height, width = (round(2 * centre) + 1 for centre in (kernel.y_centre, kernel.x_centre))
    return (height, width) if min(height, width) > 1 else None


def kernel_of(kernel: ConvolutionKernel, *, convolves_science: bool = False) -> MatchingKernel:
    """Return our kernel.

    Parameters
    ----------
    kernel
        Kernel with Chebyshev polynomials as weights.
    convolves_science
        Whether it convolves the science image, which the object does not say.

    Raises
    ------
    TypeError
        Raised if its weights are other functions.
    """
    if not isinstance(kernel, ImageBasisConvolutionKernel):
        raise TypeError(f"A {type(kernel).__name__} is not a sum of images.")
    chebyshevs = [field for field in kernel.spatial if isinstance(field, ChebyshevField)]
    if len(chebyshevs) < len(kernel.spatial):
        raise TypeError("The weights of the kernel are not all Chebyshev polynomials.")
    box = kernel.bounds.bbox
    x, y, scale = _middle((box.y.size, box.x.size))
    order = max(_degree(np.asarray(field.coefficients)) for field in chebyshevs)
    weights = np.zeros((len(kernel.basis), (order + 1) * (order + 2) // 2))
    for row, field in zip(weights, chebyshevs, strict=True):
        powers = _from_chebyshev(np.asarray(field.coefficients), (box.y.size, box.x.size), scale)
        for (j, i), value in np.ndenumerate(powers):
            if i + j <= order:
                row[polynomial_term(i, j)] = value
    return MatchingKernel(
        np.array(kernel.basis, float), weights, order, box.x.min + x, box.y.min + y, scale, convolves_science
    )


def field_background(background: Background, unit: astropy.units.UnitBase | None = None) -> BackgroundMap:
    """Return a map with the subtracted background.

    Notes
    -----
    ``lsst.images`` interpolates with Akima splines. Eight of its points for each of our boxes make it follow
    our cubic spline.
    """
    y, x = (_nodes(at, size) for at, size in zip(background.centres, background.shape, strict=True))
    field = SplineField(Box.from_shape(background.shape), background.at(y, x), y=y, x=x, unit=unit)
    result = BackgroundMap()
    result.add(
        _SKY, field, f"Sky of this detector, in boxes of {background.box_size} pixels.", is_subtracted=True
    )
    return result


def background_of(backgrounds: BackgroundMap) -> Background:
    """Return the background that was subtracted, or the only one.

    Raises
    ------
    TypeError
        Raised if it is not a spline.
    """
    background = backgrounds.subtracted
    if background is None:
        (background,) = backgrounds.values()
    field = background.field
    if not isinstance(field, SplineField):
        raise TypeError(f"The background is a {type(field).__name__}, not a spline.")
    shape = field.bounds.bbox.y.size, field.bounds.bbox.x.size
    words = background.description.split()
    box_size = int(words[-2]) if len(words) > 2 and words[-1] == "pixels." else _FALLBACK_BOX
    counts = [-(-size // box_size) for size in shape]
    result = Background(np.zeros(counts, np.float32), box_size, shape)
    y, x = result.centres
    values = [[float(field(x=np.array([b]), y=np.array([a]))[0]) for b in x] for a in y]
    return Background(np.array(values, np.float32), box_size, shape)


def _nodes(centres: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return positions between and at the centres of boxes, and at the edges of the image."""
    between = [centres[:-1] + part * np.diff(centres) for part in np.arange(8) / 8]
    first, last = centres[0], centres[-1]
    # Several outside the outermost centres, so that the spline is flat there, as ours is.
    parts = np.array([0.02, 0.04, 0.06, 0.5, 1.0])
    edges = [first - parts * first, last + parts * (size - 1 - last)]
    return np.unique(np.concatenate([*between, centres[-1:], *edges]))


def field_photo_calib(
    calibration: PhotoCalib, shape: tuple[int, int], unit: astropy.units.UnitBase = astropy.units.electron
) -> ChebyshevField:
    """Return the factor from ``unit`` to nJy."""
    factor = np.array([[float(calibration.njy_per_unit)]])
    return ChebyshevField(Box.from_shape(shape), factor, unit=astropy.units.nJy / unit)


def photo_calib_of(field: BaseField, error: float = math.nan) -> PhotoCalib:
    """Return the calibration at the middle of a field."""
    x, y = (np.array([float(side.center)]) for side in (field.bounds.bbox.x, field.bounds.bbox.y))
    return PhotoCalib(float(np.asarray(field(x=x, y=y))[0]), error)


def _middle(shape: tuple[int, int]) -> tuple[float, float, float]:
    height, width = shape
    return (width - 1) / 2, (height - 1) / 2, max(height, width) / 2


def _to_chebyshev(
    kernel: MatchingKernel, weights: NDArray[np.float64], shape: tuple[int, int]
) -> NDArray[np.float64]:
    """Return coefficients of ``T_p(y) T_q(x)`` on the box of an image."""
    height, width = shape
    order = kernel.order
    x, y, _ = _middle(shape)
    # Our scaled coordinates are linear in theirs.
    of_x = np.array([(x - kernel.x_centre) / kernel.scale, width / 2 / kernel.scale])
    of_y = np.array([(y - kernel.y_centre) / kernel.scale, height / 2 / kernel.scale])
    powers = np.zeros((order + 1, order + 1))
    for degree in range(order + 1):
        for j in range(degree + 1):
            i = degree - j
            term = np.outer(polynomial.polypow(of_y, j), polynomial.polypow(of_x, i))
            powers[: j + 1, : i + 1] += weights[polynomial_term(i, j)] * term
    rows = np.apply_along_axis(_padded(chebyshev.poly2cheb, order + 1), 1, powers)
    return np.apply_along_axis(_padded(chebyshev.poly2cheb, order + 1), 0, rows)


def _from_chebyshev(
    coefficients: NDArray[np.float64], shape: tuple[int, int], scale: float
) -> NDArray[np.float64]:
    """Return coefficients of powers of y and x about the middle of a box, in units of ``scale``."""
    height, width = shape
    rows, columns = coefficients.shape
    powers = np.apply_along_axis(_padded(chebyshev.cheb2poly, columns), 1, coefficients)
    powers = np.apply_along_axis(_padded(chebyshev.cheb2poly, rows), 0, powers)
    of_y, of_x = (2 * scale / height) ** np.arange(rows), (2 * scale / width) ** np.arange(columns)
    return powers * of_y[:, np.newaxis] * of_x[np.newaxis, :]


def _padded(convert: Any, size: int) -> Any:
    def converted(values: NDArray[np.float64]) -> NDArray[np.float64]:
        result = np.zeros(size)
        found = convert(values)
        result[: len(found)] = found
        return result

    return converted


def _degree(coefficients: NDArray[np.float64]) -> int:
    used = np.argwhere(coefficients != 0)
    return int(used.sum(axis=1).max()) if len(used) else 0
