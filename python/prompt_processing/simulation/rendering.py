"""Draw sources, convolved with a PSF, into pixels."""

from __future__ import annotations

from dataclasses import dataclass

import galsim
import numba
import numpy as np
from numpy.typing import NDArray

from .point_spread import PSF_SKEW, PSF_VARIANCES, PSF_WEIGHTS

# Sersic profiles of half-light radius 1 as Gaussians, fitted to GalSim's (Hogg & Lang 2013 did likewise).
EXPONENTIAL_WEIGHTS = np.array([0.026317, 0.175737, 0.392438, 0.330284, 0.075225])
EXPONENTIAL_VARIANCES = np.array([0.033716, 0.19928, 0.64217, 1.5674, 3.4225])
# n = 4, cut at 8 half-light radii.
DE_VAUCOULEURS_WEIGHTS = np.array([0.01541, 0.058648, 0.124366, 0.185224, 0.212496, 0.208535, 0.19532])
DE_VAUCOULEURS_VARIANCES = np.array([0.00054874, 0.0069801, 0.046832, 0.22844, 0.92221, 3.45, 16.514])

_EXPONENTIAL_MEAN_VARIANCE = float(EXPONENTIAL_WEIGHTS @ EXPONENTIAL_VARIANCES)
_DE_VAUCOULEURS_MEAN_VARIANCE = float(DE_VAUCOULEURS_WEIGHTS @ DE_VAUCOULEURS_VARIANCES)

_PIXEL_VARIANCE = 1.0 / 12.0

_NEGLIGIBLE = 0.02
"""A Gaussian with a peak below this fraction of `faintest` is omitted: hundreds overlap each pixel."""

_GSPARAMS = galsim.GSParams(maximum_fft_size=16384, folding_threshold=1e-2, maxk_threshold=3e-3)


@dataclass(slots=True, eq=False)
class DrawableSources:
    """Sources to draw on one image.

    Attributes
    ----------
    x, y : `~numpy.ndarray`, shape (n,)
        Pixels.
    flux : `~numpy.ndarray`, shape (n,)
        Fluxes in the unit of the image.
    extent : `~numpy.ndarray`, shape (n, 3)
        Half-light ellipse ``xx, yy, xy``, pixels squared; zeros for points.
    bulge : `~numpy.ndarray`, shape (n,)
        Fraction of the flux in a de Vaucouleurs profile; the rest is exponential.
    sersic_index : `~numpy.ndarray`, shape (n,)
        Used for sources that GalSim draws; 0 for points.
    psf_shape : `~numpy.ndarray`, shape (n, 3)
        ``xx, yy, xy``, to be multiplied by `PSF_VARIANCES`, pixels squared.
    psf_coma : `~numpy.ndarray`, shape (n, 2)
        Coma, to be multiplied by `PSF_SKEW`, pixels.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    flux: NDArray[np.float64]
    extent: NDArray[np.float64]
    bulge: NDArray[np.float64]
    sersic_index: NDArray[np.float64]
    psf_shape: NDArray[np.float64]
    psf_coma: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.x)

    def select(self, which: NDArray[np.bool_] | NDArray[np.int_] | slice) -> DrawableSources:
        """Return some of the sources."""
        return DrawableSources(*(getattr(self, name)[which] for name in self.__slots__))


def draw(
    image: NDArray[np.float32],
    sources: DrawableSources,
    faintest: float,
    galsim_flux: float = np.inf,
) -> None:
    """Add sources to an image.

    Parameters
    ----------
    image : `~numpy.ndarray` of float32, shape (height, width)
        Image to which the sources are added in place.
    sources : `DrawableSources`
    faintest
        Value per pixel at which wings are truncated, in the image's unit.
    galsim_flux
        Galaxies brighter than this are drawn by GalSim as true Sersic
        profiles, a few milliseconds each; the others as sums of Gaussians, 0.1 ms.
    """
    by_galsim = (sources.sersic_index > 0) & (sources.flux > galsim_flux)
    rest = sources.select(~by_galsim)
    _add_gaussians(
        image,
        rest.x,
        rest.y,
        rest.flux,
        rest.extent,
        rest.bulge,
        rest.psf_shape,
        rest.psf_coma,
        faintest,
        (PSF_WEIGHTS, PSF_VARIANCES, PSF_SKEW),
        (EXPONENTIAL_WEIGHTS, EXPONENTIAL_VARIANCES),
        (DE_VAUCOULEURS_WEIGHTS, DE_VAUCOULEURS_VARIANCES),
    )
    bright = sources.select(by_galsim)
    for i in range(len(bright)):
        _draw_with_galsim(image, bright, i, faintest)


def point_image(shape: NDArray[np.float64], coma: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return the image of a point source of flux 1, centred on the middle pixel.

    Parameters
    ----------
    shape : `~numpy.ndarray`, shape (3,)
    coma : `~numpy.ndarray`, shape (2,)
        As in `DrawableSources`.
    size
        Odd width, pixels.

    Returns
    -------
    image : `~numpy.ndarray`, shape (size, size)
        Normalized to a sum of 1 within the stamp.
    """
    image = np.zeros((size, size), np.float32)
    middle = np.array([size // 2], float)
    zero = np.zeros(1)
    sources = DrawableSources(
        middle, middle, np.ones(1), np.zeros((1, 3)), zero, zero, shape[np.newaxis], coma[np.newaxis]
    )
    draw(image, sources, 1e-9)
    return image.astype(np.float64) / float(image.sum(dtype=np.float64))


@numba.njit(cache=True, fastmath=True, nogil=True)
def _add_gaussian(image, x, y, flux, xx, yy, xy, faintest):  # type: ignore[no-untyped-def]
    """Add one Gaussian by recurrence along each row: two products per pixel, no exponential."""
    height, width = image.shape
    determinant = xx * yy - xy * xy
    peak = flux / (2.0 * np.pi * np.sqrt(determinant))
    if abs(peak) < _NEGLIGIBLE * faintest:
        return
    radius2 = 2.0 * np.log(max(abs(peak) / faintest, 1.0))
    # A radius below 3 sigma would lose one per cent of the flux.
    radius2 = min(max(radius2, 9.0), 42.0)
    reach = np.sqrt(radius2 * yy)
    first, last = max(int(np.ceil(y - reach)), 0), min(int(np.floor(y + reach)), height - 1)
    ixx, iyy, ixy = yy / determinant, xx / determinant, -xy / determinant
    curvature = np.exp(-ixx)
    for row in range(first, last + 1):
        dy = row - y
        middle = x - ixy * dy / ixx
        half = np.sqrt(max(radius2 - dy * dy / yy, 0.0) / ixx)
        left, right = max(int(np.ceil(middle - half)), 0), min(int(np.floor(middle + half)), width - 1)
        if left > right:
            continue
        dx = left - x
        value = peak * np.exp(-0.5 * (ixx * dx * dx + 2.0 * ixy * dx * dy + iyy * dy * dy))
        ratio = np.exp(-ixx * (dx + 0.5) - ixy * dy)
        for column in range(left, right + 1):
            image[row, column] += value
            value *= ratio
            ratio *= curvature


@numba.njit(cache=True, fastmath=True, nogil=True)
def _add_gaussians(  # type: ignore[no-untyped-def]
    image, x, y, flux, extent, bulge, psf_shape, psf_coma, faintest, psf, exponential, de_vaucouleurs
):
    psf_weights, psf_variances, psf_skew = psf
    for i in range(len(x)):
        point = extent[i, 0] == 0.0
        for k in range(len(psf_weights)):
            px = x[i] + psf_coma[i, 0] * psf_skew[k]
            py = y[i] + psf_coma[i, 1] * psf_skew[k]
            xx = psf_shape[i, 0] * psf_variances[k] + _PIXEL_VARIANCE
            yy = psf_shape[i, 1] * psf_variances[k] + _PIXEL_VARIANCE
            xy = psf_shape[i, 2] * psf_variances[k]
            share = flux[i] * psf_weights[k]
            if not point and psf_variances[k] * psf_shape[i, 0] > 20.0 * extent[i, 0]:
                # Far wider than the galaxy, of which only the moments matter.
                mean = (1.0 - bulge[i]) * _EXPONENTIAL_MEAN_VARIANCE + bulge[
                    i
                ] * _DE_VAUCOULEURS_MEAN_VARIANCE
                xx += extent[i, 0] * mean
                yy += extent[i, 1] * mean
                xy += extent[i, 2] * mean
                _add_gaussian(image, px, py, share, xx, yy, xy, faintest)
                continue
            if point:
                _add_gaussian(image, px, py, share, xx, yy, xy, faintest)
                continue
            for part in range(2):
                weights, variances = exponential if part == 0 else de_vaucouleurs
                fraction = 1.0 - bulge[i] if part == 0 else bulge[i]
                if fraction <= 0.0:
                    continue
                for j in range(len(weights)):
                    v = variances[j]
                    _add_gaussian(
                        image,
                        px,
                        py,
                        share * fraction * weights[j],
                        xx + extent[i, 0] * v,
                        yy + extent[i, 1] * v,
                        xy + extent[i, 2] * v,
                        faintest,
                    )


def _draw_with_galsim(image: NDArray[np.float32], sources: DrawableSources, i: int, faintest: float) -> None:
    """Add one galaxy with GalSim's Fourier convolution and the same PSF."""
    extent = _sheared(
        galsim.Sersic(float(sources.sersic_index[i]), half_light_radius=1.0, trunc=8.0), sources.extent[i]
    )
    psf = galsim.Sum(
        [
            _sheared(galsim.Gaussian(sigma=1.0, flux=weight), sources.psf_shape[i] * variance).shift(
                *(sources.psf_coma[i] * skew)
            )
            for weight, variance, skew in zip(PSF_WEIGHTS, PSF_VARIANCES, PSF_SKEW, strict=True)
        ]
    )
    flux = float(sources.flux[i])
    blurred = galsim.Convolve(extent, psf, gsparams=_GSPARAMS).withFlux(flux)
    radius = float(np.sqrt(sources.extent[i, :2].max()))
    # Outskirts of the profile or of the PSF's wing, whichever extends farther above `faintest`.
    half = int(min(12 + 5 * radius + 3 * np.sqrt(flux / faintest) ** 0.5, 12 + 8 * radius + 60, 500))
    column, row = round(sources.x[i]), round(sources.y[i])
    stamp = galsim.ImageF(galsim.BoundsI(column - half, column + half, row - half, row + half))
    blurred.drawImage(stamp, scale=1.0, center=galsim.PositionD(float(sources.x[i]), float(sources.y[i])))
    height, width = image.shape
    x0, x1 = max(column - half, 0), min(column + half + 1, width)
    y0, y1 = max(row - half, 0), min(row + half + 1, height)
    if x0 < x1 and y0 < y1:
        dx, dy = column - half, row - half
        image[y0:y1, x0:x1] += stamp.array[y0 - dy : y1 - dy, x0 - dx : x1 - dx]


def _sheared(profile: galsim.GSObject, moments: NDArray[np.float64]) -> galsim.GSObject:
    """Transform a round profile of unit radius to the covariance ``xx, yy, xy``, keeping its flux."""
    (a, _), (b, c) = np.linalg.cholesky(np.array([[moments[0], moments[2]], [moments[2], moments[1]]]))
    return profile.transform(a, 0.0, b, c) / (a * c)


def add_blobs(
    image: NDArray[np.float32],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    flux: NDArray[np.float64],
    variance: float,
) -> None:
    """Add small round Gaussians (variance in pixels squared) to an image, in place."""
    _add_blobs(image, x, y, flux, variance)


@numba.njit(cache=True, fastmath=True, nogil=True)
def _add_blobs(image, x, y, flux, variance):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        _add_gaussian(image, x[i], y[i], flux[i], variance, variance, 0.0, 1.0)
