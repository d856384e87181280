"""PSFs of the stack as `Psf`: Gaussian, PSFEx, Piff, and coadds of these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..psf import Psf, lanczos_weights, polynomial_terms
from .archive import Archive, Stored
from .errors import StackFileError
from .piff import PiffModel
from .transforms import PointTransform

__all__ = ["read_psf"]

_LANCZOS = 5
"""Order of the interpolation of PSFEx as the stack uses it."""

_SAMPLES = 7
"""Points along each side of the image where a PSF is evaluated."""

_COADD_ORDER = 2
"""Degree of the polynomials that follow a coadd's PSF, which has steps where its inputs end."""


@dataclass(frozen=True, slots=True)
class _Model:
    """A PSF that can be evaluated.

    Attributes
    ----------
    image_at
        Returns the centred image (odd size) at a position in the stack's pixels. Only its form counts: images
        of sum 1 would be no polynomials.
    degree
        Total degree of its polynomials.
    """

    image_at: Callable[[float, float], NDArray[np.float64]]
    degree: int


def read_psf(archive: Archive, identity: int, shape: tuple[int, int], x0: int, y0: int) -> Psf:
    """Read a PSF.

    Parameters
    ----------
    archive
        Archive of the image's file.
    identity
        Number of the PSF.
    shape
        Height and width of the image, pixels.
    x0, y0
        Pixel of the stack's coordinates at the lower left of the image.

    Returns
    -------
    psf
        Polynomials through samples of the stack's model; for Gaussians, PSFEx and Piff they are the same
        function.

    Raises
    ------
    StackFileError
        Raised if the model is of another kind.
    """
    model = _model(archive, archive[identity])
    height, width = shape
    fractions = (np.arange(_SAMPLES) + 0.5) / _SAMPLES if model.degree else np.array([0.5])
    xs, ys = (grid.ravel() for grid in np.meshgrid(fractions * width - 0.5, fractions * height - 0.5))
    images, used = [], []
    for i, (x, y) in enumerate(zip(xs, ys, strict=True)):
        try:
            images.append(model.image_at(x + x0, y + y0))
            used.append(i)
        except _NoInputError:
            continue
    if not images:
        raise StackFileError(f"PSF {identity} has no value anywhere on the image.")
    size = max(image.shape[0] for image in images)
    stack = np.array([_padded(image, size) for image in images])
    stack /= stack.sum(axis=(1, 2)).mean()
    order = model.degree
    while order > 0 and len(images) < (order + 1) * (order + 2) // 2:
        order -= 1
    x_centre, y_centre, scale = (width - 1) / 2, (height - 1) / 2, max(shape) / 2
    terms = polynomial_terms((xs[used] - x_centre) / scale, (ys[used] - y_centre) / scale, order)
    coefficients = np.linalg.lstsq(terms, stack.reshape(len(stack), -1), rcond=None)[0]
    return Psf(
        coefficients.reshape(-1, size, size).astype(np.float32), order, x_centre, y_centre, float(scale)
    )


class _NoInputError(Exception):
    """No input of a coadd covers a position."""


def _model(archive: Archive, stored: Stored) -> _Model:
    if stored.name == "PiffPsf":
        piff = PiffModel(stored)
        return _Model(piff.image_at, piff.degree)
    readers = {"GaussianPsf": _gaussian, "SingleGaussianPsf": _gaussian, "PsfexPsf": _psfex}
    if stored.name in readers:
        return readers[stored.name](stored)
    if stored.name == "CoaddPsf":
        return _coadd(archive, stored)
    raise StackFileError(f"a PSF of the kind {stored.name} is not read.")


def _gaussian(stored: Stored) -> _Model:
    row = stored.row()
    half = int(row["dimensions_x"]) // 2
    offsets = np.arange(-half, half + 1)
    profile = np.exp(-0.5 * (offsets / float(row["sigma"])) ** 2)
    image = np.outer(profile, profile)
    image /= image.sum()
    return _Model(lambda x, y: image, 0)


def _psfex(stored: Stored) -> _Model:
    sizes, arrays = stored.row(0), stored.row(1)
    if int(sizes["ndim"]) != 2:
        raise StackFileError(
            f"PSFEx model {stored.id} varies with {sizes['ndim']} quantities, not with x and y."
        )
    shape = [int(n) for n in np.atleast_1d(arrays["_size"])]
    width, height, n_terms = (*shape, 1)[:3]
    components = np.asarray(arrays["_comp"], float).reshape(n_terms, height, width)
    degree = int(np.max(arrays["degree"]))
    offset, scale = (np.asarray(arrays[name], float) for name in ("_context_first", "_context_second"))
    step = float(sizes["_pixstep"])
    weights = [_lanczos(length, step) for length in (height, width)]
    # PSFEx orders its terms by the power of y, and within it by that of x.
    powers = [(i, j) for j in range(degree + 1) for i in range(degree + 1 - j)]
    if len(powers) != n_terms:
        raise StackFileError(f"PSFEx model {stored.id} has {n_terms} terms, not those of degree {degree}.")

    def image_at(x: float, y: float) -> NDArray[np.float64]:
        u, v = (np.array([x, y]) - offset) / scale
        terms = np.array([u**i * v**j for i, j in powers])
        return np.asarray(weights[0] @ np.tensordot(terms, components, axes=1) @ weights[1].T)

    return _Model(image_at, degree)


def _lanczos(length: int, step: float) -> NDArray[np.float64]:
    """Return weights that resample a model of ``step`` pixels per sample to pixels."""
    n_pixels = int(length * step) | 1
    offsets = (np.arange(n_pixels) - n_pixels // 2) / step
    weights = lanczos_weights(offsets, length, _LANCZOS)
    total = weights.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(weights, total, out=weights, where=total > 0.1))


def _coadd(archive: Archive, stored: Stored) -> _Model:
    """Return the weighted mean of the inputs' PSFs, each warped to the coadd's pixels."""
    if len(stored.tables) != 2:
        raise StackFileError(f"CoaddPsf {stored.id} has an unsupported version.")
    to_sky = PointTransform(archive[int(stored.row(0)["coaddwcs"])])
    inputs = [_CoaddInput(archive, row) for row in stored.tables[1]]

    def image_at(x: float, y: float) -> NDArray[np.float64]:
        # The point itself and one pixel along each axis, for the local affine map.
        sky = to_sky(np.array([[x, y], [x + 1, y], [x - 1, y], [x, y + 1], [x, y - 1]]))
        images, weights = [], []
        for one in inputs:
            place = one.from_sky(sky)
            if one.covers(place[0]):
                affine = 0.5 * np.column_stack([place[1] - place[2], place[3] - place[4]])
                images.append(_warped(one.model().image_at(*place[0]), affine))
                weights.append(one.weight)
        if not images:
            raise _NoInputError
        size = max(image.shape[0] for image in images)
        mean = np.average([_padded(image, size) for image in images], axis=0, weights=weights)
        return np.asarray(mean / mean.sum())

    return _Model(image_at, _COADD_ORDER)


class _CoaddInput:
    """One image of a coadd: a record of the stack's ``ExposureCatalog``."""

    def __init__(self, archive: Archive, row: Mapping[str, Any]) -> None:
        self._archive = archive
        self._psf_id = int(row["psf"])
        self._wcs = PointTransform(archive[int(row["wcs"])])
        self.weight = float(row["weight"]) if "weight" in row else 1.0
        self._box = [float(row[f"bbox_{side}_{axis}"]) for side in ("min", "max") for axis in "xy"]
        polygon = int(row["validPolygon"]) if "validPolygon" in row else 0
        self._polygon = _vertices(archive[polygon]) if polygon else None
        self._model: _Model | None = None

    def from_sky(self, sky: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map the sky (radians) to the image's pixels."""
        return self._wcs(sky, inverse=True)

    def covers(self, place: NDArray[np.float64]) -> bool:
        """Return whether a pixel position is on the image, and in its valid polygon if it has one."""
        x, y = place
        left, bottom, right, top = self._box
        if not (left - 0.5 <= x <= right + 0.5 and bottom - 0.5 <= y <= top + 0.5):
            return False
        return self._polygon is None or _in_polygon(self._polygon, x, y)

    def model(self) -> _Model:
        """Return the image's PSF, read at its first use."""
        if self._model is None:
            self._model = _model(self._archive, self._archive[self._psf_id])
        return self._model


def _vertices(stored: Stored) -> NDArray[np.float64]:
    rows = stored.tables[0]
    return np.column_stack([rows["vertices_x"], rows["vertices_y"]]).astype(float)


def _in_polygon(vertices: NDArray[np.float64], x: float, y: float) -> bool:
    """Return whether the number of edges to the right of a point is odd."""
    following = np.roll(vertices, -1, axis=0)
    spans = (vertices[:, 1] > y) != (following[:, 1] > y)
    rise = np.where(spans, following[:, 1] - vertices[:, 1], 1.0)
    crossing = vertices[:, 0] + (y - vertices[:, 1]) / rise * (following[:, 0] - vertices[:, 0])
    return bool(np.count_nonzero(spans & (crossing > x)) % 2)


def _warped(image: NDArray[np.float64], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Resample a centred image; ``affine`` maps offsets on the new grid to offsets on its own."""
    half = image.shape[0] // 2
    # As many pixels as the image has on the new grid, whose scale may differ.
    new = max(int(np.ceil(half / np.sqrt(abs(np.linalg.det(affine))))), 1)
    dy, dx = np.mgrid[-new : new + 1, -new : new + 1].astype(float)
    columns = affine[0, 0] * dx + affine[0, 1] * dy + half
    rows = affine[1, 0] * dx + affine[1, 1] * dy + half
    out = ndimage.map_coordinates(image, [rows, columns], order=3, mode="constant")
    return np.asarray(out / out.sum())


def _padded(image: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    margin = (size - image.shape[0]) // 2
    return np.pad(image, margin)
