"""What is left in a difference image, and how its kernel varies: numbers to draw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from astropy.table import Table
from numpy.typing import NDArray

from prompt_processing.images import UNUSABLE, Exposure, Mask, MatchingKernel
from prompt_processing.imaging.difference.residuals import Residuals, measure_residuals, robust_sigma

__all__ = [
    "CLASSES",
    "KernelVariation",
    "ResidualHistogram",
    "ResidualMap",
    "binned",
    "class_of_dia_sources",
    "kernel_variation",
    "residual_histogram",
    "residual_map",
]

CLASSES = ("brighter", "fainter", "dipole", "trail", "minor planet")
"""Classes of DiaSources; of several that apply, the last one counts."""

_EDGES = np.linspace(-8, 8, 129)
_FEWEST_PIXELS = 20
_HIDDEN = UNUSABLE | Mask.SAT_TEMPLATE | Mask.STREAK


@dataclass(frozen=True, slots=True)
class ResidualHistogram:
    """Distribution of a difference over its noise.

    Attributes
    ----------
    edges : `~numpy.ndarray`, shape (n + 1,)
        Edges of the bins; the first and the last bin hold what is beyond them.
    sky, detected : `~numpy.ndarray`, shape (n,)
        Density of the usable pixels without and with a detection; 0 everywhere if there are none.
    residuals
        Scatter of the sky and at stars.
    """

    edges: NDArray[np.float64]
    sky: NDArray[np.float64]
    detected: NDArray[np.float64]
    residuals: Residuals


@dataclass(frozen=True, slots=True)
class ResidualMap:
    """Difference over its noise in square cells.

    Attributes
    ----------
    cell
        Width of a cell, pixels.
    median, scatter : `~numpy.ndarray`, shape (rows, columns)
        Median and robust scatter; NaN where hardly a pixel is usable.
    """

    cell: int
    median: NDArray[np.float64]
    scatter: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class KernelVariation:
    """A matching kernel at places of its detector.

    Attributes
    ----------
    x, y : `~numpy.ndarray`, shape (n,)
        Places of the images, pixels.
    images : `~numpy.ndarray`, shape (n * n, size, size)
        Images at all pairs of ``x`` and ``y``, row by row from the bottom.
    extent
        Width and height of the detector, pixels.
    sums : `~numpy.ndarray`, shape (m, m)
        Sum of the kernel on a finer grid over the detector.
    shift_x, shift_y : `~numpy.ndarray`, shape (m, m)
        Centroid of the kernel there, pixels from its middle.
    convolves_science
        Whether it convolves the science image rather than the template.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    images: NDArray[np.float64]
    extent: tuple[float, float]
    sums: NDArray[np.float64]
    shift_x: NDArray[np.float64]
    shift_y: NDArray[np.float64]
    convolves_science: bool


def residual_histogram(difference: Exposure, stars: Table | None = None) -> ResidualHistogram:
    """Count the pixels of a difference by their ratio to the noise.

    Parameters
    ----------
    difference
        Difference with its variance.
    stars
        Sources of the science image, for the scatter at stars: ``x, y`` (pixels), ``snr``.
    """
    # A million pixels are enough for a histogram.
    step = max(min(difference.shape) // 1000, 1)
    ratio = _ratio(difference)[::step, ::step]
    detected = difference.has(Mask.DETECTED | Mask.DETECTED_NEGATIVE)[::step, ::step]
    usable = np.isfinite(ratio)
    return ResidualHistogram(
        _EDGES,
        _density(ratio[usable & ~detected]),
        _density(ratio[usable & detected]),
        measure_residuals(difference, stars),
    )


def residual_map(difference: Exposure, n_cells: int = 32) -> ResidualMap:
    """Measure a difference over its noise in cells.

    Parameters
    ----------
    difference
        Difference with its variance.
    n_cells
        Number of cells along the longer side.
    """
    cell = max(-(-max(difference.shape) // n_cells), 4)
    ratio = _ratio(difference)
    rows, columns = (-(-length // cell) for length in difference.shape)
    median, scatter = np.full((2, rows, columns), np.nan)
    for row in range(rows):
        for column in range(columns):
            part = ratio[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell]
            values = part[np.isfinite(part)]
            if values.size >= _FEWEST_PIXELS:
                median[row, column], scatter[row, column] = np.median(values), robust_sigma(values)
    return ResidualMap(cell, median, scatter)


def kernel_variation(kernel: MatchingKernel, n_images: int = 3, n_grid: int = 15) -> KernelVariation:
    """Evaluate a kernel over its detector.

    Parameters
    ----------
    kernel
        Kernel whose polynomial is centred on the detector.
    n_images, n_grid
        Number of images, and of places where sum and centroid are measured, along each side.
    """
    extent = 2 * kernel.x_centre + 1, 2 * kernel.y_centre + 1
    x, y = (size * (np.arange(n_images) + 0.5) / n_images - 0.5 for size in extent)
    fine_x, fine_y = (size * (np.arange(n_grid) + 0.5) / n_grid - 0.5 for size in extent)
    images = kernel.images_at(*(grid.ravel() for grid in np.meshgrid(x, y)))
    fine = kernel.images_at(*(grid.ravel() for grid in np.meshgrid(fine_x, fine_y)))
    sums = fine.sum(axis=(1, 2))
    offset = np.arange(kernel.size) - kernel.size // 2
    with np.errstate(invalid="ignore", divide="ignore"):
        shift_x, shift_y = (fine.sum(axis=axis) @ offset / sums for axis in (1, 2))
    shape = n_grid, n_grid
    return KernelVariation(
        x, y, images, extent, sums.reshape(shape), shift_x.reshape(shape), shift_y.reshape(shape),
        kernel.convolves_science,
    )  # fmt: skip


def class_of_dia_sources(sources: pd.DataFrame) -> NDArray[np.intp]:
    """Return the class of each DiaSource.

    Parameters
    ----------
    sources
        Rows of the APDB's DiaSource table; a column that is missing counts as false.

    Returns
    -------
    classes : `~numpy.ndarray` of int, shape (n,)
        Places in `CLASSES`.
    """
    found = np.zeros(len(sources), np.intp)
    found[_is_true(sources, "isNegative")] = CLASSES.index("fainter")
    found[_is_true(sources, "isDipole")] = CLASSES.index("dipole")
    if "trailLength" in sources:
        lengths = pd.to_numeric(sources["trailLength"], errors="coerce").to_numpy(float, na_value=np.nan)
        found[np.isfinite(lengths)] = CLASSES.index("trail")
    if "ssObjectId" in sources:
        ids = pd.to_numeric(sources["ssObjectId"], errors="coerce").fillna(0).to_numpy()
        found[ids != 0] = CLASSES.index("minor planet")
    return found


def binned(image: NDArray[np.float32], longest: int = 800) -> tuple[NDArray[np.float32], int]:
    """Return the means of square cells of an image, and their width in pixels.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (height, width)
        Pixels that are not finite are left out of the means.
    longest
        Greatest number of cells along a side.
    """
    step = max(-(-max(image.shape) // longest), 1)
    height, width = (length // step for length in image.shape)
    cells = image[: height * step, : width * step].reshape(height, step, width, step)
    finite = np.isfinite(cells)
    counts = finite.sum(axis=(1, 3))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(finite, cells, 0).sum(axis=(1, 3)) / counts, np.float32), step


def _ratio(difference: Exposure) -> NDArray[np.float32]:
    """Return the usable pixels over the root of their variance; NaN elsewhere."""
    usable = ~difference.has(_HIDDEN) & (difference.variance > 0) & np.isfinite(difference.image)
    ratio = np.full(difference.shape, np.nan, np.float32)
    ratio[usable] = difference.image[usable] / np.sqrt(difference.variance[usable])
    return ratio


def _density(values: NDArray[np.float32]) -> NDArray[np.float64]:
    counts, _ = np.histogram(np.clip(values, _EDGES[0], _EDGES[-1]), _EDGES)
    return counts / max(values.size, 1) / np.diff(_EDGES)


def _is_true(sources: pd.DataFrame, column: str) -> NDArray[np.bool_]:
    if column not in sources:
        return np.zeros(len(sources), np.bool_)
    return np.asarray(sources[column].fillna(False).astype(bool))
