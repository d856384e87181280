"""The significance of a point source at each pixel: the image filtered with its PSF over the noise."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numba
import numpy as np
from numpy.typing import NDArray

from prompt_processing.domain.planes import new_plane
from prompt_processing.images import UNMEASURED, Exposure, Mask, Psf
from prompt_processing.imaging.difference.block_convolution import (
    BlockGrid,
    PolynomialSpectra,
    convolve_blocks,
)
from prompt_processing.imaging.difference.decorrelation import images_at
from prompt_processing.imaging.percentiles import percentiles
from prompt_processing.imaging.row_bands import in_bands

CORE = (15.865, 84.135)
"""Percentiles one standard deviation from the mean of a normal distribution."""

MOST_SCATTER = 30.0
"""Largest scatter of the score to correct for. Noise of stacks and of resampled images is correlated over
the PSF: their pixels scatter far less than a flux does."""


@dataclass(frozen=True, slots=True, eq=False)
class Significance:
    """The significance of a point source at each pixel, where it may be high, and what it was computed from.

    Attributes
    ----------
    score : `~numpy.ndarray` of float32, shape (height, width)
        Signed significance; 0 where it is certainly below the threshold.
    filtered : `~numpy.ndarray` of float32, shape (height, width)
        Its numerator, an array that may be overwritten.
    usable : `~numpy.ndarray` of bool, shape (height, width)
        Pixels that count.
    stamps : `~numpy.ndarray` of float32, shape (n, size, size)
        The PSF on a coarse grid.
    grid : `~numpy.ndarray`, shape (2,)
        Step of that grid, pixels, and number of its columns.
    scatter : `~numpy.ndarray`, shape (n,)
        Scatter around each point of the grid, by which the score was divided; 1 where the variance describes
        the noise.

    Notes
    -----
    The score is ``sum(psf d) / sqrt(sum(psf^2 v))``, the significance of the
    flux of a point source at each pixel, over usable pixels (Zackay, Ofek &
    Gal-Yam 2016, ApJ 830, 27). Its denominator is computed only where the
    numerator is high, and scaled by the measured scatter of the surrounding
    score.
    """

    score: NDArray[np.float32]
    filtered: NDArray[np.float32]
    usable: NDArray[np.bool_]
    stamps: NDArray[np.float32]
    grid: NDArray[np.int64]
    scatter: NDArray[np.float64]

    @classmethod
    def of(cls, difference: Exposure, psf: Psf, half: int, threshold: float) -> Significance:
        """Compute the score where it may reach a threshold, with the PSF cut to a half width (pixels)."""
        usable, image = _usable(difference)
        half = min(half, psf.size // 2)
        filtered = _correlate(image, psf, half)
        # The score reuses this array: new memory costs as much as a pass over it.
        score = image
        stamps, grid = _psf_grid(psf, difference.shape, half)
        sample = difference.variance[::16, ::16][usable[::16, ::16]]
        sky = float(np.median(sample)) if sample.size else 0.0
        area = float(np.sum(stamps[len(stamps) // 2] ** 2))
        # A pixel that is not significant against the sky's noise is not significant against its own.
        least = 0.8 * threshold * math.sqrt(sky * area)
        scatter = _score_scatter(filtered, difference.variance, usable, stamps, grid)
        in_bands(
            lambda start, stop: _normalise(
                filtered, difference.variance, usable, stamps, grid, scatter, least, score, start, stop
            ),
            difference.shape[0],
        )
        return cls(score, filtered, usable, stamps, grid, scatter)

    @property
    def central_psf(self) -> NDArray[np.float32]:
        """The PSF near the middle of the image."""
        return self.stamps[len(self.stamps) // 2]

    def scatter_at(self, x: NDArray[np.int32], y: NDArray[np.int32]) -> NDArray[np.float64]:
        """Return the scatter of the score around pixels."""
        step, columns = (int(n) for n in self.grid)
        return self.scatter[y // step * columns + x // step]


def _usable(difference: Exposure) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Return which pixels are usable, and the image with 0 elsewhere.

    Pixels at the image's edge are usable here; the filters judge them later.
    """
    planes = np.int32(int(UNMEASURED | Mask.STREAK))
    usable, image = new_plane(difference.shape, np.bool_), new_plane(difference.shape, np.float32)
    in_bands(
        lambda start, stop: _find_usable(
            difference.image, difference.variance, difference.mask, planes, usable, image, start, stop
        ),
        difference.shape[0],
    )
    return usable, image


@numba.njit(cache=True, nogil=True)
def _find_usable(
    image: NDArray[np.float32],
    variance: NDArray[np.float32],
    mask: NDArray[np.int32],
    planes: int,
    usable: NDArray[np.bool_],
    out: NDArray[np.float32],
    start: int,
    stop: int,
) -> None:
    for row in range(start, stop):
        for column in range(image.shape[1]):
            value = image[row, column]
            good = not mask[row, column] & planes and np.isfinite(value) and variance[row, column] > 0
            usable[row, column] = good
            out[row, column] = value if good else np.float32(0)


def _correlate(image: NDArray[np.float32], psf: Psf, half: int) -> NDArray[np.float32]:
    """Correlate an image with its varying PSF, cut to a half width."""
    shape = (image.shape[0], image.shape[1])
    grid = BlockGrid(shape, half, 160)
    out = new_plane(shape, np.float32)
    middle = slice(psf.size // 2 - half, psf.size // 2 + half + 1)
    cut = replace(psf, coefficients=np.ascontiguousarray(psf.coefficients[:, middle, middle]))
    polynomial = PolynomialSpectra.of(cut, grid.transform)

    def spectra(x: NDArray[np.float64], y: float) -> list[list[NDArray[np.complex64] | None]]:
        return [[np.conj(polynomial.at(x, y))]]

    convolve_blocks([image], [out], grid, spectra)
    return out


def _psf_grid(
    psf: Psf, shape: tuple[int, int], half: int, step: int = 256
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return PSF images on a coarse grid, and its step and number of columns."""
    height, width = shape
    rows, columns = -(-height // step), -(-width // step)
    grid_x, grid_y = np.meshgrid(
        np.minimum((np.arange(columns) + 0.5) * step, width - 1),
        np.minimum((np.arange(rows) + 0.5) * step, height - 1),
    )
    middle = slice(psf.size // 2 - half, psf.size // 2 + half + 1)
    images = images_at(psf, grid_x.ravel(), grid_y.ravel())[:, middle, middle]
    return np.ascontiguousarray(images), np.array([step, columns])


def _score_scatter(
    filtered: NDArray[np.float32],
    variance: NDArray[np.float32],
    usable: NDArray[np.bool_],
    stamps: NDArray[np.float32],
    grid: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return the robust scatter of the score around each point of the PSF's grid; nominally 1.

    Faint sources below detection and residuals of the sky correlate pixels, which the
    variance plane cannot show and which affects a filter as wide as the PSF.
    """
    step, columns = int(grid[0]), int(grid[1])
    height, width = filtered.shape
    out = np.ones(len(stamps))

    def measure(cell: int) -> None:
        # Cells overlap by half their width, for more pixels and no steps.
        y, x = (cell // columns) * step, (cell % columns) * step
        rows = slice(max(y - step // 2, 0), min(y + step + step // 2, height), 5)
        part = rows, slice(max(x - step // 2, 0), min(x + step + step // 2, width), 5)
        good = usable[part]
        if np.count_nonzero(good) < 1000:
            return
        noise = np.sqrt(variance[part][good] * np.float32(np.sum(stamps[cell].astype(float) ** 2)))
        ratio = filtered[part][good] / noise
        low, high = percentiles(ratio, CORE)
        # Excludes sources, but not the tails of an excess scatter.
        within = np.abs(ratio) < np.float32(4 * max(0.5 * (high - low), 1.0))
        low, high = percentiles(ratio[within], CORE)
        out[cell] = np.clip(0.5 * (high - low), 0.9, MOST_SCATTER)

    def measure_some(start: int, stop: int) -> None:
        for cell in range(start, stop):
            measure(cell)

    in_bands(measure_some, len(stamps))
    return out


@numba.njit(cache=True, nogil=True)
def _normalise(
    filtered: NDArray[np.float32],
    variance: NDArray[np.float32],
    usable: NDArray[np.bool_],
    stamps: NDArray[np.float32],
    grid: NDArray[np.int64],
    scatter: NDArray[np.float64],
    least: float,
    score: NDArray[np.float32],
    start: int,
    stop: int,
) -> None:
    """Divide by the noise where the numerator is high enough."""
    height, width = filtered.shape
    size = stamps.shape[1]
    half = size // 2
    step, columns = grid[0], grid[1]
    core = min(half, 8)
    for row in range(start, stop):
        for column in range(width):
            value = filtered[row, column]
            score[row, column] = 0.0
            if not (value > least or value < -least) or not usable[row, column]:
                continue
            cell = (row // step) * columns + column // step
            stamp = stamps[cell]
            total, weight = 0.0, 0.0
            for j in range(max(row - core, 0), min(row + core + 1, height)):
                for i in range(max(column - core, 0), min(column + core + 1, width)):
                    p = stamp[j - row + half, i - column + half]
                    if usable[j, i]:
                        total += p * p * variance[j, i]
                        weight += p * p
            if weight > 0:
                score[row, column] = value / (math.sqrt(total) * scatter[cell])
