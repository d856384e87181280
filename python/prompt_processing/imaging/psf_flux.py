"""Forced PSF photometry: fluxes at fixed positions, with only the flux fitted."""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from prompt_processing.images import UNUSABLE, Exposure, Mask

from .psf_stamps import SplinePsf, shifted_stamp, spline_at
from .row_bands import in_bands

MINIMUM_USABLE_WEIGHT = 0.5
"""Share of ``sum(psf**2)`` that must fall on usable pixels for a valid flux."""


def forced_psf_flux(
    exposure: Exposure, x: ArrayLike, y: ArrayLike, unusable: int = int(UNUSABLE)
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int32]]:
    """Measure PSF fluxes at fixed positions.

    Parameters
    ----------
    exposure : `Exposure`
        Background-subtracted, with a PSF.
    x, y : array_like, shape (n,)
        Positions, pixels; may lie off the image or be NaN.
    unusable : `int`, optional
        Mask planes whose pixels are left out of the fit.

    Returns
    -------
    flux, err : `~numpy.ndarray` of float64, shape (n,)
        In the image's unit; NaN where less than half of the PSF's weight
        falls on usable pixels.
    flags : `~numpy.ndarray` of int32, shape (n,)
        The `Mask` planes of the 3 x 3 pixels around the position, with
        ``EDGE`` where part of the stamp is off the image and ``NO_DATA``
        where the position itself is.

    Raises
    ------
    ValueError
        Raised if the exposure has no PSF.

    Notes
    -----
    All usable pixels have the same weight: weights from a variance plane that
    contains the source's own photon noise would bias bright fluxes low. The
    error is propagated from the variance plane.
    """
    if exposure.psf is None:
        raise ValueError("Forced photometry needs an exposure with a PSF.")
    px = np.atleast_1d(np.asarray(x, np.float64))
    py = np.atleast_1d(np.asarray(y, np.float64))
    spline = SplinePsf.of(exposure.psf)
    px, py = np.ascontiguousarray(px), np.ascontiguousarray(py)
    flux, err = np.full(px.size, np.nan), np.full(px.size, np.nan)
    flags = np.zeros(px.size, np.int32)

    def measure(start: int, stop: int) -> None:
        _forced_fluxes(
            *(exposure.image, exposure.mask, exposure.variance),
            *(spline.splines, spline.order, spline.frame),
            *(px, py, np.int32(int(unusable)), np.int32(int(Mask.EDGE)), np.int32(int(Mask.NO_DATA))),
            *(flux, err, flags, start, stop),
        )

    in_bands(measure, px.size)
    return flux, err, flags


@numba.njit(cache=True, nogil=True)
def _forced_fluxes(
    image: NDArray[np.float32],
    mask: NDArray[np.int32],
    variance: NDArray[np.float32],
    splines: NDArray[np.float64],
    order: int,
    frame: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    unusable: int,
    edge: int,
    no_data: int,
    flux: NDArray[np.float64],
    err: NDArray[np.float64],
    flags: NDArray[np.int32],
    start: int,
    stop: int,
) -> None:
    height, width = image.shape
    size = splines.shape[1]
    half = size // 2
    spline = np.empty((size, size))
    stamp = np.empty((size, size))
    for i in range(start, stop):
        inside = math.isfinite(x[i]) and math.isfinite(y[i])
        if not (inside and -0.5 <= x[i] < width - 0.5 and -0.5 <= y[i] < height - 0.5):
            flags[i] = edge | no_data
            continue
        column, row = int(np.floor(x[i] + 0.5)), int(np.floor(y[i] + 0.5))
        spline_at(splines, order, frame, x[i], y[i], spline)
        total = shifted_stamp(spline, x[i] - column, y[i] - row, stamp)
        weight_all = weight = signal = noise = 0.0
        flag = 0
        for r in range(size):
            j = row - half + r
            for c in range(size):
                k = column - half + c
                p = stamp[r, c] / total
                weight_all += p * p
                if j < 0 or j >= height or k < 0 or k >= width:
                    flag |= edge
                    continue
                if abs(r - half) <= 1 and abs(c - half) <= 1:
                    flag |= mask[j, k]
                v = variance[j, k]
                d = image[j, k]
                if (mask[j, k] & unusable) or not (v > 0) or not math.isfinite(v) or not math.isfinite(d):
                    continue
                weight += p * p
                signal += p * d
                noise += p * p * v
        flags[i] = flag
        if weight > MINIMUM_USABLE_WEIGHT * weight_all:
            flux[i] = signal / weight
            err[i] = math.sqrt(noise) / weight
