"""How well the stars of an image agree with its PSF and with the reference catalogue: numbers to draw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from prompt_processing.images import AB_ZERO_POINT_NJY, UNUSABLE, Exposure, Psf

__all__ = ["PsfResiduals", "PsfShapes", "StarResiduals", "psf_residuals", "psf_shapes", "star_residuals"]

_MOST_STARS = 300
"""Brightest stars whose stamps are averaged."""


@dataclass(frozen=True, slots=True)
class PsfResiduals:
    """Stars minus the PSF, averaged over parts of the image.

    Attributes
    ----------
    model, residual : `~numpy.ndarray`, shape (n, n, size, size)
        Median model, and median of star minus model, of stars of flux 1 in each part; row by row from the
        bottom. NaN where there is no star.
    counts : `~numpy.ndarray` of int, shape (n, n)
        Number of stars.
    """

    model: NDArray[np.float64]
    residual: NDArray[np.float64]
    counts: NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class PsfShapes:
    """Width and ellipticity of a PSF on a grid.

    Attributes
    ----------
    x, y, fwhm, e1, e2 : `~numpy.ndarray`, shape (n,)
        Places and FWHM in pixels; components of the distortion along the pixels' axes and their diagonals.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    fwhm: NDArray[np.float64]
    e1: NDArray[np.float64]
    e2: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class StarResiduals:
    """Stars of an image that are in the reference catalogue.

    Attributes
    ----------
    x, y : `~numpy.ndarray`, shape (n,)
        Pixels.
    east, north : `~numpy.ndarray`, shape (n,)
        Measured minus catalogued position, mas.
    magnitude, magnitude_residual, magnitude_error : `~numpy.ndarray`, shape (n,)
        Catalogued AB magnitude, measured minus catalogued magnitude and its error; NaN without a flux.
    astrometry_used, photometry_used : `~numpy.ndarray` of bool, shape (n,)
        Whether the star is part of the fit.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    east: NDArray[np.float64]
    north: NDArray[np.float64]
    magnitude: NDArray[np.float64]
    magnitude_residual: NDArray[np.float64]
    magnitude_error: NDArray[np.float64]
    astrometry_used: NDArray[np.bool_]
    photometry_used: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.x)


def psf_residuals(image: Exposure, stars: Table, n_parts: int = 3) -> PsfResiduals:
    """Average stars minus the PSF over parts of the image.

    Parameters
    ----------
    image
        Image without background, with its PSF.
    stars
        ``x, y`` (pixels), ``psfFlux`` (unit of the image), ``snr``, ``psf_used``.
    n_parts
        Number of parts along each side.

    Raises
    ------
    ValueError
        Raised if the image has no PSF.
    """
    psf = _psf_of(image)
    size = psf.size
    flux = np.asarray(stars["psfFlux"], float)
    usable = np.asarray(stars["psf_used"], bool) & np.isfinite(flux) & (flux > 0)
    rows = np.flatnonzero(usable)
    rows = rows[np.argsort(-np.asarray(stars["snr"], float)[rows])][:_MOST_STARS]
    found: dict[tuple[int, int], list[tuple[NDArray[np.float64], NDArray[np.float64]]]] = {}
    height, width = image.shape
    for row in rows:
        x, y = float(stars["x"][row]), float(stars["y"][row])
        model, x0, y0 = psf.stamp_at(x, y)
        if x0 < 0 or y0 < 0 or x0 + size > width or y0 + size > height:
            continue
        box = slice(y0, y0 + size), slice(x0, x0 + size)
        star = image.image[box] / flux[row]
        bad = (image.mask[box] & int(UNUSABLE)) != 0
        residual = np.where(bad, np.nan, star - model)
        part = min(int(y * n_parts / height), n_parts - 1), min(int(x * n_parts / width), n_parts - 1)
        found.setdefault(part, []).append((model, residual))
    models, residuals = np.full((2, n_parts, n_parts, size, size), np.nan)
    counts = np.zeros((n_parts, n_parts), np.intp)
    for part, pairs in found.items():
        stack = np.stack([residual for _, residual in pairs])
        seen = np.isfinite(stack).any(axis=0)
        models[part] = np.median([model for model, _ in pairs], axis=0)
        residuals[part][seen] = np.nanmedian(stack[:, seen], axis=0)
        counts[part] = len(pairs)
    return PsfResiduals(models, residuals, counts)


def psf_shapes(image: Exposure, n_grid: int = 10) -> PsfShapes:
    """Measure the PSF on a grid over the image.

    Raises
    ------
    ValueError
        Raised if the image has no PSF.
    """
    psf = _psf_of(image)
    height, width = image.shape
    places = [(np.arange(n_grid) + 0.5) / n_grid * length - 0.5 for length in (width, height)]
    x, y = (grid.ravel() for grid in np.meshgrid(*places))
    moments = np.array([psf.moments_at(*place) for place in zip(x, y, strict=True)])
    ixx, iyy, ixy = moments.T
    fwhm = np.array([psf.fwhm_at(*place) for place in zip(x, y, strict=True)])
    return PsfShapes(x, y, fwhm, (ixx - iyy) / (ixx + iyy), 2 * ixy / (ixx + iyy))


def star_residuals(stars: Table, reference: Table, flux: NDArray[np.float64]) -> StarResiduals:
    """Compare the stars of an image with their entries in the reference catalogue.

    Parameters
    ----------
    stars
        Sources as in ``single_visit_star``; those with a ``ref_id`` of the catalogue are compared.
    reference
        ``id, ra, dec`` (ICRS degrees) at the epoch of the image.
    flux : `~numpy.ndarray`, shape (len(reference),)
        Catalogued flux in the band of the image, nJy.
    """
    order = np.argsort(np.asarray(reference["id"]))
    ids = np.asarray(reference["id"])[order]
    wanted = np.asarray(stars["ref_id"])
    place = np.clip(np.searchsorted(ids, wanted), 0, max(len(ids) - 1, 0))
    matched = (wanted >= 0) & (ids[place] == wanted) if len(ids) else np.zeros(len(stars), np.bool_)
    chosen = stars[matched]
    entries = order[place[matched]] if len(ids) else np.zeros(0, np.intp)
    ra, dec = (np.asarray(reference[name], float)[entries] for name in ("ra", "dec"))
    turn = (np.asarray(chosen["ra"], float) - ra + 180) % 360 - 180
    measured, error = (np.asarray(chosen[name], float) for name in ("psfFlux", "psfFluxErr"))
    with np.errstate(invalid="ignore", divide="ignore"):
        catalogued = _magnitude(np.asarray(flux, float)[entries])
        residual = _magnitude(measured) - catalogued
        noise = np.abs(2.5 / np.log(10) * error / measured)
    return StarResiduals(
        np.asarray(chosen["x"], float),
        np.asarray(chosen["y"], float),
        turn * np.cos(np.radians(dec)) * 3.6e6,
        (np.asarray(chosen["dec"], float) - dec) * 3.6e6,
        catalogued,
        residual,
        noise,
        np.asarray(chosen["astrom_used"], bool),
        np.asarray(chosen["photom_used"], bool),
    )


def _magnitude(flux: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(flux > 0, -2.5 * np.log10(np.where(flux > 0, flux, 1.0) / AB_ZERO_POINT_NJY), np.nan)


def _psf_of(image: Exposure) -> Psf:
    if image.psf is None:
        raise ValueError("The image has no PSF.")
    return image.psf
