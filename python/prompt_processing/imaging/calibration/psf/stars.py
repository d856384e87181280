"""Choose the stars of an image by their profiles: the smallest sources that look alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numba
import numpy as np
import sep
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from prompt_processing.images import Mask, polynomial_terms
from prompt_processing.images.robust import MAD_TO_SIGMA

from ..source_profiles import fwhm_of

SHARPEST_SIGMA = 0.5
"""Least sigma of a star along its narrower axis, pixels, set by the pixels themselves. Only cosmic rays and
hot pixels are sharper."""

MISFIT = 0.15
"""Share of its squared light by which a star may differ from a Gaussian; blends and tracks differ more."""

WINDOW = 0.14
"""Spread of the logarithm of the stars' widths in one image, apart from blends and noise."""

SHARE = 0.3
"""A window with this share of the fullest one's sources is a separate peak ..."""

ENOUGH = 8
"""... and so is a window with this many, ..."""

STEEP = 3
"""... unless one that begins within its width has so many times more: then it is the foot of that peak."""

BRIGHTEST = 150
"""Number of sources from which the stars' width is measured."""

ELLIPTICITY_SCATTER = 0.12
"""Spread of stars about their common ellipticity."""

APERTURE = 3.0
"""Radius within which the light of stars and galaxies is compared, FWHM."""

WIDER, LEAST_SPREAD = 2.0, 0.01
"""A source whose half-light radius exceeds that of stars by so many times their scatter is a galaxy, or has
faint neighbours; and the least scatter, as a share of the radius."""

STARS_PER_TERM = 10
"""Number of stars for each term of the variation of their half-light radius."""


@dataclass(frozen=True, slots=True, eq=False)
class StarWidths:
    """Widths of sources, and the stars among them, before a PSF is known.

    Attributes
    ----------
    stars : `~numpy.ndarray` of bool, shape (n,)
        Whether each source is a star, blended or not.
    fwhm : `float`
        Their common width, pixels; NaN without any.
    widths : `~numpy.ndarray`, shape (n,)
        Widths of all sources, pixels; NaN where not measurable.
    sharp : `int`
        Number of sources sharper than any star: cosmic rays and hot pixels.
    """

    stars: NDArray[np.bool_]
    fwhm: float
    widths: NDArray[np.float64]
    sharp: int

    def describe(self) -> str:
        """Return a summary of the measured widths, for a message."""
        known = self.widths[np.isfinite(self.widths)]
        if not len(known):
            return (
                f"{len(self.widths)} sources were detected; none has a measurable width; {self.sharp} are as "
                "sharp as cosmic rays or hot pixels"
            )
        low, middle, high = np.percentile(known, [10, 50, 90])
        return (
            f"{len(self.widths)} sources were detected; {len(known)} are significant and have widths from "
            f"{low:.1f} to {high:.1f} pixels (median {middle:.1f}); {self.sharp} more are as sharp as cosmic "
            "rays or hot pixels"
        )


def find_stars(profiles: NDArray[np.void], snr: NDArray[np.float64], min_snr: float = 20.0) -> StarWidths:
    """Find the stars among sources.

    Parameters
    ----------
    profiles : `~numpy.ndarray` of `source_profiles.PROFILE`, shape (n,)
        Profiles of all sources.
    snr : `~numpy.ndarray`, shape (n,)
        Signal-to-noise ratios of the sources.
    min_snr : `float`, optional
        Least signal-to-noise ratio of sources with reliable widths; halved if they are too few.

    Notes
    -----
    Stars are the smallest sources that look like a point seen through an atmosphere, not the commonest: in a
    cluster of galaxies, a nebula or a deep field larger sources outnumber them.
    """
    trace = profiles["xx"] + profiles["yy"]
    with np.errstate(invalid="ignore", divide="ignore"):
        e1, e2 = (profiles["xx"] - profiles["yy"]) / trace, 2 * profiles["xy"] / trace
    narrow = 0.5 * trace - 0.5 * np.hypot(profiles["xx"] - profiles["yy"], 2 * profiles["xy"])
    sharp = profiles["good"] & ~(narrow > SHARPEST_SIGMA**2)
    known = profiles["good"] & ~sharp & np.isfinite(snr)
    widths = np.where(known & (snr > 0.5 * min_snr), fwhm_of(profiles), np.nan)
    like_psf = known & (profiles["misfit"] < MISFIT) & ((profiles["planes"] & int(Mask.SAT)) == 0)
    chosen = like_psf & (snr > min_snr)
    if np.count_nonzero(chosen) < 5:
        chosen = like_psf & (snr > 0.5 * min_snr)
    n_sharp = int(np.count_nonzero(sharp & (snr > 0.5 * min_snr)))
    rows = np.flatnonzero(chosen)
    # The brightest: in a crowded field neighbours broaden the faint ones.
    rows = np.sort(rows[np.argsort(-snr[rows])][:BRIGHTEST])
    if not len(rows):
        return StarWidths(np.zeros(len(snr), np.bool_), float("nan"), widths, n_sharp)
    width, shape = np.log(widths), np.stack([e1, e2], axis=-1)
    middle, ellipticity = _smallest_peak(width[rows], shape[rows])
    noise = 1.5 / np.maximum(snr, 1.0)
    near = np.abs(width - middle) < np.maximum(0.6 * WINDOW, 3 * noise)
    with np.errstate(invalid="ignore"):
        near &= np.hypot(*(shape - ellipticity).T) < ELLIPTICITY_SCATTER + 3 * noise
    return StarWidths(near & chosen, float(np.exp(middle)), widths, n_sharp)


def _smallest_peak(
    widths: NDArray[np.float64], shapes: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """Return the logarithm of the width, and the ellipticity, of the smallest group of similar sources."""
    order = np.argsort(widths)
    widths, shapes = widths[order], shapes[order]
    last = np.searchsorted(widths, widths + WINDOW, side="right")
    counts = _alike(np.ascontiguousarray(shapes), last, 1.5 * ELLIPTICITY_SCATTER)
    least = max(min(3, len(widths)), min(SHARE * counts.max(), ENOUGH))
    enough = np.flatnonzero(counts >= least)
    first = int(enough[0]) if len(enough) else int(np.argmax(counts))
    near = counts[first : last[first]]
    if near.max() > STEEP * near[0]:
        first += int(np.argmax(near))
    middle = float(np.median(widths[first : last[first]]))
    for _ in range(20):
        near = np.abs(widths - middle) < 0.8 * WINDOW
        moved = float(np.median(widths[near]))
        if abs(moved - middle) < 1e-4:
            break
        middle = moved
    near = np.abs(widths - middle) < 0.6 * WINDOW
    return middle, np.median(shapes[near], axis=0)


@numba.njit(cache=True, nogil=True)
def _alike(shapes: NDArray[np.float64], last: NDArray[np.int64], scatter: float) -> NDArray[np.int64]:
    """Count, from each source to the last of its group, those with about the group's median ellipticity."""
    counts = np.zeros(len(shapes), np.int64)
    for first in range(len(shapes)):
        part = shapes[first : last[first]]
        one, two = np.median(part[:, 0]), np.median(part[:, 1])
        for source in range(len(part)):
            counts[first] += np.hypot(part[source, 0] - one, part[source, 1] - two) < scatter
    return counts


def isolated(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    light: NDArray[np.float64],
    rows: NDArray[np.intp],
    radius: float,
    share: float,
) -> NDArray[np.bool_]:
    """Return which rows have no neighbour within a radius (pixels) with some share of their light."""
    tree = cKDTree(np.column_stack([x, y]))
    alone = np.ones(len(rows), np.bool_)
    near = cast("list[list[int]]", tree.query_ball_point(np.column_stack([x[rows], y[rows]]), radius))
    for k, neighbours in enumerate(near):
        others = [n for n in neighbours if n != rows[k]]
        alone[k] = not others or float(np.max(light[others])) < share * light[rows[k]]
    return alone


def without_halo(
    image: NDArray[np.float32], x: NDArray[np.float64], y: NDArray[np.float64], fwhm: float
) -> NDArray[np.bool_]:
    """Return which sources have no more light around their cores than the others.

    The core of a compact galaxy resembles a star. Its wings do not, and would make those of a PSF too bright.

    Parameters
    ----------
    image : `~numpy.ndarray` of float32, shape (height, width)
        Background-subtracted image.
    x, y : `~numpy.ndarray`, shape (n,)
        Positions of sources as wide as stars, pixels.
    fwhm : `float`
        Width of stars, pixels.

    Returns
    -------
    kept : `~numpy.ndarray` of bool, shape (n,)
        All of them if fewer than `STARS_PER_TERM` can be measured.
    """
    everything = np.ones(len(x), np.bool_)
    if len(x) < STARS_PER_TERM:
        return everything
    half_light, _ = sep.flux_radius(image, x, y, np.full(len(x), APERTURE * fwhm), 0.5, subpix=5)
    finite = np.isfinite(half_light)
    if np.count_nonzero(finite) < STARS_PER_TERM:
        return everything
    order = max(o for o in (0, 1, 2) if (o + 1) * (o + 2) // 2 * STARS_PER_TERM <= len(x))
    height, width = image.shape
    terms = polynomial_terms(2 * x / width - 1, 2 * y / height - 1, order)
    common = terms @ np.linalg.lstsq(terms[finite], half_light[finite], rcond=None)[0]
    excess = half_light / common - 1
    middle = float(np.median(excess[finite]))
    spread = MAD_TO_SIGMA * float(np.median(np.abs(excess[finite] - middle)))
    return np.asarray(finite & (excess < middle + WIDER * max(spread, LEAST_SPREAD)))
