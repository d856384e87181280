"""Smooth background on a low-resolution grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """Sky background of an image.

    Attributes
    ----------
    values : `~numpy.ndarray` of float32, shape (n_rows, n_columns)
        Level at the centre of each box, in the unit of the image.
    box_size
        Width of a box, pixels.
    shape
        Height and width of the image.
    """

    values: NDArray[np.float32]
    box_size: int
    shape: tuple[int, int]

    def image(self) -> NDArray[np.float32]:
        """Interpolate to every pixel with a bicubic spline; shape (height, width)."""
        return self.rows(0, self.shape[0])

    def rows(self, start: int, stop: int) -> NDArray[np.float32]:
        """Interpolate to the pixels of some rows; shape (stop - start, width)."""
        return self.by_rows()(start, stop)

    def by_rows(self) -> Callable[[int, int], NDArray[np.float32]]:
        """Return a function that interpolates to the pixels of rows ``start`` to ``stop``.

        What all rows share is computed once.
        """
        return self._interpolator(
            np.arange(self.shape[0], dtype=float), np.arange(self.shape[1], dtype=float)
        )

    @property
    def centres(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Rows and columns of the centres of the boxes, pixels."""
        (height, width), (rows, columns) = self.shape, self.values.shape
        y = np.minimum((np.arange(rows) + 0.5) * self.box_size, height) - 0.5
        x = np.minimum((np.arange(columns) + 0.5) * self.box_size, width) - 0.5
        return y, x

    def at(self, y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float32]:
        """Interpolate to a grid of rows and columns (pixels); shape (len(y), len(x))."""
        return self._interpolator(y, x)(0, len(y))

    def _interpolator(
        self, y: NDArray[np.float64], x: NDArray[np.float64]
    ) -> Callable[[int, int], NDArray[np.float32]]:
        """Return a function that interpolates to a part of the rows ``y``, and to all columns ``x``."""
        if min(self.values.shape) < 2:
            level = float(self.values.mean())
            return lambda start, stop: np.full((stop - start, len(x)), level, np.float32)
        along_y, along_x = self._weights(y, x)
        of_columns_only = self.values.astype(np.float32) @ along_x.T
        return lambda start, stop: along_y[start:stop] @ of_columns_only

    def at_points(self, y: NDArray[np.integer], x: NDArray[np.integer]) -> NDArray[np.float32]:
        """Interpolate to pixels at rows ``y`` and columns ``x``, both of shape (n,); shape (n,)."""
        if min(self.values.shape) < 2:
            return np.full(len(y), float(self.values.mean()), np.float32)
        along_y, along_x = self._weights(np.asarray(y, float), np.asarray(x, float))
        return np.asarray(np.sum((along_y @ self.values.astype(np.float32)) * along_x, axis=1))

    def _weights(
        self, y: NDArray[np.float64], x: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the weights of the grid's rows and columns, shapes (len(y), n_rows), (len(x), n_columns)."""
        # Imported late: it takes half a second, which would delay a worker that starts for a visit.
        from scipy.interpolate import make_interp_spline

        rows, columns = self.values.shape
        of_rows, of_columns = self.centres
        # Constant outside the outermost centres: an extrapolated cubic diverges.
        at_y = np.clip(y, of_rows[0], of_rows[-1])
        at_x = np.clip(x, of_columns[0], of_columns[-1])
        # An interpolating spline is linear in its values: two small products instead of 16 million sums.
        along_y = make_interp_spline(of_rows, np.eye(rows), k=min(3, rows - 1))(at_y)
        along_x = make_interp_spline(of_columns, np.eye(columns), k=min(3, columns - 1))(at_x)
        return along_y.astype(np.float32), along_x.astype(np.float32)

    def write_fits(self, path: str | Path) -> None:
        """Write the grid as one image with its box size and full shape in the header."""
        hdu = fits.PrimaryHDU(self.values.astype(np.float32))
        hdu.header["BOXSIZE"] = (self.box_size, "[pix] width of a box")
        hdu.header["HEIGHT"] = (self.shape[0], "[pix] of the full image")
        hdu.header["WIDTH"] = (self.shape[1], "[pix] of the full image")
        hdu.writeto(path, overwrite=True)

    @classmethod
    def read_fits(cls, path: str | Path) -> Background:
        """Read the grid of `write_fits`."""
        with fits.open(path) as hdus:
            header = hdus[0].header
            values = np.asarray(hdus[0].data, np.float32)
        return cls(values, int(header["BOXSIZE"]), (int(header["HEIGHT"]), int(header["WIDTH"])))
