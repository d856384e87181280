"""Joint fit of difference sources whose light overlaps, so that each is measured without the others."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from prompt_processing.images import Exposure
from prompt_processing.imaging.psf_stamps import SplinePsf, shifted_stamp, spline_at
from prompt_processing.imaging.row_bands import in_bands

from .dia_fits import fit_point
from .dia_pixels import cut

LOBES = 1.7
"""Distance in FWHM below which two sources of opposite sign may be the lobes of one dipole."""

MOST_NEIGHBOURS = 6
"""Largest number of neighbours of a source; more are the residual of a bright star or a streak."""

PASSES = 20
"""Maximum number of fits of each source; sources one FWHM apart need most of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """Point sources near each source, and their joint fit.

    Attributes
    ----------
    first : `~numpy.ndarray` of int64, shape (n + 1,)
        Where each source's neighbours begin in ``index``.
    index : `~numpy.ndarray` of int64
        Numbers of the neighbours.
    points : `~numpy.ndarray`, shape (n, 3)
        Position (pixels) and flux of each source that has neighbours; flux 0 if no point source fits.
    """

    first: NDArray[np.int64]
    index: NDArray[np.int64]
    points: NDArray[np.float64]

    @classmethod
    def of(
        cls, difference: Exposure, peaks: NDArray[np.void], spline: SplinePsf, radius: int, planes: int
    ) -> Neighbours:
        """Fit the sources that have neighbours.

        Parameters
        ----------
        difference : `Exposure`
            Difference with PSF.
        peaks : `~numpy.ndarray` of `dia_detection.PEAK`
            Detections, most significant first.
        spline : `SplinePsf`
            The difference's PSF.
        radius : `int`
            Half width of the squares to fit, pixels.
        planes : `int`
            Mask planes of unusable pixels.

        Notes
        -----
        Each source is fitted with the others' models subtracted, again and again (block Gauss-Seidel), which
        converges to the joint fit. Sources of opposite sign closer than `LOBES` are left together.
        """
        assert difference.psf is not None
        first, index = _near(peaks, 2.0 * radius, LOBES * difference.psf.fwhm_at())
        points = np.zeros((len(peaks), 3))
        if len(index):
            members, begin = _groups(first, index)

            def fit(start: int, stop: int) -> None:
                _fit(
                    *(difference.image, difference.variance, difference.mask, np.int32(planes)),
                    *(spline.splines, spline.order, spline.frame, peaks, radius, first, index, points),
                    members[begin[start] : begin[stop]],
                )

            in_bands(fit, len(begin) - 1)
        return cls(first, index, points)


def _near(peaks: NDArray[np.void], reach: float, lobes: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the neighbours of each peak, as in `Neighbours`."""
    n = len(peaks)
    nothing = np.zeros(n + 1, np.int64), np.zeros(0, np.int64)
    if n < 2:
        return nothing
    at = np.column_stack([peaks["x"], peaks["y"]]).astype(float)
    pairs = cKDTree(at).query_pairs(reach, output_type="ndarray")
    one, two = pairs[:, 0], pairs[:, 1]
    apart = np.hypot(*(at[one] - at[two]).T)
    alike = np.sign(peaks["score"][one]) == np.sign(peaks["score"][two])
    points = (peaks["trail_length"][one] == 0) & (peaks["trail_length"][two] == 0)
    pairs = pairs[points & (alike | (apart >= lobes))]
    crowded = np.bincount(pairs.ravel(), minlength=n) > MOST_NEIGHBOURS
    pairs = pairs[~crowded[pairs].any(axis=1)]
    both = np.concatenate([pairs, pairs[:, ::-1]])
    both = both[np.lexsort(both.T[::-1])]
    first = np.searchsorted(both[:, 0], np.arange(n + 1))
    return first.astype(np.int64), np.ascontiguousarray(both[:, 1], np.int64)


@numba.njit(cache=True, nogil=True)
def _groups(
    first: NDArray[np.int64], index: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the sources with neighbours, by groups that affect each other, and where each group begins."""
    n = len(first) - 1
    found = np.zeros(n, np.bool_)
    members, begin = np.empty(n, np.int64), np.zeros(n + 1, np.int64)
    n_members = n_groups = 0
    for i in range(n):
        if found[i] or first[i] == first[i + 1]:
            continue
        found[i] = True
        members[n_members] = i
        done, n_members = n_members, n_members + 1
        while done < n_members:
            k = members[done]
            for other in index[first[k] : first[k + 1]]:
                if not found[other]:
                    found[other] = True
                    members[n_members] = other
                    n_members += 1
            done += 1
        # Most significant first, as in the list of all.
        members[begin[n_groups] : n_members].sort()
        n_groups += 1
        begin[n_groups] = n_members
    return members[:n_members], begin[: n_groups + 1]


@numba.njit(cache=True, nogil=True)
def subtract_neighbours(
    data: NDArray[np.float64],
    column: int,
    row: int,
    index: NDArray[np.int64],
    points: NDArray[np.float64],
    spline: NDArray[np.float64],
    stamp: NDArray[np.float64],
) -> None:
    """Subtract neighbours' models from a square around a pixel, in place.

    Parameters
    ----------
    data : `~numpy.ndarray`, shape (n, n)
        The square.
    column, row : `int`
        The pixel in its middle.
    index : `~numpy.ndarray` of int64
        Numbers of the neighbours.
    points : `~numpy.ndarray`, shape (n_sources, 3)
        Position and flux of each source.
    spline : `~numpy.ndarray`, shape (size, size)
        Result of `spline_at` nearby.
    stamp : `~numpy.ndarray`, shape (size, size)
        Overwritten.
    """
    n, size = data.shape[0], spline.shape[0]
    for k in index:
        x, y, flux = points[k, 0], points[k, 1], points[k, 2]
        if flux == 0.0:
            continue
        i, j = round(x), round(y)
        scale = flux / shifted_stamp(spline, x - i, y - j, stamp)
        top, left = j - size // 2 - row + n // 2, i - size // 2 - column + n // 2
        for r in range(max(top, 0), min(top + size, n)):
            for c in range(max(left, 0), min(left + size, n)):
                data[r, c] -= scale * stamp[r - top, c - left]


@numba.njit(cache=True, nogil=True)
def _fit(
    image: NDArray[np.float32],
    variance: NDArray[np.float32],
    mask: NDArray[np.int32],
    planes: int,
    splines: NDArray[np.float64],
    order: int,
    frame: NDArray[np.float64],
    peaks: NDArray[np.void],
    radius: int,
    first: NDArray[np.int64],
    index: NDArray[np.int64],
    points: NDArray[np.float64],
    members: NDArray[np.int64],
) -> None:
    size = splines.shape[1]
    spline, stamp = np.empty((size, size)), np.empty((size, size))
    data, noise = np.empty((2 * radius + 1, 2 * radius + 1)), np.empty((2 * radius + 1, 2 * radius + 1))
    result = np.empty(8)
    settled = np.zeros(len(peaks), np.bool_)
    for _ in range(PASSES):
        moving = False
        for i in members:
            if settled[i]:
                continue
            near = index[first[i] : first[i + 1]]
            column, row = int(peaks[i]["x"]), int(peaks[i]["y"])
            spline_at(splines, order, frame, float(column), float(row), spline)
            cut(image, variance, mask, planes, column, row, data, noise)
            subtract_neighbours(data, column, row, near, points, spline, stamp)
            good = fit_point(data, noise, spline, result)
            x, y, flux = column + result[0], row + result[1], result[2]
            if not good or flux * peaks[i]["score"] <= 0:
                x, y, flux = float(column), float(row), 0.0
            old = points[i].copy()
            points[i, 0], points[i, 1], points[i, 2] = x, y, flux
            change = abs(flux - old[2]) > 1e-3 * abs(flux) or abs(x - old[0]) + abs(y - old[1]) > 0.01
            settled[i] = not change
            if change:
                moving = True
                for k in near:
                    settled[k] = False
        if not moving:
            break
