"""Image with mask, variance and calibrations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from astropy.wcs import WCS, Sip
from astropy.wcs.utils import proj_plane_pixel_scales
from lsst.sphgeom import ConvexPolygon, LonLat, Region
from numpy.typing import NDArray

from .mask import Mask
from .photo_calib import PhotoCalib
from .psf import Psf
from .visit_info import VisitInfo


@dataclass(slots=True, eq=False)
class Loan:
    """Permission to modify the planes of an exposure that its owner needs as it is.

    Attributes
    ----------
    restore
        Makes the exposure as it was, at any time; `None` until the planes are modified. A task sets it before
        it modifies them.
    """

    restore: Callable[[], Exposure] | None = None


@dataclass(slots=True, eq=False)
class Exposure:
    """Image of the sky, or calibration frame.

    Attributes
    ----------
    image : `~numpy.ndarray` of float32, shape (height, width)
        Electrons before calibration, nJy after; see `photo_calib`.
    mask : `~numpy.ndarray` of int32, shape (height, width)
        Bits of `Mask`. Coadds of which many wait in memory have int16.
    variance : `~numpy.ndarray` of float32, shape (height, width)
        Variance of `image`, in its unit squared; NaN or 0 where unknown.
    wcs
        Pixel (0, 0) is the centre of ``image[0, 0]``.
    psf
        Point-spread function.
    photo_calib
        `None` while the flux scale is unknown.
    visit_info
        `None` for coadds and calibrations.
    metadata
        FITS keywords (strings, numbers, booleans) that travel with the image.
    loan
        Whether the planes may be modified: `None` without permission. Copies and parts have none.
    """

    image: NDArray[np.float32]
    mask: NDArray[np.int32]
    variance: NDArray[np.float32]
    wcs: WCS | None = None
    psf: Psf | None = None
    photo_calib: PhotoCalib | None = None
    visit_info: VisitInfo | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    loan: Loan | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if not self.image.shape == self.mask.shape == self.variance.shape:
            raise ValueError(
                f"Image, mask and variance differ in shape: {self.image.shape}, {self.mask.shape}, "
                f"{self.variance.shape}."
            )

    @classmethod
    def blank(cls, shape: tuple[int, int], **kwargs: Any) -> Exposure:
        """Make an exposure of zeros with shape (height, width)."""
        return cls(
            np.zeros(shape, np.float32), np.zeros(shape, np.int32), np.zeros(shape, np.float32), **kwargs
        )

    @property
    def is_modified(self) -> bool:
        """Whether the planes were modified on loan."""
        return self.loan is not None and self.loan.restore is not None

    def original(self) -> Exposure:
        """Return the exposure as its owner needs it: itself, unless its planes were modified on loan."""
        restore = self.loan and self.loan.restore
        return restore() if restore else self

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return self.image.shape[0], self.image.shape[1]

    def has(self, planes: int) -> NDArray[np.bool_]:
        """Return where any of the mask planes is set; shape (height, width)."""
        return (self.mask & int(planes)) != 0

    def part(self, rows: slice, columns: slice) -> Exposure:
        """Return a copy of some rows and columns, with the WCS and PSF of their pixels."""
        return replace(
            self,
            image=self.image[rows, columns].copy(),
            mask=self.mask[rows, columns].copy(),
            variance=self.variance[rows, columns].copy(),
            metadata=dict(self.metadata),
            **shifted_parts(self.wcs, self.psf, columns.start, rows.start),
        )

    def cutout(self, x: float, y: float, size: int) -> Exposure:
        """Return a copy of a square around a position; pixels off the image are NaN and ``NO_DATA``.

        Parameters
        ----------
        x, y
            Centre, pixels.
        size
            Width of the square, pixels.
        """
        x0, y0 = round(x) - size // 2, round(y) - size // 2
        height, width = self.shape
        rows = slice(max(y0, 0), min(y0 + size, height))
        columns = slice(max(x0, 0), min(x0 + size, width))
        image = np.full((size, size), np.nan, np.float32)
        variance = np.full((size, size), np.nan, np.float32)
        mask = np.full((size, size), int(Mask.NO_DATA), np.int32)
        if rows.start < rows.stop and columns.start < columns.stop:
            inside = (
                slice(rows.start - y0, rows.stop - y0),
                slice(columns.start - x0, columns.stop - x0),
            )
            image[inside] = self.image[rows, columns]
            variance[inside] = self.variance[rows, columns]
            mask[inside] = self.mask[rows, columns]
        wcs = None if self.wcs is None else shifted_wcs(self.wcs, x0, y0)
        psf = None
        if self.psf is not None:
            psf = Psf(self.psf.image_at(x, y).astype(np.float32)[np.newaxis])
        return Exposure(
            image, mask, variance, wcs, psf, self.photo_calib, self.visit_info, dict(self.metadata)
        )


def box_around(region: Region, wcs: WCS, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Return the rows and columns of an image that a region of the sky covers.

    Parameters
    ----------
    region
        Region of the sky; its bounding circle is used unless it is a convex
        polygon.
    wcs
        WCS of the image.
    shape
        Height and width of the image, pixels.

    Returns
    -------
    rows, columns
        Never empty: for a region off the image, the pixels nearest to it.
    """
    circle = region.getBoundingCircle()
    polygon = region if isinstance(region, ConvexPolygon) else None
    vectors = [circle.getCenter()] if polygon is None else polygon.getVertices()
    places = [LonLat(vector) for vector in vectors]
    degrees = [(place.getLon().asDegrees(), place.getLat().asDegrees()) for place in places]
    x, y = wcs.all_world2pix(*zip(*degrees, strict=True), 0, quiet=True)
    margin = 2.0
    if polygon is None:
        margin += circle.getOpeningAngle().asDegrees() / float(np.min(proj_plane_pixel_scales(wcs)))

    def span(values: NDArray[np.float64], length: int) -> slice:
        first = int(np.clip(np.floor(values.min() - margin), 0, length - 1))
        return slice(first, int(np.clip(np.ceil(values.max() + margin) + 1, first + 1, length)))

    return span(y, shape[0]), span(x, shape[1])


def shifted_parts(wcs: WCS | None, psf: Psf | None, x0: int, y0: int) -> dict[str, Any]:
    """Return the ``wcs`` and ``psf`` of the part of an image that begins at pixel ``(x0, y0)``."""
    return {
        "wcs": None if wcs is None else shifted_wcs(wcs, x0, y0),
        "psf": None if psf is None else psf.shifted(x0, y0),
    }


def shifted_wcs(wcs: WCS, x0: int, y0: int) -> WCS:
    """Return the WCS of the part of an image that begins at pixel ``(x0, y0)``, also off the image."""
    shifted = wcs.deepcopy()
    shifted.wcs.crpix = np.asarray(wcs.wcs.crpix) - [x0, y0]
    if wcs.sip is not None:
        # SIP polynomials have their own reference pixel.
        shifted.sip = Sip(wcs.sip.a, wcs.sip.b, wcs.sip.ap, wcs.sip.bp, shifted.wcs.crpix)
    shifted.pixel_shape = None
    shifted.wcs.set()
    return shifted
