"""Subtract known sources from an image to isolate the others."""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from prompt_processing.images import Psf
from prompt_processing.imaging.psf_stamps import SplinePsf, shifted_stamp, spline_at


def subtract_sources(
    image: NDArray[np.float32],
    psf: Psf,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    flux: NDArray[np.float64],
) -> None:
    """Subtract point sources, in place.

    Parameters
    ----------
    image : `~numpy.ndarray` of float32, shape (height, width)
        Changed in place.
    psf : `~prompt_processing.images.Psf`
        PSF of the image.
    x, y : `~numpy.ndarray`, shape (n,)
        Positions, pixels; those off the image or NaN are skipped.
    flux : `~numpy.ndarray`, shape (n,)
        Unit of the image; NaN counts as 0.
    """
    spline = SplinePsf.of(psf)
    _subtract(image, spline.splines, spline.order, spline.frame, *(
        np.ascontiguousarray(a, np.float64) for a in (x, y, np.nan_to_num(flux))
    ))  # fmt: skip


@numba.njit(cache=True, nogil=True)
def _subtract(
    image: NDArray[np.float32],
    splines: NDArray[np.float64],
    order: int,
    frame: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    flux: NDArray[np.float64],
) -> None:
    height, width = image.shape
    size = splines.shape[1]
    half = size // 2
    spline, stamp = np.empty((size, size)), np.empty((size, size))
    for i in range(x.size):
        inside = math.isfinite(x[i]) and math.isfinite(y[i])
        if not (inside and -half <= x[i] < width + half and -half <= y[i] < height + half) or flux[i] == 0:
            continue
        column, row = int(np.floor(x[i] + 0.5)), int(np.floor(y[i] + 0.5))
        spline_at(splines, order, frame, x[i], y[i], spline)
        scale = flux[i] / shifted_stamp(spline, x[i] - column, y[i] - row, stamp)
        for r in range(max(half - row, 0), min(size, height - row + half)):
            for c in range(max(half - column, 0), min(size, width - column + half)):
                image[row - half + r, column - half + c] -= scale * stamp[r, c]
