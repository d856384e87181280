"""Bring template coadds to the pixels of a science image."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray
from scipy import ndimage

from prompt_processing.domain.planes import new_plane
from prompt_processing.images import Exposure, Mask, PhotoCalib, Psf, polynomial_terms
from prompt_processing.imaging.errors import NoTemplateOverlapError
from prompt_processing.imaging.masked_pixels import spread_plane
from prompt_processing.imaging.row_bands import in_bands

from .spline_filter import filter_columns
from .warp_pixels import CELL, begin_planes, cut_spline, finish_planes, mark_missing, warp_patch

HOLE_REACH = 3
"""Pixels around a hole where the spline through its filling is unreliable."""

MARGIN = 16
"""Margin, pixels, around the needed part of a patch beyond which the spline's edge effects vanish."""
_PSF_STEPS = 2.0**16
"""Steps per pixel of the positions where the PSF of a patch is evaluated."""
_PSF_BITS = 27
"""Bits of the largest coefficient of a PSF that are kept: three more than single precision has."""
AFFINE_KEYS = ("WARP_XX", "WARP_XY", "WARP_YX", "WARP_YY")
"""Metadata of a warped template: patch pixels along x and y per pixel of the image along x and y."""


@dataclass(frozen=True, slots=True)
class WarpOptions:
    """Options of the combination of template patches.

    Attributes
    ----------
    psf_grid : `int`
        Points along each side where the patches' PSFs are sampled.
    psf_order : `int`
        Degree of the polynomial through the samples.
    psf_size : `int`
        Width of the PSF's image, pixels; odd.
    """

    psf_grid: int = 5
    psf_order: int = 2
    psf_size: int = 35


def warp_template(
    patches: Iterable[Exposure], wcs: WCS, shape: tuple[int, int], options: WarpOptions | None = None
) -> Exposure:
    """Resample overlapping coadd patches to one image's pixels.

    Parameters
    ----------
    patches : iterable of `Exposure`
        Patches, each with its own WCS and a mask of any width; where several cover a
        pixel, the first complete one is used. Those after the image is full are not asked for.
    wcs : `~astropy.wcs.WCS`
        WCS of the image, with or without distortion.
    shape : `tuple` of `int`
        Height and width of the image, pixels.
    options : `WarpOptions`, optional
        PSF sampling.

    Returns
    -------
    template : `Exposure`
        In nJy per pixel of the image. Outside all patches, the image and the
        variance are NaN and the mask is ``NO_DATA``. ``metadata`` has the covered
        fraction as ``COVERAGE``, and the number of patches that were asked for
        as ``NPATCHES``.

    Raises
    ------
    NoTemplateOverlapError
        Raised if no pixel is covered, or there are no patches.

    Notes
    -----
    Cubic-spline interpolation has a fifth of the cost of a Lanczos-5 kernel of
    the same fidelity at a seeing of three pixels. The variance is interpolated, not multiplied by the
    squared weights: a matched filter is sensitive to the noise per unit area,
    which interpolation preserves, not to the (correlated, hence smaller) scatter
    of pixels.
    """
    options = options or WarpOptions()
    height, width = shape
    image, variance, mask = (
        new_plane(shape, np.float32),
        new_plane(shape, np.float32),
        new_plane(shape, np.int32),
    )
    in_bands(lambda start, stop: begin_planes(image, variance, mask, start, stop), height)
    x_nodes = np.arange(0, width + CELL, CELL, dtype=float)
    y_nodes = np.arange(0, height + CELL, CELL, dtype=float)
    grid_x, grid_y = np.meshgrid(x_nodes, y_nodes)
    ra, dec = wcs.all_pix2world(grid_x.ravel(), grid_y.ravel(), 0)
    no_data = np.int32(int(Mask.NO_DATA))
    sky = ra.reshape(grid_x.shape), dec.reshape(grid_x.shape)
    unfilled = _pixels_of_cells(shape)
    used: list[Exposure] = []
    for patch in patches:
        used.append(patch)
        _fill_from(patch, sky, unfilled, (image, variance, mask))
        if not unfilled.any():
            break
    counts: list[int] = []
    in_bands(lambda start, stop: counts.append(finish_planes(variance, mask, no_data, start, stop)), height)
    covered = sum(counts)
    if covered == 0:
        raise NoTemplateOverlapError(
            "No template patch reaches the image.", patches=len(used), width=width, height=height
        )
    psf = _warped_psf(used, wcs, shape, options)
    metadata = {"COVERAGE": covered / (height * width), "NPATCHES": len(used)}
    metadata |= dict(zip(AFFINE_KEYS, _affine(used[0], wcs, shape), strict=True))
    return Exposure(image, mask, variance, wcs, psf, PhotoCalib(1.0), None, metadata)


def _pixels_of_cells(shape: tuple[int, int]) -> NDArray[np.int16]:
    """Return the number of pixels of each cell of an image; cells at its edge may be cut."""
    rows, columns = (np.diff(np.append(np.arange(0, length, CELL), length)) for length in shape)
    return np.multiply.outer(rows, columns).astype(np.int16)


def _fill_from(
    patch: Exposure,
    sky: tuple[NDArray[np.float64], NDArray[np.float64]],
    unfilled: NDArray[np.int16],
    planes: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]],
) -> None:
    """Fill image, variance and mask from one patch where they have no value yet.

    ``sky`` is right ascension and declination (degrees) at the corners of the cells, both of shape
    (rows of cells + 1, columns of cells + 1). ``unfilled`` has the number of such pixels of each cell.
    """
    if patch.wcs is None:
        raise ValueError("A template patch has no WCS.")
    from_origin, (x0, y0) = _from_reference(patch.wcs, sky[0].ravel(), sky[1].ravel())
    u, v = (nodes.reshape(sky[0].shape) for nodes in from_origin)
    factor = 1.0 if patch.photo_calib is None else patch.photo_calib.njy_per_unit
    part = _needed_part(patch.shape, u + x0, v + y0, unfilled > 0)
    if part is None:
        return
    rows, columns, (first, last) = part
    source = _prepared(patch, rows, columns)
    # One addition: the same numbers for the whole patch as for any part of it that holds these pixels.
    cells = (u + (x0 - columns.start), v + (y0 - rows.start))
    no_data = np.int32(int(Mask.NO_DATA))

    def fill(start: int, stop: int) -> None:
        warp_patch(*source, *cells, factor, no_data, unfilled, *planes, first + start, first + stop)

    # Only the rows that the patch reaches, so that all threads share them.
    in_bands(fill, last - first)


def _to_pixels(
    wcs: WCS, ra: NDArray[np.float64], dec: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Convert sky to pixels; points that the projection cannot reach become NaN."""
    if wcs.sip is None:
        x, y = wcs.wcs_world2pix(ra, dec, 0)
    else:
        x, y = wcs.all_world2pix(ra, dec, 0, quiet=True)
    return np.asarray(x, float), np.asarray(y, float)


def _from_reference(
    wcs: WCS, ra: NDArray[np.float64], dec: NDArray[np.float64]
) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]], tuple[float, float]]:
    """Convert sky to pixels from the reference pixel; also return that pixel's position."""
    if wcs.sip is not None:
        return _to_pixels(wcs, ra, dec), (0.0, 0.0)
    x0, y0 = (float(value) - 1.0 for value in wcs.wcs.crpix)
    centred = wcs.deepcopy()
    centred.wcs.crpix = [0.0, 0.0]
    u, v = centred.wcs_world2pix(ra, dec, 1)
    return (np.asarray(u, float), np.asarray(v, float)), (x0, y0)


def _needed_part(
    shape: tuple[int, int], px: NDArray[np.float64], py: NDArray[np.float64], unfilled: NDArray[np.bool_]
) -> tuple[slice, slice, tuple[int, int]] | None:
    """Return the rows and columns of a patch that contain the corners of unfilled cells, with a margin.

    Also return the first row of the cells that the patch reaches, and the row after the last.
    """
    finite = np.isfinite(px) & np.isfinite(py)
    inside = finite & (px > -2 * CELL) & (px < shape[1] + 2 * CELL)
    inside &= (py > -2 * CELL) & (py < shape[0] + 2 * CELL)
    corners = np.zeros_like(inside)
    for rows_from, columns_from in product((0, 1), repeat=2):
        part = np.s_[rows_from : rows_from + len(unfilled), columns_from : columns_from + unfilled.shape[1]]
        corners[part] |= unfilled
    inside &= corners
    if not inside.any():
        return None
    bounds = []
    for values, length in ((py[inside], shape[0]), (px[inside], shape[1])):
        # Cells extend beyond their inner corners by up to their own width.
        reach = 2 * CELL + MARGIN
        bounds.append(slice(max(int(values.min()) - reach, 0), min(int(values.max()) + reach, length)))
    rows, columns = bounds
    reached = np.flatnonzero(inside.any(axis=1))
    return rows, columns, (max(int(reached[0]) - 1, 0), min(int(reached[-1]) + 1, len(px) - 1))


def _prepared(
    patch: Exposure, rows: slice, columns: slice
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.signedinteger], int, int]:
    """Return the spline of a part of a patch, variance and mask, and where in these the part begins.

    ``NO_DATA`` is grown around holes, in a copy of the mask.
    """
    spline = new_plane((rows.stop - rows.start, columns.stop - columns.start), np.float32)
    # Whole planes and an offset, so that one compiled version serves all parts.
    image, variance = np.ascontiguousarray(patch.image), np.ascontiguousarray(patch.variance)
    mask = np.ascontiguousarray(patch.mask)
    place, no_data = (int(rows.start), int(columns.start)), np.int32(int(Mask.NO_DATA))
    missing: list[int] = []
    in_bands(
        lambda start, stop: missing.append(
            cut_spline(image, variance, mask, *place, no_data, spline, start, stop)
        ),
        spline.shape[0],
    )
    in_bands(lambda start, stop: filter_columns(spline, start, stop), spline.shape[1])
    if not sum(missing):
        return spline, variance, mask, place[0], place[1]
    flags = mask[rows, columns].astype(np.int32)
    in_bands(
        lambda start, stop: mark_missing(image, variance, *place, no_data, flags, start, stop), len(flags)
    )
    spread_plane(flags, int(no_data), int(no_data), HOLE_REACH)
    return spline, np.ascontiguousarray(variance[rows, columns]), flags, 0, 0


def _affine(patch: Exposure, wcs: WCS, shape: tuple[int, int]) -> list[float]:
    """Return the affine map of the image's middle to a patch's pixels: xx, xy, yx, yy."""
    assert patch.wcs is not None
    x, y = (shape[1] - 1) / 2, (shape[0] - 1) / 2
    ra, dec = wcs.all_pix2world([x - 0.5, x + 0.5, x, x], [y, y, y - 0.5, y + 0.5], 0)
    # Differences of positions do not depend on the part of the patch that was read either.
    (px, py), _ = _from_reference(patch.wcs, ra, dec)
    return [float(v) for v in (px[1] - px[0], px[3] - px[2], py[1] - py[0], py[3] - py[2])]


def warped_noise_correlation(affine: tuple[float, float, float, float], half: int = 6) -> NDArray[np.float64]:
    """Return the correlation of interpolated white noise, averaged over phases.

    Parameters
    ----------
    affine : `tuple` of `float`
        Input pixels per output pixel: xx, xy, yx, yy.
    half : `int`
        Largest lag, output pixels.

    Returns
    -------
    correlation : `~numpy.ndarray`, shape (2 * half + 1, 2 * half + 1)
        Covariance of output pixels by lag, in units of the input's variance.
    """
    lags, full = _correlation_along_an_axis()
    dy, dx = np.mgrid[-half : half + 1, -half : half + 1].astype(float)
    xx, xy, yx, yy = affine
    return np.asarray(
        np.interp(xx * dx + xy * dy, lags, full, 0, 0) * np.interp(yx * dx + yy * dy, lags, full, 0, 0)
    )


@cache
def _correlation_along_an_axis() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the correlation of white noise interpolated along one axis: lags in pixels, and values."""
    step = 1 / 64
    impulse = np.zeros(65)
    impulse[32] = 1
    u = np.arange(-24, 24, step)
    coefficients = ndimage.spline_filter1d(impulse, 3)
    profile = ndimage.map_coordinates(coefficients, [u + 32], order=3, prefilter=False)
    full = np.convolve(profile, profile[::-1]) * step
    lags = (np.arange(full.size) - (profile.size - 1)) * step
    return np.asarray(lags, np.float64), np.asarray(full, np.float64)


def _warped_psf(
    patches: Sequence[Exposure], wcs: WCS, shape: tuple[int, int], options: WarpOptions
) -> Psf | None:
    """Fit a polynomial PSF to those of the patches, resampled to the image's pixels."""
    height, width = shape
    fractions = (np.arange(options.psf_grid) + 0.5) / options.psf_grid
    grid_x, grid_y = (g.ravel() for g in np.meshgrid(fractions * width - 0.5, fractions * height - 0.5))
    # The point itself and one pixel either way along x and y, for the local affine map.
    steps_x = np.concatenate([grid_x, grid_x + 1, grid_x - 1, grid_x, grid_x])
    steps_y = np.concatenate([grid_y, grid_y, grid_y, grid_y + 1, grid_y - 1])
    ra, dec = wcs.all_pix2world(steps_x, steps_y, 0)
    images, at_x, at_y = [], [], []
    done = np.zeros(grid_x.size, bool)
    for patch in patches:
        if patch.psf is None or patch.wcs is None:
            continue
        from_origin, (x0, y0) = _from_reference(patch.wcs, ra, dec)
        px, py = (a.reshape(5, -1) for a in from_origin)
        # Without the last bits, the distance from the PSF's centre is exact in any part of the patch.
        at = (
            np.round((px[0] + x0) * _PSF_STEPS) / _PSF_STEPS,
            np.round((py[0] + y0) * _PSF_STEPS) / _PSF_STEPS,
        )
        for i in np.flatnonzero(~done):
            x, y = at[0][i], at[1][i]
            if not (0 <= x < patch.shape[1] and 0 <= y < patch.shape[0]):
                continue
            affine = 0.5 * np.array(
                [[px[1, i] - px[2, i], px[3, i] - px[4, i]], [py[1, i] - py[2, i], py[3, i] - py[4, i]]]
            )
            images.append(_resampled(patch.psf.image_at(x, y), affine, options.psf_size))
            at_x.append(grid_x[i])
            at_y.append(grid_y[i])
            done[i] = True
    if not images:
        return None
    return fit_psf(np.array(images), np.array(at_x), np.array(at_y), shape, options.psf_order)


def _resampled(image: NDArray[np.float64], affine: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Resample a centred PSF; ``affine`` maps offsets on the new grid to offsets on its own."""
    half, centre = size // 2, image.shape[0] // 2
    dy, dx = np.mgrid[-half : half + 1, -half : half + 1].astype(float)
    columns = affine[0, 0] * dx + affine[0, 1] * dy + centre
    rows = affine[1, 0] * dx + affine[1, 1] * dy + centre
    out = ndimage.map_coordinates(image, [rows, columns], order=3, mode="constant")
    return np.asarray(out / out.sum())


def fit_psf(
    images: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    shape: tuple[int, int],
    order: int,
) -> Psf:
    """Fit a varying PSF to its images at some positions.

    Parameters
    ----------
    images : `~numpy.ndarray`, shape (n, size, size)
        PSF images, centred and of sum 1.
    x, y : `~numpy.ndarray`, shape (n,)
        Positions of the images, pixels.
    shape : `tuple` of `int`
        Height and width of the whole image, pixels.
    order : `int`
        Degree of the polynomial; lowered if the positions are too few.
    """
    while order > 0 and len(images) < 2 * (order + 1) * (order + 2) // 2:
        order -= 1
    x_centre, y_centre, scale = (shape[1] - 1) / 2, (shape[0] - 1) / 2, max(shape) / 2
    terms = polynomial_terms((x - x_centre) / scale, (y - y_centre) / scale, order)
    coefficients, *_ = np.linalg.lstsq(terms, images.reshape(len(images), -1), rcond=None)
    size = images.shape[-1]
    # The last bits of a fit depend on where its arrays lie in memory.
    peak = float(np.abs(coefficients).max())
    if math.isfinite(peak) and peak > 0:
        step = 2.0 ** (math.frexp(peak)[1] - _PSF_BITS)
        coefficients = np.round(coefficients / step) * step
    return Psf(
        coefficients.reshape(-1, size, size).astype(np.float32), order, x_centre, y_centre, float(scale)
    )
