"""Choose the sources for the comparison of two images' PSFs, and cut them out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy import fft, ndimage

from prompt_processing.images import UNUSABLE, Exposure, Mask, Psf
from prompt_processing.imaging.errors import TooFewKernelStarsError

from .block_convolution import kernel_spectra
from .kernel import Stamps
from .smoothing import Smoothing, gaussian_spectrum

MARGIN = 12
"""Pixels around a stamp that filtering may corrupt."""

WHITENING_FLOOR = 1e-3
"""Noise power below which filters amplify no further; wider filters would need wider stamps."""


def choose_positions(
    science: Exposure, stars: Table | None, wanted: int, minimum_snr: float, border: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Choose bright sources, evenly over the image.

    Parameters
    ----------
    science : `Exposure`
        The image.
    stars : `~astropy.table.Table` or `None`
        ``x, y`` (pixels) and ``snr``, or ``psfFlux`` and ``psfFluxErr``.
    wanted : `int`
        Number of sources; the image is divided into half as many cells, and the
        brightest of each cell are taken.
    minimum_snr : `float`
        Fainter sources do not constrain the PSF.
    border : `int`
        Distance from the image's edge, pixels.

    Returns
    -------
    x, y : `~numpy.ndarray` of int64
        Nearest pixels, brightest first.
    """
    height, width = science.shape
    if stars is None or len(stars) < 10:
        x, y, snr = _bright_pixels(science)
    else:
        x, y = np.rint(np.asarray(stars["x"], float)), np.rint(np.asarray(stars["y"], float))
        if "snr" in stars.colnames:
            snr = np.asarray(stars["snr"], float)
        else:
            snr = np.asarray(stars["psfFlux"], float) / np.asarray(stars["psfFluxErr"], float)
    good = np.isfinite(x) & np.isfinite(y) & (snr > minimum_snr)
    good &= (x >= border) & (x < width - border) & (y >= border) & (y < height - border)
    columns, rows = np.where(good, x, 0).astype(int), np.where(good, y, 0).astype(int)
    good &= (science.mask[rows, columns] & int(UNUSABLE)) == 0
    index = np.flatnonzero(good)
    index = index[np.argsort(-snr[index])]
    cells = max(1, int(np.sqrt(wanted / 2)))
    cell = rows[index] * cells // height * cells + columns[index] * cells // width
    # Rank within the cell, brightest first: the best of every cell come before the second best of any.
    order = np.argsort(cell, kind="stable")
    rank = np.empty(len(index), int)
    starts = np.searchsorted(cell[order], np.arange(cells**2))
    rank[order] = np.arange(len(index)) - starts[cell[order]]
    chosen = index[np.argsort(rank, kind="stable")[:wanted]]
    return columns[chosen].astype(np.int64), rows[chosen].astype(np.int64)


def _bright_pixels(
    science: Exposure,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the brightest usable pixel of each 64-pixel cell, in place of a catalogue."""
    cell = 64
    height, width = (n // cell * cell for n in science.shape)
    usable = ~science.has(UNUSABLE | Mask.SUSPECT) & (science.variance > 0)
    ratio = np.where(usable, science.image / np.sqrt(np.where(usable, science.variance, 1)), 0)
    smooth = ndimage.uniform_filter(ratio, 3)[:height, :width]
    cells = smooth.reshape(height // cell, cell, width // cell, cell).swapaxes(1, 2)
    flat = cells.reshape(height // cell, width // cell, -1)
    best = flat.argmax(axis=-1)
    rows = np.arange(height // cell)[:, np.newaxis] * cell + best // cell
    columns = np.arange(width // cell) * cell + best % cell
    # A star spreads over about nine times as many independent pixels as a mean of 3 x 3.
    snr = 3.0 * flat.max(axis=-1)
    return columns.ravel().astype(float), rows.ravel().astype(float), snr.ravel()


@dataclass(frozen=True, slots=True, eq=False)
class StampFilters:
    """Filters of stamps before the fit, so that the noise of their difference is about white.

    Attributes
    ----------
    source, target : `~numpy.ndarray`, shape (n, n // 2 + 1)
        Real, symmetric filters in Fourier space, with the image's own smoothing.
    source_power : `~numpy.ndarray`, shape (n, n // 2 + 1)
        Power of the filtered source's noise, in units of its variance.
    noise_left : `float`
        Variance of the difference of filtered stamps, as a share of the two variances' sum.
    """

    source: NDArray[np.float64]
    target: NDArray[np.float64]
    source_power: NDArray[np.float64]
    noise_left: float

    @classmethod
    def make(
        cls,
        n: int,
        smoothing: Smoothing,
        source_variance: float,
        target_variance: float,
        correlation: NDArray[np.float64] | None,
    ) -> StampFilters:
        """Make the filters for a Gaussian kernel and a Gaussian companion.

        Parameters
        ----------
        n : `int`
            Width of the stamps, pixels.
        smoothing : `Smoothing`
            The target's smoothing, and the kernel expected.
        source_variance, target_variance : `float`
            Variances of the sky.
        correlation : `~numpy.ndarray` or `None`
            Covariance of the source's noise by lag (`warped_noise_correlation`), if not white.
        """
        kx = np.broadcast_to(fft.rfftfreq(n), (n, n // 2 + 1))
        companion, kernel = (gaussian_spectrum(m, n) for m in (smoothing.companion, smoothing.kernel))
        coloured = np.ones_like(kernel)
        if correlation is not None:
            coloured = np.maximum(kernel_spectra(correlation, n).real.astype(float), 1e-3)
        noise = target_variance * companion**2 + source_variance * coloured * kernel**2
        white = np.sqrt((1 + WHITENING_FLOOR) / (noise / noise[0, 0] + WHITENING_FLOOR))
        # For a real image: all columns but the first (and the last of an even width) count twice.
        weights = np.where((kx == 0) | (2 * kx == 1), 1.0, 2.0)
        left = float(np.sum(weights * white**2 * noise / noise[0, 0]) / np.sum(weights))
        return cls(white, white * companion, coloured * white**2, left)


def cut_stamps(
    source: Exposure,
    target: Exposure,
    source_image: NDArray[np.float32],
    target_image: NDArray[np.float32],
    x: NDArray[np.int64],
    y: NDArray[np.int64],
    window: int,
    half: int,
    filters: StampFilters,
) -> Stamps:
    """Cut squares out of both images, and mask unusable pixels.

    Parameters
    ----------
    source, target : `Exposure`
        The image to convolve and the one to be matched.
    source_image, target_image : `~numpy.ndarray`
        Their pixels with holes filled.
    x, y : `~numpy.ndarray`
        Centres, pixels.
    window : `int`
        Width of the squares to compare, pixels; odd.
    half : `int`
        Half width of the kernel, pixels.
    filters : `StampFilters`
        Filters of width `stamp_width`.

    Raises
    ------
    TooFewKernelStarsError
        Raised if no stamp is usable.
    """
    offsets = np.arange(-(window // 2 + half), window // 2 + half + 1)
    rows, columns = y[:, np.newaxis] + offsets, x[:, np.newaxis] + offsets
    wide = (rows[:, :, np.newaxis], columns[:, np.newaxis])
    inner = slice(half, half + window)
    narrow = (rows[:, inner, np.newaxis], columns[:, np.newaxis, inner])
    planes = int(UNUSABLE)
    bad_source = (source.mask[wide] & planes) != 0
    hard_source = (source.mask[wide] & int(Mask.SAT | Mask.NO_DATA | Mask.EDGE)) != 0
    bad = (target.mask[narrow] & planes) != 0
    # A filled pixel affects its neighbours; a missing or clipped one, all pixels within the kernel.
    bad |= ndimage.maximum_filter(bad_source, size=(1, 5, 5))[:, inner, inner]
    bad |= ndimage.maximum_filter(hard_source, size=(1, half, half))[:, inner, inner]
    source_variance, target_variance = source.variance[narrow], target.variance[narrow]
    variance = (source_variance + target_variance) * np.float32(filters.noise_left)
    bad |= ~np.isfinite(variance) | (variance <= 0)
    core = slice(window // 2 - 2, window // 2 + 3)
    good = ~bad[:, core, core].any(axis=(1, 2)) & (bad.mean(axis=(1, 2)) < 0.3)
    if not good.any():
        raise TooFewKernelStarsError("No source is usable in both images.", sources=len(x))
    x, y = x[good], y[good]
    n = filters.source.shape[0]
    sources = _filtered(source_image, x, y, filters.source, window + 2 * half)
    targets = _filtered(target_image, x, y, filters.target, window)
    correlation = fft.fftshift(fft.irfft2(filters.source_power, s=(n, n)))
    middle = slice(n // 2 - half, n // 2 + half + 1)
    return Stamps(
        x.astype(float),
        y.astype(float),
        sources,
        targets,
        np.where(bad, np.float32(np.inf), variance)[good].astype(np.float32),
        source_variance[good],
        correlation[middle, middle],
    )


def rendered_stars(
    psf: Psf, x: NDArray[np.int64], y: NDArray[np.int64], flux: float, shape: tuple[int, int]
) -> NDArray[np.float32]:
    """Return an image of stars without noise; they are centred on pixels, and may overlap."""
    image = np.zeros(shape, np.float32)
    half = psf.size // 2
    for column, row in zip(x, y, strict=True):
        rows = slice(max(row - half, 0), min(row + half + 1, shape[0]))
        columns = slice(max(column - half, 0), min(column + half + 1, shape[1]))
        stamp = psf.image_at(float(column), float(row))
        image[rows, columns] += flux * stamp[
            rows.start - row + half : rows.stop - row + half,
            columns.start - column + half : columns.stop - column + half,
        ].astype(np.float32)
    return image


def stamp_width(window: int, half: int) -> int:
    """Return the width of the squares to filter: the window, the kernel's reach and a margin."""
    return int(fft.next_fast_len(window + 2 * half + 2 * MARGIN, real=True))


def _filtered(
    image: NDArray[np.float32],
    x: NDArray[np.int64],
    y: NDArray[np.int64],
    spectrum: NDArray[np.float64],
    width: int,
) -> NDArray[np.float32]:
    """Cut squares, filter them, and keep their middle of the given odd width."""
    n = spectrum.shape[0]
    offsets = np.arange(n) - n // 2
    rows, columns = y[:, np.newaxis] + offsets, x[:, np.newaxis] + offsets
    rows, columns = np.clip(rows, 0, image.shape[0] - 1), np.clip(columns, 0, image.shape[1] - 1)
    stamps = image[rows[:, :, np.newaxis], columns[:, np.newaxis]]
    filtered = fft.irfft2(fft.rfft2(stamps) * spectrum.astype(np.float32), s=(n, n))
    middle = slice(n // 2 - width // 2, n // 2 + width // 2 + 1)
    return np.ascontiguousarray(filtered[:, middle, middle])
