"""A PSF model from the stars of an image."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from prompt_processing.images import UNUSABLE, Exposure, Psf, polynomial_terms
from prompt_processing.images.robust import MAD_TO_SIGMA
from prompt_processing.imaging.errors import BadPsfError, TooFewStarsError
from prompt_processing.imaging.percentiles import medians_of_sorted
from prompt_processing.imaging.psf_stamps import SplinePsf, shifted_stamp, spline_at
from prompt_processing.imaging.row_bands import in_bands

from ..measurement import fit_psf
from .wings import elliptical_radius, mean_wings, shape_variation

MIN_MISMATCH = 0.06
"""Stars that differ from the model by less than this fraction of their flux are never rejected."""

PIXELWISE_STARS_PER_TERM = 25
"""With fewer stars per term of the variation only the PSF's size and shape vary, not each pixel."""


@dataclass(frozen=True, slots=True)
class PsfOptions:
    """Options of the PSF model.

    Attributes
    ----------
    order : `int`
        Degree of the variation over the detector, if there are enough stars.
    stars_per_term, shape_stars_per_term : `int`
        Stars needed per polynomial term; the latter up to degree 2, where only size and shape vary.
    min_stars : `int`
        Minimum number of stars for a model.
    max_stars : `int`
        Maximum number of stars: those with the most signal, spread evenly over the detector.
    size_in_fwhm : `float`
        Width of the model image.
    max_size : `int`
        Upper limit to that width, pixels.
    iterations : `int`
        Rounds of fitting stars and correcting the model.
    min_fwhm, max_fwhm : `float`
        Range of credible widths, pixels.
    max_ellipticity : `float`
        Largest credible ``(a2 - b2) / (a2 + b2)`` of the mean PSF.
    """

    order: int = 3
    stars_per_term: int = 8
    shape_stars_per_term: int = 5
    min_stars: int = 5
    max_stars: int = 400
    size_in_fwhm: float = 8.0
    max_size: int = 91
    iterations: int = 4
    min_fwhm: float = 1.2
    max_fwhm: float = 30.0
    max_ellipticity: float = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class PsfModel:
    """A fitted model and the stars it is based on.

    Attributes
    ----------
    psf : `Psf`
        The model.
    used : `~numpy.ndarray` of bool, shape (n,)
        Candidate stars that the fit kept.
    fwhm : `float`
        FWHM at the centre, pixels.
    ellipticity : `float`
        Ellipticity at the centre.
    """

    psf: Psf
    used: NDArray[np.bool_]
    fwhm: float
    ellipticity: float


@numba.njit(cache=True, nogil=True)
def _residual_stamps(  # type: ignore[no-untyped-def]
    image, mask, segmentation, labels, splines, order, frame, x, y, flux, bad, has_model, out, start, stop
):  # fmt: skip
    """Cut out stars minus the model, divided by their flux; pixels of other sources are 0."""
    height, width = image.shape
    size = out.shape[1]
    half = size // 2
    spline = np.empty((size, size))
    stamp = np.zeros((size, size))
    for i in range(start, stop):
        column, row = int(np.floor(x[i] + 0.5)), int(np.floor(y[i] + 0.5))
        if has_model:
            spline_at(splines, order, frame, x[i], y[i], spline)
            total = shifted_stamp(spline, x[i] - column, y[i] - row, stamp)
            stamp /= total
        for r in range(size):
            for c in range(size):
                j, k = row - half + r, column - half + c
                out[i, r, c] = 0.0
                if j < 0 or j >= height or k < 0 or k >= width or mask[j, k] & bad:
                    continue
                if segmentation[j, k] != 0 and segmentation[j, k] != labels[i]:
                    continue
                out[i, r, c] = image[j, k] / flux[i] - stamp[r, c]


@numba.njit(cache=True, nogil=True)
def _centre_stamps(splines, dx, dy, out, start, stop):  # type: ignore[no-untyped-def]
    for i in range(start, stop):
        shifted_stamp(splines[i], -dx[i], -dy[i], out[i])


def spread_stars(
    x: NDArray[np.float64], y: NDArray[np.float64], flux: NDArray[np.float64], n: int, cells: int = 5
) -> NDArray[np.intp]:
    """Choose the brightest stars in each cell of a grid, at most n in total; return rows in order."""
    if len(x) <= n:
        return np.arange(len(x))
    column = np.minimum(((x - x.min()) / (np.ptp(x) + 1e-9) * cells).astype(int), cells - 1)
    row = np.minimum(((y - y.min()) / (np.ptp(y) + 1e-9) * cells).astype(int), cells - 1)
    cell = row * cells + column
    by_flux = np.argsort(-flux)
    rank = np.empty(len(x), int)
    for c in np.unique(cell):
        members = by_flux[cell[by_flux] == c]
        rank[members] = np.arange(len(members))
    return np.sort(np.lexsort((-flux, rank))[:n])


def model_psf(
    exposure: Exposure,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    flux: NDArray[np.float64],
    fwhm: float,
    segmentation: NDArray[np.int32] | None = None,
    labels: NDArray[np.int32] | None = None,
    options: PsfOptions | None = None,
) -> PsfModel:
    """Fit a PSF that varies over the image.

    Parameters
    ----------
    exposure : `Exposure`
        Background-subtracted; its PSF is ignored.
    x, y : `~numpy.ndarray`, shape (n,)
        Centroids of candidate stars, pixels.
    flux : `~numpy.ndarray`, shape (n,)
        First guess of their fluxes.
    fwhm : `float`
        Rough seeing, pixels: sets the size of the model.
    segmentation : `~numpy.ndarray`, shape (height, width), optional
        Source of each pixel; pixels of sources other than the star are left out.
    labels : `~numpy.ndarray`, shape (n,), optional
        Each star's number in ``segmentation``.
    options : `PsfOptions`, optional

    Returns
    -------
    model : `PsfModel`

    Raises
    ------
    TooFewStarsError
        Raised if fewer than ``options.min_stars`` remain.
    BadPsfError
        Raised if the model's width or shape is not credible.

    Notes
    -----
    The pixels of the model are polynomials of the position. Each round fits
    the stars with the model, shifts the residuals to the model's centre and
    corrects the model by them, so that the interpolation's errors shrink
    with each round (compare Anderson & King 2000, PASP 112, 1360).
    """
    options = options or PsfOptions()
    if len(x) < options.min_stars:
        raise TooFewStarsError("Too few stars for a PSF model", stars=len(x), needed=options.min_stars)
    half = int(np.ceil(options.size_in_fwhm * fwhm / 2))
    size = min(2 * half + 1, options.max_size | 1)
    if segmentation is None or labels is None:
        segmentation = np.zeros((1, 1), np.int32)
        segmentation = np.broadcast_to(segmentation, exposure.shape)
        labels = np.zeros(len(x), np.int32)
    height, width = exposure.shape
    centre = ((width - 1) / 2, (height - 1) / 2, max(width, height) / 2)
    chosen = spread_stars(x, y, flux, options.max_stars)
    used = np.zeros(len(x), np.bool_)
    labels = np.ascontiguousarray(labels, np.int32)
    keep = chosen
    px, py, amplitude = x.astype(float).copy(), y.astype(float).copy(), flux.astype(float).copy()
    psf: Psf | None = None
    for iteration in range(options.iterations):
        # Degree by degree: a steep first guess would lose a corner's stars permanently.
        order = min(_affordable_order(len(keep), options), iteration + 1)
        psf = _corrected(
            exposure, px[keep], py[keep], amplitude[keep], segmentation, labels[keep],
            psf, order, size, centre, fwhm,
        )  # fmt: skip
        trial = Exposure(exposure.image, exposure.mask, exposure.variance, psf=psf)
        fits = fit_psf(trial, px[chosen], py[chosen], radius=1.5 * fwhm, max_shift=1.0)
        px[chosen], py[chosen] = fits.x, fits.y
        good = _well_fitted(fits.flux, fits.flux_err, fits.chi2, fits.n_pixels, fits.moved)
        amplitude[chosen] = np.where(good, fits.flux, amplitude[chosen])
        keep = chosen[good]
        if len(keep) < options.min_stars:
            raise TooFewStarsError(
                "Too few stars agree on a PSF", stars=len(keep), candidates=len(x), needed=options.min_stars
            )
        if iteration == 0:
            # The first guess of the seeing may be wrong; the model's size must not be.
            fwhm = float(np.clip(psf.fwhm_at(*centre[:2]), 0.7 * fwhm, 1.4 * fwhm))
    assert psf is not None
    used[keep] = True
    ixx, iyy, ixy = psf.moments_at(*centre[:2])
    width_now = psf.fwhm_at(*centre[:2])
    ellipticity = float(np.hypot(ixx - iyy, 2 * ixy) / (ixx + iyy))
    if not options.min_fwhm <= width_now <= options.max_fwhm or ellipticity > options.max_ellipticity:
        raise BadPsfError(
            "The PSF is not that of stars", fwhm_pixels=width_now, ellipticity=ellipticity, stars=len(keep)
        )
    return PsfModel(psf, used, width_now, ellipticity)


def _affordable_order(n_stars: int, options: PsfOptions) -> int:
    for order in range(options.order, 0, -1):
        each = options.stars_per_term if order > 2 else options.shape_stars_per_term
        if n_stars >= each * (order + 1) * (order + 2) // 2:
            return order
    return 0


def _well_fitted(
    flux: NDArray[np.float64],
    flux_err: NDArray[np.float64],
    chi2: NDArray[np.float64],
    n_pixels: NDArray[np.int32],
    moved: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Reject stars that the model fits worse than stars of similar brightness."""
    with np.errstate(invalid="ignore", divide="ignore"):
        snr = flux / flux_err
        # Residuals in excess of noise, as a fraction of the star's flux at any brightness.
        mismatch = np.sqrt(np.maximum(chi2 - n_pixels, 0.0)) / snr
        noise = np.sqrt(chi2 / n_pixels)
    good = moved & np.isfinite(mismatch) & (snr > 5)
    for _ in range(3):
        if np.count_nonzero(good) < 4:
            break
        # Only bright stars show a mismatch; in most faint ones noise hides it.
        bright = good & (snr >= np.median(snr[good]))
        middle = np.median(mismatch[bright])
        spread = MAD_TO_SIGMA * np.median(np.abs(mismatch[bright] - middle))
        good &= (mismatch <= middle + max(4 * spread, MIN_MISMATCH)) | (noise < 1.3)
    return np.asarray(good)


def _corrected(
    exposure: Exposure,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    flux: NDArray[np.float64],
    segmentation: NDArray[np.int32],
    labels: NDArray[np.int32],
    psf: Psf | None,
    order: int,
    size: int,
    centre: tuple[float, float, float],
    fwhm: float,
) -> Psf:
    """Return the model corrected by the stars' residuals, as a polynomial of the given order."""
    n = len(x)
    residuals = np.zeros((n, size, size))
    if psf is None:
        spline = SplinePsf(np.zeros((1, size, size)), 0, np.array([0.0, 0.0, 1.0]))
    else:
        spline = SplinePsf.of(psf)

    def cut(start: int, stop: int) -> None:
        _residual_stamps(
            exposure.image, exposure.mask, segmentation, labels, spline.splines, spline.order, spline.frame,
            x, y, flux, np.int32(int(UNUSABLE)), psf is not None, residuals, start, stop,
        )  # fmt: skip

    in_bands(cut, n)
    for axis in (1, 2):
        residuals = ndimage.spline_filter1d(residuals, order=3, axis=axis, mode="mirror")
    centred = np.empty_like(residuals)
    dx, dy = x - np.floor(x + 0.5), y - np.floor(y + 0.5)

    def centre_them(start: int, stop: int) -> None:
        _centre_stamps(residuals, dx, dy, centred, start, stop)

    in_bands(centre_them, n)
    terms = polynomial_terms((x - centre[0]) / centre[2], (y - centre[1]) / centre[2], order)
    # Beyond a signal-to-noise ratio of about 200 the model's own errors dominate the star's noise.
    noise = float(np.sqrt(np.median(exposure.variance[::50, ::50])))
    weight = 1.0 / ((1.5 * fwhm * noise / flux) ** 2 + 0.005**2)
    values = _clipped(centred)
    if psf is None:
        coefficients = np.zeros((terms.shape[1], size, size))
    else:
        coefficients = _resized(psf.coefficients.astype(np.float64), terms.shape[1])
    core = _taper(size, fwhm)
    if n >= PIXELWISE_STARS_PER_TERM * terms.shape[1]:
        normal = (terms * weight[:, None]).T @ terms
        right = np.tensordot(terms * weight[:, None], values, axes=(0, 0))
        step = np.linalg.solve(normal, right.reshape(terms.shape[1], -1)).reshape(right.shape)
        step[1:] *= _taper(size, 1.5 * fwhm)
    else:
        step = np.zeros_like(coefficients)
        trust = np.ones(n)
        if psf is not None:
            step[1:], trust = shape_variation(values, coefficients[0], terms, weight, core)
            values = values - np.tensordot(terms[:, 1:], step[1:], axes=1)
        step[0] = np.tensordot(weight * trust, values, axes=(0, 0)) / np.sum(weight * trust)
    # In the wings the sky's error and neighbours dominate, and would bias the model's sum.
    radius = elliptical_radius(coefficients[0] + core * step[0], fwhm)
    wings = mean_wings(values, flux, radius, coefficients[0], fwhm, noise)
    step[0] = core * step[0] + (1 - core) * wings
    coefficients = coefficients + step
    coefficients /= coefficients[0].sum()
    return Psf(coefficients.astype(np.float32), order, *centre)


def _clipped(stamps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Clip each pixel's outliers to the range of the other stars' values."""
    n = len(stamps)
    clipped = np.empty_like(stamps)

    def clip(start: int, stop: int) -> None:
        part = stamps[:, start:stop].reshape(n, -1)
        ordered = np.sort(part.T, axis=1)
        middle = medians_of_sorted(ordered)
        ordered -= middle[:, np.newaxis]
        distances = np.abs(ordered, out=ordered)
        distances.sort(axis=1)
        limit = 5 * MAD_TO_SIGMA * medians_of_sorted(distances) + 1e-6
        clipped[:, start:stop] = np.clip(part, middle - limit, middle + limit).reshape(n, stop - start, -1)

    in_bands(clip, stamps.shape[1])
    return clipped


def _resized(coefficients: NDArray[np.float64], n_terms: int) -> NDArray[np.float64]:
    """Drop or add polynomial terms."""
    out = np.zeros((n_terms, *coefficients.shape[1:]))
    n = min(n_terms, len(coefficients))
    out[:n] = coefficients[:n]
    return out


def _taper(size: int, fwhm: float) -> NDArray[np.float64]:
    """Return 1 in the core and 0 in the wings, whose variation over the image is below their noise."""
    half = size // 2
    rows, columns = np.mgrid[-half : half + 1, -half : half + 1]
    inner, outer = 1.3 * fwhm, 2.0 * fwhm
    share = np.clip((outer - np.hypot(rows, columns)) / (outer - inner), 0, 1)
    return np.asarray(share * share * (3 - 2 * share))
