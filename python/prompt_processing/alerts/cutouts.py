"""Square cutouts of an image as FITS files in memory, a thousand sources at a time.

The files have the layout of `astropy.nddata.CCDData`: the pixels with a local TAN WCS, the variance
as ``UNCERT``, the PSF as ``PSFIMAGE``. Headers are templates with a few numbers filled in, because
astropy would take some ten milliseconds per file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS
from numpy.typing import ArrayLike, NDArray

from prompt_processing.images import Exposure, Psf, polynomial_terms

MINIMUM_SIZE = 30
"""Smallest width of a cutout, pixels."""

MAXIMUM_SIZE = 102
"""Largest width, pixels: a trail of 10 deg/day in 30 s (62 pixels of 0.2 arcsec) plus 40 for the PSF."""

_BLOCK = 2880
_PSF_CHUNK = 256


@dataclass(frozen=True, slots=True)
class LocalWcs:
    """Linear TAN projections, each of which agrees with an image's WCS at one source.

    Attributes
    ----------
    ra, dec : `~numpy.ndarray`, shape (n,)
        Reference positions, degrees: the positions of the sources.
    cd : `~numpy.ndarray`, shape (n, 2, 2)
        Degrees per pixel; rows are xi (east) and eta (north).
    """

    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    cd: NDArray[np.float64]


def cutout_sizes(bbox_sizes: ArrayLike) -> NDArray[np.int64]:
    """Return the width of each source's cutout from the width of its footprint, pixels."""
    return np.clip(np.asarray(bbox_sizes, np.int64), MINIMUM_SIZE, MAXIMUM_SIZE)


def local_wcs(wcs: WCS, x: ArrayLike, y: ArrayLike) -> LocalWcs:
    """Linearise a WCS at each of several pixels.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS`
        Celestial WCS, with or without distortion; (0, 0) is the centre of the first pixel.
    x, y : array_like, shape (n,)
        Positions, pixels.

    Returns
    -------
    local : `LocalWcs`
        One projection per position.
    """
    px, py = np.asarray(x, np.float64), np.asarray(y, np.float64)
    n = px.size
    steps_x, steps_y = np.array([0.0, 1, -1, 0, 0]), np.array([0.0, 0, 0, 1, -1])
    ra, dec = wcs.all_pix2world(
        (px[:, np.newaxis] + steps_x).ravel(), (py[:, np.newaxis] + steps_y).ravel(), 0
    )
    ra, dec = np.reshape(ra, (n, 5)), np.reshape(dec, (n, 5))
    alpha, delta = np.radians(ra), np.radians(dec)
    turn = alpha - alpha[:, :1]
    sin0, cos0 = np.sin(delta[:, :1]), np.cos(delta[:, :1])
    towards = sin0 * np.sin(delta) + cos0 * np.cos(delta) * np.cos(turn)
    xi = np.degrees(np.cos(delta) * np.sin(turn) / towards)
    eta = np.degrees((cos0 * np.sin(delta) - sin0 * np.cos(delta) * np.cos(turn)) / towards)
    cd = np.empty((n, 2, 2))
    for row, plane in enumerate((xi, eta)):
        cd[:, row, 0] = (plane[:, 1] - plane[:, 2]) / 2
        cd[:, row, 1] = (plane[:, 3] - plane[:, 4]) / 2
    return LocalWcs(ra[:, 0], dec[:, 0], cd)


def fits_cutouts(
    exposure: Exposure,
    x: ArrayLike,
    y: ArrayLike,
    sizes: ArrayLike,
    rotation: float = float("nan"),
) -> Iterator[bytes | None]:
    """Cut squares out of an image, each into its own FITS file.

    Parameters
    ----------
    exposure : `Exposure`
        Image in nJy, with a WCS; without a PSF the files have no ``PSFIMAGE``.
    x, y : array_like, shape (n,)
        Centres, pixels.
    sizes : array_like of `int`, shape (n,)
        Widths, pixels.
    rotation : `float`, optional
        Angle of focal-plane +Y, east of north, degrees; NaN omits it.

    Yields
    ------
    file : `bytes` or `None`
        One file per source, in order; `None` if the centre is off the image.
        Pixels off the image are NaN.

    Raises
    ------
    ValueError
        If the exposure has no WCS.
    """
    if exposure.wcs is None:
        raise ValueError("A cutout needs an image with a WCS.")
    px, py = np.asarray(x, np.float64), np.asarray(y, np.float64)
    widths = np.asarray(sizes, np.int64)
    height, width = exposure.shape
    on_image = (px >= -0.5) & (px < width - 0.5) & (py >= -0.5) & (py < height - 0.5)
    local = local_wcs(exposure.wcs, np.where(on_image, px, 0.0), np.where(on_image, py, 0.0))
    headers: dict[int, tuple[bytes, bytes]] = {}
    for k in range(px.size):
        if k % _PSF_CHUNK == 0:
            chunk = slice(k, k + _PSF_CHUNK)
            psf_parts = _psf_parts(exposure.psf, px[chunk], py[chunk])
        if not on_image[k]:
            yield None
            continue
        size = int(widths[k])
        if size not in headers:
            headers[size] = (
                _primary_header(size, rotation),
                _extension_header(size, "UNCERT", is_variance=True),
            )
        primary, uncertainty = headers[size]
        x0, y0 = round(px[k]) - size // 2, round(py[k]) - size // 2
        cd = local.cd[k]
        filled = primary % (
            x0 - 1, y0 - 1, px[k] - x0 + 1, py[k] - y0 + 1,
            cd[0, 0], cd[0, 1], cd[1, 0], cd[1, 1], local.ra[k], local.dec[k],
        )  # fmt: skip
        yield b"".join(
            (
                filled,
                _data(_square(exposure.image, x0, y0, size)),
                uncertainty,
                _data(_square(exposure.variance, x0, y0, size)),
                psf_parts[k % _PSF_CHUNK],
            )
        )


def _square(plane: NDArray[np.float32], x0: int, y0: int, size: int) -> NDArray[np.float32]:
    height, width = plane.shape
    if x0 >= 0 and y0 >= 0 and x0 + size <= width and y0 + size <= height:
        return plane[y0 : y0 + size, x0 : x0 + size]
    square = np.full((size, size), np.nan, np.float32)
    rows = slice(max(y0, 0), min(y0 + size, height))
    columns = slice(max(x0, 0), min(x0 + size, width))
    square[rows.start - y0 : rows.stop - y0, columns.start - x0 : columns.stop - x0] = plane[rows, columns]
    return square


def _data(pixels: NDArray[np.float32]) -> bytes:
    raw = pixels.astype(">f4").tobytes()
    return raw.ljust(-(-len(raw) // _BLOCK) * _BLOCK, b"\0")


def _psf_parts(psf: Psf | None, x: NDArray[np.float64], y: NDArray[np.float64]) -> list[bytes]:
    if psf is None:
        return [b""] * x.size
    terms = polynomial_terms((x - psf.x_centre) / psf.scale, (y - psf.y_centre) / psf.scale, psf.order)
    flat = terms @ psf.coefficients.reshape(terms.shape[1], -1).astype(np.float64)
    flat /= flat.sum(axis=1, keepdims=True)
    header = _extension_header(psf.size, "PSFIMAGE", is_variance=False)
    return [header + _data(image) for image in flat.astype(np.float32)]


def _card(keyword: str, value: str, comment: str = "") -> str:
    text = f"{keyword:8s}= {value}"
    return (f"{text} / {comment}" if comment else text).ljust(80)


def _number(keyword: str, format_: str, comment: str) -> str:
    """Return a card with a placeholder for a number; it has 80 characters after filling in."""
    return _card(keyword, "#" * 20, comment).replace("#" * 20, format_)


def _header(cards: list[str]) -> bytes:
    # Cards with placeholders are still shorter than 80 characters.
    filling = " " * (-80 * len(cards) % _BLOCK)
    return ("".join(cards) + filling).encode("ascii")


def _primary_header(size: int, rotation: float) -> bytes:
    cards = [
        _card("SIMPLE", f"{'T':>20s}", "conforms to FITS standard"),
        _card("BITPIX", f"{-32:20d}", "array data type"),
        _card("NAXIS", f"{2:20d}", "number of array dimensions"),
        _card("NAXIS1", f"{size:20d}"),
        _card("NAXIS2", f"{size:20d}"),
        _card("EXTEND", f"{'T':>20s}"),
        _number("CUTMINX", "%20d", "column of the first pixel less 1, from 0"),
        _number("CUTMINY", "%20d", "row of the first pixel less 1, from 0"),
        *(
            [_card("ROTPA", f"{rotation:20.12G}", "position angle of focal plane +Y, deg E of N")]
            if math.isfinite(rotation)
            else []
        ),
        _card("BUNIT", "'nJy     '"),
        _card("WCSAXES", f"{2:20d}", "Number of coordinate axes"),
        _number("CRPIX1", "%#20.13G", "Pixel coordinate of reference point"),
        _number("CRPIX2", "%#20.13G", "Pixel coordinate of reference point"),
        _number("CD1_1", "%#20.13G", "Coordinate transformation matrix element"),
        _number("CD1_2", "%#20.13G", "Coordinate transformation matrix element"),
        _number("CD2_1", "%#20.13G", "Coordinate transformation matrix element"),
        _number("CD2_2", "%#20.13G", "Coordinate transformation matrix element"),
        _card("CUNIT1", "'deg'", "Units of coordinate increment and value"),
        _card("CUNIT2", "'deg'", "Units of coordinate increment and value"),
        _card("CTYPE1", "'RA---TAN'", "Right ascension, gnomonic projection"),
        _card("CTYPE2", "'DEC--TAN'", "Declination, gnomonic projection"),
        _number("CRVAL1", "%#20.14G", "[deg] Coordinate value at reference point"),
        _number("CRVAL2", "%#20.14G", "[deg] Coordinate value at reference point"),
        _card("RADESYS", "'ICRS'", "Equatorial coordinate system"),
        "END".ljust(80),
    ]
    return _header(cards)


def _extension_header(size: int, name: str, *, is_variance: bool) -> bytes:
    cards = [
        _card("XTENSION", "'IMAGE   '", "Image extension"),
        _card("BITPIX", f"{-32:20d}", "array data type"),
        _card("NAXIS", f"{2:20d}", "number of array dimensions"),
        _card("NAXIS1", f"{size:20d}"),
        _card("NAXIS2", f"{size:20d}"),
        _card("PCOUNT", f"{0:20d}", "number of parameters"),
        _card("GCOUNT", f"{1:20d}", "number of groups"),
        *([_card("UTYPE", "'VarianceUncertainty'"), _card("BUNIT", "'nJy2    '")] if is_variance else []),
        _card("EXTNAME", f"'{name:8s}'", "extension name"),
        "END".ljust(80),
    ]
    return _header(cards)
