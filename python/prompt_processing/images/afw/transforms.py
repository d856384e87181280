"""Coordinate transforms that the stack stores in the text form of Starlink's AST."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from ..tan_sip import gnomonic, tan_sip_wcs
from .archive import Archive, Stored, bytes_of
from .errors import StackFileError

__all__ = ["PixelsToSky", "PointTransform", "sky_wcs", "wcs_of_header"]

_EXACT = 1e-6
"""Difference (pixels) below which a WCS in the header is that of the archive."""


class PointTransform:
    """Map of points in a plane.

    Parameters
    ----------
    stored : `Stored`
        A ``TransformPoint2ToPoint2`` or a ``SkyWcs`` of an archive.

    Raises
    ------
    StackFileError
        Raised if AST cannot read it.
    """

    def __init__(self, stored: Stored) -> None:
        # Imported late: few files of a worker contain such transforms.
        from starlink import Ast

        column = "wcs" if stored.name == "SkyWcs" else "bytes"
        text = bytes_of(stored.row()[column]).decode()
        # The stack writes a version and the name of its class before AST's own text.
        start = text.find("Begin ")
        try:
            self._mapping: Any = Ast.Channel(text[start:].splitlines()).read() if start >= 0 else None
        except Ast.AstError as error:
            raise StackFileError(f"{stored.name} {stored.id}: AST cannot read it: {error}") from error
        if self._mapping is None:
            raise StackFileError(f"{stored.name} {stored.id} is not a transform in AST's text form.")

    def __call__(self, points: NDArray[np.float64], *, inverse: bool = False) -> NDArray[np.float64]:
        """Map points of shape (n, 2)."""
        mapped: NDArray[np.float64] = self._mapping.tran(np.asarray(points, np.float64).T, not inverse)
        return mapped.T


class PixelsToSky:
    """Map of the pixels of an image to the sky.

    Parameters
    ----------
    stored : `Stored`
        A ``SkyWcs``.
    x0, y0
        Pixel of the stack's coordinates at the lower left of the image.
    """

    def __init__(self, stored: Stored, x0: int = 0, y0: int = 0) -> None:
        self._transform = PointTransform(stored)
        self._origin = np.array([x0, y0], float)

    def __call__(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map pixels (n, 2), the first at (0, 0), to ICRS degrees (n, 2)."""
        sky = np.degrees(self._transform(pixels + self._origin))
        return np.column_stack([sky[:, 0] % 360.0, sky[:, 1]])


def sky_wcs(
    archive: Archive, identity: int, header: fits.Header, shape: tuple[int, int], x0: int, y0: int
) -> WCS:
    """Return the WCS of an image whose file has one in its archive.

    Parameters
    ----------
    archive
        The archive.
    identity
        Number of the WCS.
    header
        Header of the image, which may have the same WCS or an approximation.
    shape
        Height and width, pixels.
    x0, y0
        Pixel of the stack's coordinates at the lower left of the image.

    Returns
    -------
    wcs
        The header's, if it is exact; otherwise TAN-SIP, fitted to the archive's.
    """
    written = wcs_of_header(header, shape)
    stored = archive[identity]
    if stored.name != "SkyWcs":
        # Older files have only parameters of FITS, which are in the header too.
        if written is None:
            raise StackFileError(f"{stored.name} {identity}: the image's header has no such WCS.")
        return written
    sky = PixelsToSky(stored, x0, y0)
    if written is not None and _agree(written, sky, shape):
        return written
    return tan_sip_wcs(sky, shape, order=4, tolerance_mas=0.01)


def wcs_of_header(header: fits.Header, shape: tuple[int, int]) -> WCS | None:
    """Return the WCS in the header of an image, `None` if it has none."""
    if not str(header.get("CTYPE1", "")).startswith("RA") or "CRVAL1" not in header:
        return None
    cards = fits.Header([card for card in header.cards if not _is_of_other_wcs(card.keyword)])
    kinds = str(cards["CTYPE1"]), str(cards.get("CTYPE2", ""))
    if "A_ORDER" in cards and not kinds[0].endswith("-SIP"):
        # Old versions wrote the polynomials without their suffix.
        cards["CTYPE1"], cards["CTYPE2"] = (f"{kind}-SIP" for kind in kinds)
    with warnings.catch_warnings():
        # Dates in a form that astropy corrects, and FK5 for ICRS.
        warnings.simplefilter("ignore")
        wcs = WCS(cards)
    wcs.pixel_shape = (shape[1], shape[0])
    return wcs


def _is_of_other_wcs(keyword: str) -> bool:
    """Return whether a keyword is of the pixel coordinates (version A), or of the WCS of a table."""
    return keyword.endswith("A") and keyword[:-1].rstrip("12") in ("CTYPE", "CRVAL", "CRPIX", "CUNIT")


def _agree(wcs: WCS, sky: PixelsToSky, shape: tuple[int, int]) -> bool:
    height, width = shape
    x, y = (grid.ravel() for grid in np.meshgrid([0, width / 2, width - 1], [0, height / 2, height - 1]))
    pixels = np.column_stack([x, y]).astype(float)
    expected = sky(pixels)
    scale = np.hypot(*np.diff(gnomonic(sky(np.array([[0.0, 0.0], [1.0, 0.0]])), expected[0]), axis=0)[0])
    offsets = gnomonic(wcs.all_pix2world(pixels, 0), expected[0]) - gnomonic(expected, expected[0])
    return bool(np.nanmax(np.abs(offsets)) < _EXACT * scale and np.isfinite(offsets).all())
