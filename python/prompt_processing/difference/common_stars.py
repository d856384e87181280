"""Align images by their stars where the headers do not: by star patterns, or by a few common stars."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sep
from astropy.wcs import WCS
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from prompt_processing.imaging.calibration.star_patterns import match_patterns

from .prepare import PreparedImage

PATTERN_STARS = 300
"""Number of brightest sources of each image that form the patterns."""

NEAR_PIXELS, FAR_PIXELS = 20.0, 60.0
"""Largest header errors considered where stars are few; the shift with most pairs is taken. The second
one holds if at least `AGREEING` stars agree on it."""

AGREEING = 3
"""Stars that hardly agree on a shift by chance, where there are few."""

SAME_PIXELS = 1.5
"""Distance within which two sources are the same."""

HEADER_PIXELS = 6.0
"""Usual error of headers; larger shifts need ..."""
HEADER_BONUS = 2
"""... this many more stars where cosmic rays may outnumber the stars."""

MIN_SNR = 10.0
"""Least signal-to-noise ratio of the compared stars."""


@dataclass(frozen=True, slots=True, eq=False)
class FewStars:
    """Alignment and flux ratio from a handful of common stars.

    Attributes
    ----------
    wcs : `~astropy.wcs.WCS`
        The science image's, shifted onto the template's stars.
    offset : `float`
        Size of that shift, pixels.
    stars : `int`
        Stars in common.
    flux_ratio : `float`
        The science image's fluxes over the template's.
    """

    wcs: WCS
    offset: float
    stars: int
    flux_ratio: float


def pixel_wcs(shape: tuple[int, int]) -> WCS:
    """Return a stand-in for a WCS: a tangential projection of one arcsecond a pixel about (0, 0)."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [0.0, 0.0]
    wcs.wcs.crpix = [(shape[1] + 1) / 2, (shape[0] + 1) / 2]
    wcs.wcs.cd = np.diag([-1.0, 1.0]) / 3600
    wcs.wcs.set()
    return wcs


def pattern_frames(
    science: PreparedImage, template: PreparedImage, aligned_within: float
) -> tuple[WCS, WCS] | None:
    """Return stand-ins for both images' WCS under which the patterns of their stars coincide.

    Returns `None` if no pattern is common to both. Where the images turn out to be aligned (shifted by less
    than ``aligned_within`` pixels), the stand-ins are the same.
    """
    height, width = science.exposure.shape
    match = match_patterns(_positions(science), _positions(template), float(height * width))
    if match is None:
        return None
    first = pixel_wcs(science.exposure.shape)
    second = first.deepcopy()
    same = np.abs(match.matrix - np.eye(2)).max() < 0.01 and np.hypot(*match.offset) < aligned_within
    if same and science.exposure.shape == template.exposure.shape:
        return first, second
    # The template's pixel that lies on the science image's reference pixel; FITS counts from 1.
    second.wcs.crpix = np.linalg.solve(match.matrix, np.asarray(first.wcs.crpix) - 1 - match.offset) + 1
    second.wcs.cd = first.wcs.cd @ match.matrix
    second.wcs.set()
    return first, second


def _positions(image: PreparedImage) -> NDArray[np.float64]:
    stars = image.stars[np.asarray(image.stars["snr"]) > MIN_SNR]
    chosen = stars[np.asarray(stars["clean"], bool)]
    if len(chosen) < 10:
        chosen = stars
    return np.column_stack([chosen["x"], chosen["y"]]).astype(float)[:PATTERN_STARS]


def few_common_stars(
    science: PreparedImage,
    template: PreparedImage,
    science_wcs: WCS,
    template_wcs: WCS,
    agreeing: int = 1,
) -> FewStars | None:
    """Compare the stars of two images that have too few for an astrometric solution.

    Parameters
    ----------
    science, template : `PreparedImage`
        The images.
    science_wcs, template_wcs : `~astropy.wcs.WCS`
        On a common sky.
    agreeing : `int`, optional
        Minimum number of stars that must agree on a shift. Several may do so less exactly than one.

    Returns
    -------
    few : `FewStars` or `None`
        `None` if the images have no star in common.
    """
    one, two = (i.stars[(np.asarray(i.stars["snr"]) > MIN_SNR)] for i in (science, template))
    if not len(one) or not len(two):
        return None
    ra, dec = template_wcs.all_pix2world(np.asarray(two["x"], float), np.asarray(two["y"], float), 0)
    x, y = science_wcs.all_world2pix(ra, dec, 0, quiet=True)
    said = np.column_stack([x, y])
    is_ = np.column_stack([one["x"], one["y"]]).astype(float)
    finite = np.isfinite(said).all(axis=1)
    differences = (is_[:, np.newaxis] - said[finite]).reshape(-1, 2)
    differences = differences[np.hypot(*differences.T) < FAR_PIXELS]
    if not len(differences):
        return None
    tree = cKDTree(differences)
    same = SAME_PIXELS if agreeing == 1 else 2 * SAME_PIXELS
    counts = np.array([len(near) for near in tree.query_ball_point(differences, same)])
    if agreeing > 1:
        # Cosmic rays agree by chance under any shift, stars under the header's own.
        counts -= HEADER_BONUS * (np.hypot(*differences.T) > HEADER_PIXELS)
    # Of shifts that as many stars agree on, the smallest.
    best = np.lexsort((np.hypot(*differences.T), -counts))[0]
    if agreeing > 1:
        # Where there are many, some agree by chance.
        agreeing += int(3 * len(differences) * (same / FAR_PIXELS) ** 2)
    if counts[best] < (agreeing if np.hypot(*differences[best]) < NEAR_PIXELS else max(agreeing, AGREEING)):
        return None
    shift = np.median(differences[tree.query_ball_point(differences[best], same)], axis=0)
    distance, partner = cKDTree(is_).query(np.where(finite[:, np.newaxis], said, 1e9) + shift)
    rows = np.flatnonzero(distance < same)
    if not len(rows):
        return None
    wcs = science_wcs.deepcopy()
    wcs.wcs.crpix = np.asarray(wcs.wcs.crpix) + shift
    wcs.wcs.set()
    scale = float(
        np.sqrt(abs(np.linalg.det(template_wcs.pixel_scale_matrix / science_wcs.pixel_scale_matrix.max())))
    )
    scale /= float(
        np.sqrt(abs(np.linalg.det(science_wcs.pixel_scale_matrix / science_wcs.pixel_scale_matrix.max())))
    )
    radius = 2.0 * max(science.fwhm, template.fwhm * scale)
    fluxes = []
    for image, table, size in ((science, one[partner[rows]], radius), (template, two[rows], radius / scale)):
        flux, _, _ = sep.sum_circle(
            image.exposure.image, np.asarray(table["x"], float), np.asarray(table["y"], float), size, subpix=5
        )
        fluxes.append(np.asarray(flux, float))
    good = (fluxes[0] > 0) & (fluxes[1] > 0)
    clean = good & np.asarray(one["clean"][partner[rows]], bool) & np.asarray(two["clean"][rows], bool)
    good = clean if clean.any() else good
    if not good.any():
        return None
    # Weighted by flux: of few stars the brightest has the best position.
    ratios, weights = np.log(fluxes[0][good] / fluxes[1][good]), np.sqrt(fluxes[0][good])
    order = np.argsort(ratios)
    middle = ratios[order][np.searchsorted(np.cumsum(weights[order]), 0.5 * weights.sum())]
    return FewStars(wcs, float(np.hypot(*shift)), len(rows), float(np.exp(middle)))
