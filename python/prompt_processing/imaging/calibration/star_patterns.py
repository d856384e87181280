"""Align two images of one field by their stars alone: rotated, mirrored or scaled."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

BRIGHTEST = 50
"""Number of stars of each image that form triangles."""

NEIGHBOURS = 6
"""Number of nearest stars with which each star forms triangles."""

ALIKE = 0.02
"""Largest difference of the side ratios of two matching triangles."""

SIMILAR = 0.03
"""Largest difference of the scales along two axes: images of one field are not sheared."""

MOST_TRIALS = 3000
"""Number of pairs of similar triangles to try, the most similar first."""

CHANCE = 1e-4
"""Largest expected number of chance alignments with as many coincident stars."""

FIELD_REACHES = (0.6, 1.0)
"""Radii within which stars of a field are tried, in diagonals of the image."""

MOST_OF_FIELD = 300
"""Number of stars of a field that are tried at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class PatternMatch:
    """The map between two images' pixels.

    Attributes
    ----------
    matrix : `~numpy.ndarray`, shape (2, 2)
    offset : `~numpy.ndarray`, shape (2,)
        ``first = matrix @ second + offset``, pixels.
    first, second : `~numpy.ndarray` of int, shape (n,)
        Rows of the stars that coincide.
    rms : `float`
        Root mean square distance between them, pixels of the first image.
    """

    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]
    first: NDArray[np.intp]
    second: NDArray[np.intp]
    rms: float

    @property
    def scale(self) -> float:
        """Return the width of the second image's pixels in those of the first."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix))))

    @property
    def mirrored(self) -> bool:
        """Return whether one image is a mirror image of the other."""
        return bool(np.linalg.det(self.matrix) < 0)


def match_patterns(
    first: NDArray[np.float64], second: NDArray[np.float64], area: float, tolerance: float = 2.0
) -> PatternMatch | None:
    """Match two lists of stars.

    Parameters
    ----------
    first, second : `~numpy.ndarray`, shape (n, 2)
        Positions ``x, y`` in each image, pixels, brightest first.
    area : `float`
        Area of the first image, pixels.
    tolerance : `float`, optional
        Distance within which stars coincide, pixels of the first image.

    Returns
    -------
    match : `PatternMatch` or `None`
        `None` if no alignment has more coincident stars than chance.

    Notes
    -----
    The idea is that of Groth 1986, AJ 91, 1244, and of Valdes et al. 1995, PASP 107, 1119: a triangle's
    ratios of sides do not depend on the image's rotation. All other stars must confirm the map that two
    triangles propose.
    """
    one, two = first[:BRIGHTEST], second[:BRIGHTEST]
    if min(len(one), len(two)) < 3:
        return None
    corners1, ratios1 = _triangles(one)
    corners2, ratios2 = _triangles(two)
    pairs = cKDTree(ratios1).sparse_distance_matrix(cKDTree(ratios2), ALIKE, output_type="coo_matrix")
    order = np.argsort(pairs.data)[:MOST_TRIALS]
    tree = cKDTree(one)
    best: PatternMatch | None = None
    for i, j in zip(pairs.row[order], pairs.col[order], strict=True):
        fit = _affine(one[corners1[i]], two[corners2[j]])
        if fit is None:
            continue
        found = _coincident(tree, two, *fit, tolerance, one)
        if best is None or len(found.first) > len(best.first):
            best = found
            if len(found.first) > 0.6 * min(len(one), len(two)) and len(found.first) > 9:
                break
    if best is None:
        return None
    best = _refined(first, second, best, tolerance)
    return best if _is_no_chance(best, first, second, area, tolerance) else None


def match_field(
    stars: NDArray[np.float64], field: NDArray[np.float64], shape: tuple[float, float]
) -> PatternMatch | None:
    """Match an image's stars to those of a larger field around it.

    Parameters
    ----------
    stars : `~numpy.ndarray`, shape (n, 2)
        Positions ``x, y`` in the image, pixels, brightest first.
    field : `~numpy.ndarray`, shape (m, 2)
        Positions on the sky in pixels of about the same size, from the predicted middle of the image,
        brightest first.
    shape
        Height and width of the image, pixels.

    Returns
    -------
    match : `PatternMatch` or `None`
        Its second rows are those of ``field``. `None` if no pattern is common to both.
    """
    height, width = shape
    diagonal = float(np.hypot(height, width))
    angles = np.arange(8) * np.pi / 4
    ring = 0.6 * diagonal * np.column_stack([np.cos(angles), np.sin(angles)])
    distance = [np.hypot(*(field - shift).T) for shift in (np.zeros(2), *ring)]
    for reach in FIELD_REACHES:
        for apart in distance:
            chosen = np.flatnonzero(apart < reach * diagonal)[:MOST_OF_FIELD]
            match = match_patterns(stars, field[chosen], height * width) if len(chosen) > 3 else None
            if match is not None:
                return replace(match, second=chosen[match.second])
    return None


def _triangles(points: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return triangles (corners opposite to the longest side first) and two ratios of their sides."""
    n = min(NEIGHBOURS + 1, len(points))
    near = np.atleast_2d(np.asarray(cKDTree(points).query(points, n)[1], np.intp))
    found = {tuple(sorted((row[0], a, b))) for row in near for a, b in combinations(row[1:], 2)}
    # The brightest stars also form large triangles, which match where faint stars differ.
    found |= set(combinations(range(min(10, len(points))), 3))
    corners = np.array(sorted(found), np.intp)
    at = points[corners]
    sides = np.stack([np.hypot(*(at[:, (k + 1) % 3] - at[:, (k + 2) % 3]).T) for k in range(3)], axis=-1)
    order = np.argsort(-sides, axis=1)
    sides = np.take_along_axis(sides, order, 1)
    corners = np.take_along_axis(corners, order, 1)
    # With equal sides the corners are ambiguous.
    good = (sides[:, 2] > 0.1 * sides[:, 0]) & (sides[:, 0] - sides[:, 1] > 0.02 * sides[:, 0])
    good &= sides[:, 1] - sides[:, 2] > 0.02 * sides[:, 0]
    if not good.any():
        return np.zeros((1, 3), np.intp), np.full((1, 2), np.inf)
    return corners[good], (sides[:, 1:] / sides[:, :1])[good]


def _affine(
    one: NDArray[np.float64], two: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return the map between points if it only rotates, scales, mirrors and shifts; `None` if it shears."""
    design = np.column_stack([two, np.ones(len(two))])
    solution, _, rank, _ = np.linalg.lstsq(design, one, rcond=None)
    if rank < 3:
        return None
    matrix = solution[:2].T
    values = np.linalg.svd(matrix, compute_uv=False)
    if not values[1] > (1 - SIMILAR) * values[0] > 0:
        return None
    return matrix, solution[2]


def _coincident(
    tree: cKDTree,
    two: NDArray[np.float64],
    matrix: NDArray[np.float64],
    offset: NDArray[np.float64],
    tolerance: float,
    one: NDArray[np.float64],
) -> PatternMatch:
    """Return the stars that coincide under a map, each with only one other."""
    found = tree.query(two @ matrix.T + offset, distance_upper_bound=tolerance)
    distance, index = np.asarray(found[0], float), np.asarray(found[1], np.intp)
    rows = np.flatnonzero(np.isfinite(distance))
    rows = rows[np.argsort(distance[rows], kind="stable")]
    _, unique = np.unique(index[rows], return_index=True)
    rows = rows[unique]
    rms = float(np.sqrt(np.mean(distance[rows] ** 2))) if len(rows) else np.inf
    return PatternMatch(matrix, offset, index[rows].astype(np.intp), rows.astype(np.intp), rms)


def _refined(
    first: NDArray[np.float64], second: NDArray[np.float64], match: PatternMatch, tolerance: float
) -> PatternMatch:
    """Fit the map to all coincident stars of the whole lists."""
    tree = cKDTree(first)
    for _ in range(5):
        if len(match.first) < 3:
            break
        fit = _affine(first[match.first], second[match.second])
        if fit is None:
            break
        match = _coincident(tree, second, *fit, tolerance, first)
    return match


def _is_no_chance(
    match: PatternMatch,
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    area: float,
    tolerance: float,
) -> bool:
    """Return whether more stars coincide than any chance alignment would have."""
    n = len(match.first)
    if n < 4:
        return False
    # Probability that a star of the second image coincides by chance with one of the first.
    share = min(len(first) * np.pi * tolerance**2 / area, 0.5)
    trials = len(second)
    expected = share * trials
    # Three stars define a map; the rest must exceed chance (Poisson's upper tail) over all maps tried.
    free = n - 3
    terms = np.arange(free, free + 60)
    log_terms = (
        terms * np.log(expected) - expected - np.array([np.sum(np.log(np.arange(1, k + 1))) for k in terms])
    )
    return bool(
        MOST_TRIALS * np.exp(log_terms).sum() < CHANCE or (n >= 0.8 * min(len(first), len(second)) and n >= 5)
    )
