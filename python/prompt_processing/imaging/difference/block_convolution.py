"""Convolve whole images with kernels that vary over them, block by block in Fourier space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from prompt_processing.images import Psf, polynomial_terms
from prompt_processing.imaging.row_bands import in_bands

TOGETHER = 6
"""Number of blocks processed at once: few enough to stay in a core's cache."""

BLOCKS_PER_NODE = 5
"""Step, in blocks of a row, at which kernels are computed; they are interpolated in between. Computing a
spectrum takes longer than applying it, and a kernel is almost linear over a few hundred pixels."""


@dataclass(frozen=True, slots=True)
class BlockGrid:
    """The division of an image into overlapping squares.

    Attributes
    ----------
    shape : `tuple` of `int`
        Height and width of the image, pixels.
    margin : `int`
        Pixels around each block that its convolution may reach into: the
        half width of the widest kernel.
    transform : `int`
        Width of a Fourier transform, pixels. A power of two times small
        factors; about five margins is fastest, and more increases the kernel's
        steps between blocks.
    """

    shape: tuple[int, int]
    margin: int
    transform: int = 160

    @property
    def block(self) -> int:
        """Width of the part of a transform to keep, pixels."""
        return self.transform - 2 * self.margin

    @property
    def count(self) -> tuple[int, int]:
        """Number of blocks along y and x."""
        return -(-self.shape[0] // self.block), -(-self.shape[1] // self.block)

    def centres(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the x of the columns' and the y of the rows' centres, pixels."""
        rows, columns = self.count
        middle = (self.block - 1) / 2
        x = np.arange(columns, dtype=np.float64) * self.block + middle
        return x, np.arange(rows, dtype=np.float64) * self.block + middle


def kernel_spectra(kernels: NDArray[np.floating], transform: int) -> NDArray[np.complex64]:
    """Transform centred kernels of shape (..., size, size) to (..., transform, transform // 2 + 1)."""
    size = kernels.shape[-1]
    place = (np.arange(size) - size // 2) % transform
    # Only non-empty rows go through the first half of the transform.
    rows = np.zeros((*kernels.shape[:-1], transform), np.float32)
    rows[..., place] = kernels
    padded = np.zeros((*kernels.shape[:-2], transform, transform // 2 + 1), np.complex64)
    padded[..., place, :] = fft.rfft(rows, axis=-1)
    return np.asarray(fft.fft(padded, axis=-2, overwrite_x=True), np.complex64)


@dataclass(frozen=True, slots=True, eq=False)
class PolynomialSpectra:
    """Spectra of an image that varies as a polynomial of the position: transformed once, mixed anywhere.

    Attributes
    ----------
    psf : `~prompt_processing.images.Psf`
        The polynomial; its sum is not normalised.
    terms : `~numpy.ndarray`, shape (n_terms, transform, transform // 2 + 1)
        Spectra of its coefficients.
    """

    psf: Psf
    terms: NDArray[np.complex64]

    @classmethod
    def of(cls, psf: Psf, transform: int) -> PolynomialSpectra:
        """Transform a polynomial image for blocks of the given width."""
        return cls(psf, kernel_spectra(psf.coefficients, transform))

    def at(self, x: NDArray[np.float64], y: float) -> NDArray[np.complex64]:
        """Return the spectra at positions of one row (pixels); shape (n, transform, transform // 2 + 1)."""
        u, v = (x - self.psf.x_centre) / self.psf.scale, (y - self.psf.y_centre) / self.psf.scale
        weights = polynomial_terms(u, np.full_like(u, v), self.psf.order).astype(np.complex64)
        mixed = weights @ self.terms.reshape(len(self.terms), -1)
        return mixed.reshape(len(x), *self.terms.shape[1:])


def convolve_blocks(
    inputs: Sequence[NDArray[np.float32]],
    outputs: Sequence[NDArray[np.float32]],
    grid: BlockGrid,
    spectra: Callable[[NDArray[np.float64], float], Sequence[Sequence[NDArray[np.complex64] | None]]],
) -> None:
    """Compute sums of convolved images.

    Parameters
    ----------
    inputs : sequence of `~numpy.ndarray`, shape ``grid.shape``
        Images, finite everywhere and zero outside.
    outputs : sequence of `~numpy.ndarray`, shape ``grid.shape``
        Arrays to overwrite with the sums.
    grid : `BlockGrid`
        Its margin must hold the widest kernel.
    spectra : callable
        Called in threads as ``spectra(x, y)`` with nodes of one row of
        blocks, between which its kernels are interpolated. Returns for each
        output, for each input, the spectra (`kernel_spectra`) of the kernels, first
        axis one per node or 1; `None` where the input does not go into the output.
    """
    rows, columns = grid.count
    x, y = grid.centres()
    n, block, margin = grid.transform, grid.block, grid.margin
    height, width = grid.shape

    nodes = np.linspace(x[0], x[-1], max(2, round(columns / BLOCKS_PER_NODE) + 1)) if columns > 1 else x
    place = np.interp(x, nodes, np.arange(len(nodes)))

    def convolve_rows(start: int, stop: int) -> None:
        together = min(TOGETHER, columns)
        buffer = np.empty((together, n, n), np.float32)
        mixed = np.empty((together, n, n // 2 + 1), np.complex64)
        for row in range(start, stop):
            y0 = row * block
            bottom = min(block, height - y0)
            mixtures = spectra(nodes, float(y[row]))
            for first in range(0, columns, TOGETHER):
                chosen = range(first, min(first + TOGETHER, columns))
                part = buffer[: len(chosen)]
                transformed = [_transform(image, part, row, chosen, grid) for image in inputs]
                for output, factors in zip(outputs, mixtures, strict=True):
                    total = mixed[: len(chosen)]
                    is_sum = False
                    for image, factor in zip(transformed, factors, strict=True):
                        if factor is not None:
                            _multiply(image, factor, place[first : chosen.stop], total, is_sum)
                            is_sum = True
                    if not is_sum:
                        total[...] = 0
                    # Only rows to keep need the second half of the inverse transform.
                    back = fft.ifft(total, axis=-2, overwrite_x=True)
                    convolved = fft.irfft(back[:, margin : margin + bottom], n, axis=-1, overwrite_x=True)
                    for k, column in enumerate(chosen):
                        x0 = column * block
                        right = min(block, width - x0)
                        output[y0 : y0 + bottom, x0 : x0 + right] = convolved[k, :, margin : margin + right]

    in_bands(convolve_rows, rows)


@numba.njit(cache=True, nogil=True)
def _multiply(
    image: NDArray[np.complex64],
    factor: NDArray[np.complex64],
    place: NDArray[np.float64],
    total: NDArray[np.complex64],
    is_sum: bool,
) -> None:
    """Compute products of spectra with factors that are interpolated between nodes.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (n_blocks, n, n // 2 + 1)
        The blocks' spectra.
    factor : `~numpy.ndarray`, shape (n_nodes, n or 1, n // 2 + 1 or 1)
        Factors at the nodes; a single node applies everywhere.
    place : `~numpy.ndarray`, shape (n_blocks,)
        Position of each block, in nodes.
    total : `~numpy.ndarray`, shape (n_blocks, n, n // 2 + 1)
        Sum so far, to which the products are added if ``is_sum``; otherwise they replace it.
    is_sum : `bool`
        Whether ``total`` holds a sum.
    """
    n_nodes, n_rows, n_columns = factor.shape
    # Setting every number to 0 first would be one more pass over them.
    if not is_sum and n_columns == 1:
        total[...] = 0
    for k in range(total.shape[0]):
        before = min(int(place[k]), max(n_nodes - 2, 0))
        after = min(before + 1, n_nodes - 1)
        share = np.float32(min(place[k] - before, 1.0))
        rest = np.float32(1) - share
        for j in range(total.shape[1]):
            row = min(j, n_rows - 1)
            if n_columns == 1:
                constant = rest * factor[before, row, 0] + share * factor[after, row, 0]
                for i in range(total.shape[2]):
                    total[k, j, i] += image[k, j, i] * constant
            elif not is_sum:
                for i in range(total.shape[2]):
                    total[k, j, i] = image[k, j, i] * (
                        rest * factor[before, row, i] + share * factor[after, row, i]
                    )
            else:
                for i in range(total.shape[2]):
                    total[k, j, i] += image[k, j, i] * (
                        rest * factor[before, row, i] + share * factor[after, row, i]
                    )


def _transform(
    image: NDArray[np.float32], buffer: NDArray[np.float32], row: int, chosen: range, grid: BlockGrid
) -> NDArray[np.complex64]:
    """Transform some blocks of a row with their margins."""
    height, width = grid.shape
    n, block, margin = grid.transform, grid.block, grid.margin
    top = row * block - margin
    first, last = max(top, 0), min(top + n, height)
    buffer[:, : first - top] = 0
    buffer[:, last - top :] = 0
    for k, column in enumerate(chosen):
        left = column * block - margin
        begin, end = max(left, 0), min(left + n, width)
        buffer[k, :, : begin - left] = 0
        buffer[k, :, end - left :] = 0
        buffer[k, first - top : last - top, begin - left : end - left] = image[first:last, begin:end]
    return np.asarray(fft.rfft2(buffer))
