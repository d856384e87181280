"""Exposures on the pixels of a patch, and their median."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray
from scipy import ndimage

from prompt_processing.images import UNUSABLE, Exposure, Mask, Psf, polynomial_terms
from prompt_processing.images.exposure import shifted_wcs
from prompt_processing.images.robust import MAD_TO_SIGMA
from prompt_processing.imaging.errors import NoTemplateOverlapError
from prompt_processing.imaging.row_bands import in_bands

from .warp import warp_template

__all__ = ["Layer", "Reference", "match_sky", "reference_of", "warp_layer"]

MARGIN = 4
"""Margin around the outline of an exposure, pixels."""

SPLINE_REACH = 2
"""Pixels around a saturated one that the interpolation changes."""

BAND = 64
"""Rows of a patch whose median is computed at once."""

_SKY_BOX = 64
_LEAST_OF_BOX = 0.2
_TERMS = {0: 4, 1: 12, 2: 30}
"""Boxes that a polynomial of each degree needs."""


@dataclass(slots=True, eq=False)
class Layer:
    """One exposure of one detector on a part of a patch's pixels.

    Attributes
    ----------
    epoch
        Visit; detectors of one visit count as one epoch.
    name
        For messages and tables.
    x0, y0
        Pixel of the patch under the lower left pixel of the layer.
    image, variance : `~numpy.ndarray` of float32, shape (height, width)
        nJy per pixel of the patch, and its square; the image is NaN where the exposure has no usable value.
    saturated, source : `~numpy.ndarray` of bool, shape (height, width)
        Where the exposure is saturated, and where it has a detected source.
    psf
        On the layer's pixels.
    weight
        Inverse of the median variance, 1/nJy squared.
    sky_offset
        Median of what `match_sky` has subtracted, nJy per pixel.
    rejected
        Number of pixels that differ from the other exposures.
    """

    epoch: int
    name: str
    x0: int
    y0: int
    image: NDArray[np.float32]
    variance: NDArray[np.float32]
    saturated: NDArray[np.bool_]
    source: NDArray[np.bool_]
    psf: Psf | None
    weight: float
    sky_offset: float = 0.0
    rejected: int = 0

    @property
    def box(self) -> tuple[slice, slice]:
        """Rows and columns of the patch."""
        height, width = self.image.shape
        return slice(self.y0, self.y0 + height), slice(self.x0, self.x0 + width)

    def fwhm(self) -> float:
        """Return the seeing in the middle, pixels; NaN without a PSF."""
        if self.psf is None:
            return float("nan")
        height, width = self.image.shape
        return self.psf.fwhm_at((width - 1) / 2, (height - 1) / 2)


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """What the exposures agree on.

    Attributes
    ----------
    image : `~numpy.ndarray` of float32, shape (height, width)
        Median of the exposures; the fainter of two; NaN where there is none.
    variance : `~numpy.ndarray` of float32, shape (height, width)
        Its variance.
    count : `~numpy.ndarray` of uint16, shape (height, width)
        Number of exposures.
    """

    image: NDArray[np.float32]
    variance: NDArray[np.float32]
    count: NDArray[np.uint16]


def warp_layer(
    exposure: Exposure, wcs: WCS, shape: tuple[int, int], epoch: int = 0, name: str = ""
) -> Layer | None:
    """Resample a calibrated exposure to a part of a patch.

    Parameters
    ----------
    exposure : `Exposure`
        With WCS, with or without distortion, and photometric calibration.
    wcs : `~astropy.wcs.WCS`
        TAN projection of the patch.
    shape : `tuple` of `int`
        Height and width of the patch, pixels.
    epoch, name
        See `Layer`.

    Returns
    -------
    layer : `Layer` or `None`
        `None` if the exposure has no usable pixel on the patch.

    Raises
    ------
    ValueError
        Raised if the exposure has no WCS.
    """
    if exposure.wcs is None:
        raise ValueError(f"The image {name or epoch} has no WCS.")
    box = _outline(exposure, wcs, shape)
    if box is None:
        return None
    # Only pixels near the exposure: far from it, the inverse of its distortion does not converge.
    rows, columns = box
    size = rows.stop - rows.start, columns.stop - columns.start
    try:
        warped = warp_template([exposure], shifted_wcs(wcs, columns.start, rows.start), size)
    except NoTemplateOverlapError:
        return None
    missing = ~np.isfinite(warped.image) | ~(warped.variance > 0) | warped.has(UNUSABLE & ~Mask.SAT)
    if missing.all():
        return None
    saturated = warped.has(Mask.SAT)
    if saturated.any():
        # The spline carries the clipped values a little further.
        saturated = ndimage.binary_dilation(saturated, iterations=SPLINE_REACH)
    saturated &= ~missing
    warped.image[missing] = np.nan
    usable = ~missing & ~saturated
    typical = float(np.median(warped.variance[usable if usable.any() else ~missing]))
    return Layer(
        epoch, name, columns.start, rows.start, warped.image, warped.variance, saturated,
        warped.has(Mask.DETECTED), warped.psf, 1.0 / typical,
    )  # fmt: skip


def _outline(exposure: Exposure, wcs: WCS, shape: tuple[int, int]) -> tuple[slice, slice] | None:
    """Return the rows and columns of a patch around an exposure."""
    height, width = exposure.shape
    along = np.linspace(-0.5, 0.5, 9)
    edge = np.concatenate([np.full(9, -0.5), np.full(9, 0.5), along, along])
    other = np.concatenate([along, along, np.full(9, -0.5), np.full(9, 0.5)])
    assert exposure.wcs is not None
    ra, dec = exposure.wcs.all_pix2world(edge * width + (width - 1) / 2, other * height + (height - 1) / 2, 0)
    x, y = wcs.wcs_world2pix(ra, dec, 0)
    if not (np.all(np.isfinite(x)) and np.all(np.isfinite(y))):
        return None
    spans = []
    for values, length in ((y, shape[0]), (x, shape[1])):
        first = max(int(np.floor(values.min())) - MARGIN, 0)
        last = min(int(np.ceil(values.max())) + MARGIN + 1, length)
        if first >= last:
            return None
        spans.append(slice(first, last))
    return spans[0], spans[1]


@numba.njit(cache=True, nogil=True)
def _median_rows(stack, variances, fainter, image, variance, count):  # type: ignore[no-untyped-def]
    n, height, width = stack.shape
    values = np.empty(n, np.float32)
    for y in range(height):
        for x in range(width):
            m = 0
            inverse = 0.0
            largest = np.float32(0)
            for k in range(n):
                value = stack[k, y, x]
                if np.isfinite(value):
                    values[m] = value
                    inverse += 1.0 / variances[k, y, x]
                    largest = max(largest, variances[k, y, x])
                    m += 1
            count[y, x] = m
            if m == 0:
                image[y, x] = np.float32(np.nan)
                variance[y, x] = np.float32(np.nan)
            elif m == 2 and fainter:
                image[y, x] = min(values[0], values[1])
                variance[y, x] = largest
            else:
                image[y, x] = np.median(values[:m])
                # Of a median of normal values, pi/2 that of their mean.
                variance[y, x] = (1.0 if m < 3 else 1.5708) / inverse


def reference_of(layers: Sequence[Layer], shape: tuple[int, int], fainter: bool = True) -> Reference:
    """Return the median of exposures; saturated values count only where all are saturated.

    Parameters
    ----------
    layers : sequence of `Layer`
    shape : `tuple` of `int`
        Height and width of the patch, pixels.
    fainter : `bool`, optional
        Whether the fainter of two exposures is returned where there are only two, rather than their mean:
        what moves or flashes is bright.
    """
    image, variance = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
    count = np.zeros(shape, np.uint16)

    def compute(start: int, stop: int) -> None:
        for first in range(start, stop, BAND):
            last = min(first + BAND, stop)
            there = [each for each in layers if each.box[0].start < last and each.box[0].stop > first]
            if not there:
                continue
            stack = np.full((len(there), last - first, shape[1]), np.nan, np.float32)
            noise = np.ones_like(stack)
            for number, each in enumerate(there):
                rows, columns = each.box
                top, bottom = max(rows.start, first), min(rows.stop, last)
                own = slice(top - rows.start, bottom - rows.start)
                target = (number, slice(top - first, bottom - first), columns)
                stack[target] = np.where(each.saturated[own], np.float32(np.nan), each.image[own])
                noise[target] = each.variance[own]
            _median_rows(stack, noise, fainter, image[first:last], variance[first:last], count[first:last])

    in_bands(compute, shape[0])
    return Reference(image, variance, count)


def match_sky(layers: Sequence[Layer], shape: tuple[int, int], degree: int = 2, rounds: int = 3) -> None:
    """Subtract from each exposure its sky's difference from the exposures' median, in place.

    Parameters
    ----------
    layers : sequence of `Layer`
        Exposures whose sky is already subtracted, each in its own way.
    shape : `tuple` of `int`
        Height and width of the patch, pixels.
    degree : `int`, optional
        Largest degree of the polynomial through the difference, lowered where the overlap is small.
    rounds : `int`, optional
        Number of times that the median is taken and the difference subtracted.
    """
    if len(layers) < 2:
        return
    for _ in range(rounds):
        reference = reference_of(layers, shape, fainter=False)
        for layer in layers:
            shared = reference.count[layer.box] > 1
            difference = np.where(
                shared & ~layer.source & ~layer.saturated, layer.image - reference.image[layer.box], np.nan
            )
            surface = _smooth_surface(difference, degree, 5.0 / layer.weight**0.5)
            if surface is not None:
                layer.image -= surface
                layer.sky_offset += float(np.median(surface))


def _smooth_surface(difference: NDArray[Any], degree: int, clip: float) -> NDArray[np.float32] | None:
    """Return a polynomial through the clipped means of boxes; `None` if there are too few of them."""
    height, width = difference.shape
    box = max(min(_SKY_BOX, height // 4, width // 4), 8)
    x, y, level = [], [], []
    for top in range(0, height, box):
        for left in range(0, width, box):
            values = difference[top : top + box, left : left + box]
            values = values[np.isfinite(values)]
            if values.size >= _LEAST_OF_BOX * box**2:
                x.append(left + (box - 1) / 2)
                y.append(top + (box - 1) / 2)
                # Not the median: an exposure that is often the median itself differs by 0 there.
                level.append(float(np.mean(values[np.abs(values - np.median(values)) < clip])))
    while degree >= 0 and len(level) < _TERMS[degree]:
        degree -= 1
    if degree < 0:
        return None
    scale = max(height, width) / 2
    px, py = (np.array(x) - width / 2) / scale, (np.array(y) - height / 2) / scale
    terms, levels = polynomial_terms(px, py, degree), np.array(level)
    kept = np.ones(len(levels), np.bool_)
    for _ in range(3):
        coefficients = np.linalg.lstsq(terms[kept], levels[kept], rcond=None)[0]
        residual = levels - terms @ coefficients
        middle = np.median(residual[kept])
        spread = MAD_TO_SIGMA * np.median(np.abs(residual[kept] - middle))
        kept = np.abs(residual - middle) <= 3 * spread + 1e-12
        if kept.sum() < _TERMS[degree] / 2:
            return None
    rows, columns = (np.arange(height) - height / 2) / scale, (np.arange(width) - width / 2) / scale
    surface = np.zeros((height, width))
    powers = [(total - j, j) for total in range(degree + 1) for j in range(total + 1)]
    for coefficient, (i, j) in zip(coefficients, powers, strict=True):
        surface += coefficient * rows[:, np.newaxis] ** j * columns[np.newaxis, :] ** i
    return surface.astype(np.float32)
