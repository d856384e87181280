"""World coordinates of an image from a reference catalogue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from prompt_processing.images import polynomial_terms
from prompt_processing.images.tan_sip import gnomonic, sky_of_gnomonic, tan_sip_wcs
from prompt_processing.imaging.errors import AstrometryError

from .star_matching import match_nearest, rotation_matrix, vote_offset
from .star_patterns import match_field

_MOST_IN_PATTERNS = 150
_SAME_SCALE = 0.02
"""Largest difference of scales that the fits after a match of patterns correct."""


@dataclass(frozen=True, slots=True)
class AstrometryOptions:
    """Options of the matching and the fit.

    Attributes
    ----------
    max_offset_arcsec, max_rotation_deg : `float`
        Largest errors of pointing and rotation that the vote finds.
    by_patterns : `bool`
        Whether larger errors are found too, by a pattern of stars that no chance alignment would have.
    n_bright : `int`
        Number of bright stars of the image used to vote on the offset.
    min_matches : `int`
        Minimum number of matches for a solution.
    min_significance : `float`
        Least excess of the vote over chance, in standard deviations.
    order : `int`
        Degree of the correction to the predicted distortion.
    matches_per_term : `int`
        Stars needed per polynomial term; the degree is lowered if there
        are fewer.
    clip : `float`
        Residuals beyond this many standard deviations are rejected.
    floor_mas : `float`
        Least position error of any star, from the atmosphere and the model.
    max_rms_mas : `float`
        Largest accepted scatter of a solution.
    """

    max_offset_arcsec: float = 45.0
    max_rotation_deg: float = 0.6
    by_patterns: bool = True
    n_bright: int = 150
    min_matches: int = 6
    min_significance: float = 6.0
    order: int = 3
    matches_per_term: int = 5
    clip: float = 4.0
    floor_mas: float = 5.0
    max_rms_mas: float = 300.0


@dataclass(frozen=True, slots=True, eq=False)
class AstrometricFit:
    """An astrometric solution and the matches it is based on.

    Attributes
    ----------
    wcs : `~astropy.wcs.WCS`
        TAN-SIP about the middle of the image.
    source, reference : `~numpy.ndarray` of int, shape (m,)
        Matched rows.
    used : `~numpy.ndarray` of bool, shape (m,)
        Matches that the fit kept.
    rms_mas : `float`
        Residual distance of the used stars, root mean square.
    offset_arcsec, rotation_deg : `float`
        Shift of the image's middle and rotation relative to the prediction.
    order : `int`
        Degree of the correction.
    """

    wcs: WCS
    source: NDArray[np.intp]
    reference: NDArray[np.intp]
    used: NDArray[np.bool_]
    rms_mas: float
    offset_arcsec: float
    rotation_deg: float
    order: int


def fit_wcs(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    flux: NDArray[np.float64],
    position_err: NDArray[np.float64],
    ref_ra: NDArray[np.float64],
    ref_dec: NDArray[np.float64],
    ref_flux: NDArray[np.float64],
    predicted: WCS,
    shape: tuple[int, int],
    options: AstrometryOptions | None = None,
) -> AstrometricFit:
    """Solve for the WCS.

    Parameters
    ----------
    x, y, position_err : `~numpy.ndarray`, shape (n,)
        Positions of sources and the error on each axis, pixels.
    flux : `~numpy.ndarray`, shape (n,)
        Any unit; ranks the sources.
    ref_ra, ref_dec : `~numpy.ndarray`, shape (m,)
        Reference stars, ICRS degrees.
    ref_flux : `~numpy.ndarray`, shape (m,)
        Any unit.
    predicted : `~astropy.wcs.WCS`
        WCS from the announced pointing and the camera's distortion.
    shape : `tuple` [`int`, `int`]
        Height and width of the image.
    options : `AstrometryOptions`, optional

    Returns
    -------
    fit : `AstrometricFit`

    Raises
    ------
    AstrometryError
        Raised for too few stars, no common offset, too few matches, or too much
        scatter.

    Notes
    -----
    The steps work in the plane tangent to the sky at the predicted middle of
    the image: a vote on shift and rotation, or else a match of patterns, affine fits with a shrinking
    radius, then a polynomial correction to the prediction. The camera's
    distortion is thus kept when too few stars constrain it.
    """
    options = options or AstrometryOptions()
    height, width = shape
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    tangent = predicted.all_pix2world([middle], 0)[0]
    pixels = np.column_stack([x, y])
    plane = gnomonic(predicted.all_pix2world(pixels, 0), tangent) if len(x) else np.zeros((0, 2))
    corners = [[0, 0], [width, 0], [0, height], [width, height]]
    corner_plane = gnomonic(predicted.all_pix2world(np.array(corners, float), 0), tangent)
    arcsec_per_pixel = float(np.sqrt(abs(np.linalg.det(predicted.pixel_scale_matrix)))) * 3600
    radius = float(np.hypot(*corner_plane.T).max())
    reach = radius + options.max_offset_arcsec
    reference = gnomonic(np.column_stack([ref_ra, ref_dec]), tangent)
    everywhere, near = reference, np.flatnonzero(np.hypot(*reference.T) < reach)
    if min(len(x), len(near)) < options.min_matches:
        raise AstrometryError(
            "Too few stars for an astrometric solution",
            sources=len(x), references=len(near), needed=options.min_matches,
        )  # fmt: skip
    reference = reference[near]
    try:
        affine, offset, turn = _register(
            plane, flux, reference, ref_flux[near], radius, arcsec_per_pixel, options
        )
    except AstrometryError as error:
        if not options.by_patterns:
            raise
        affine, offset, turn = _register_by_patterns(
            plane, flux, everywhere, ref_flux, shape, arcsec_per_pixel, error
        )
        reference, near = everywhere, np.arange(len(everywhere))
    moved = _apply(affine, plane)
    source, partner = match_nearest(moved, reference, max(1.0, 3 * arcsec_per_pixel))
    correction, used, order = _fit_correction(
        pixels[source], plane[source], reference[partner], position_err[source] * arcsec_per_pixel,
        middle, max(shape) / 2, options,
    )  # fmt: skip
    scaled = (pixels - middle) / (max(shape) / 2)
    fitted = plane + polynomial_terms(scaled[:, 0], scaled[:, 1], order) @ correction
    # Repeat with the full model, to match stars that the affine model placed too far off.
    source, partner = match_nearest(fitted, reference, max(0.5, 2 * arcsec_per_pixel))
    correction, used, order = _fit_correction(
        pixels[source], plane[source], reference[partner], position_err[source] * arcsec_per_pixel,
        middle, max(shape) / 2, options,
    )  # fmt: skip
    fitted = plane + polynomial_terms(scaled[:, 0], scaled[:, 1], order) @ correction
    residual = np.hypot(*(fitted[source] - reference[partner])[used].T)
    n_used = int(used.sum())
    rms_mas = float(np.sqrt(np.mean(residual**2)) * 1000) if n_used else float("nan")
    if n_used < options.min_matches or not rms_mas < options.max_rms_mas:
        raise AstrometryError(
            "The astrometric solution is too poor",
            matches=n_used, needed=options.min_matches, rms_mas=rms_mas, sources=len(x),
            references=len(near),
        )  # fmt: skip
    wcs = _as_sip(predicted, tangent, correction, order, shape)
    return AstrometricFit(wcs, source, near[partner], used, rms_mas, offset, np.degrees(turn), order)


def _register(
    plane: NDArray[np.float64],
    flux: NDArray[np.float64],
    reference: NDArray[np.float64],
    ref_flux: NDArray[np.float64],
    radius: float,
    arcsec_per_pixel: float,
    options: AstrometryOptions,
) -> tuple[NDArray[np.float64], float, float]:
    """Find the affine map (3, 2) from the predicted plane to the reference's, with its shift and rotation."""
    bright = np.argsort(-flux)[: options.n_bright]
    # The circle of references reaches beyond the image, so more are needed to include its brightest.
    area_ratio = (radius + options.max_offset_arcsec) ** 2 * np.pi / (2 * radius**2)
    n_reference = int(options.n_bright * min(area_ratio * 1.2, 6.0))
    bright_reference = np.argsort(-ref_flux)[:n_reference]
    cell = max(1.5, 3 * arcsec_per_pixel)
    vote = vote_offset(
        plane[bright],
        reference[bright_reference],
        options.max_offset_arcsec,
        np.radians(options.max_rotation_deg),
        cell,
    )
    if vote.votes < options.min_matches - 1 or vote.significance < options.min_significance:
        raise AstrometryError(
            "No offset brings the image's stars onto the reference catalogue",
            votes=vote.votes, expected_by_chance=vote.expected, significance=vote.significance,
            sources=len(bright), references=len(bright_reference),
            max_offset_arcsec=options.max_offset_arcsec,
        )  # fmt: skip
    matrix = rotation_matrix(vote.rotation)
    affine = np.vstack([vote.shift, matrix.T])
    rows = np.argsort(-flux)[: 4 * options.n_bright]
    for reach in (2.0 * cell, 1.0 * cell, 0.5 * cell):
        source, partner = match_nearest(_apply(affine, plane[rows]), reference, reach)
        if len(source) < options.min_matches:
            raise AstrometryError(
                "Too few stars near the reference catalogue's",
                matches=len(source), within_arcsec=reach, votes=vote.votes, needed=options.min_matches,
            )  # fmt: skip
        affine = _fit_affine(plane[rows][source], reference[partner], len(source) >= 12)
    turn = float(np.arctan2(affine[1, 1] - affine[2, 0], affine[1, 0] + affine[2, 1]))
    return affine, float(np.hypot(*affine[0])), turn


def _register_by_patterns(
    plane: NDArray[np.float64],
    flux: NDArray[np.float64],
    reference: NDArray[np.float64],
    ref_flux: NDArray[np.float64],
    shape: tuple[int, int],
    arcsec_per_pixel: float,
    error: AstrometryError,
) -> tuple[NDArray[np.float64], float, float]:
    """Find the affine map, its shift and rotation where these are larger than expected, by patterns of stars.

    Mounts without encoders point arcminutes off, and a camera that was taken off the telescope is rotated.
    """
    brightest = np.argsort(-flux)[:_MOST_IN_PATTERNS]
    by_flux = np.argsort(-ref_flux)
    match = match_field(plane[brightest] / arcsec_per_pixel, reference[by_flux] / arcsec_per_pixel, shape)
    if match is None:
        raise error
    if match.mirrored:
        raise AstrometryError(
            "The image is mirrored: parity_flipped_x in the instrument's description is wrong",
            matches=len(match.first),
        )
    if abs(match.scale - 1) > _SAME_SCALE:
        raise AstrometryError(
            "The image has another scale: plate_scale_arcsec_per_mm in the instrument's description is wrong",
            matches=len(match.first), factor=1 / match.scale,
        )  # fmt: skip
    to_sky = np.linalg.inv(match.matrix)
    shift = -to_sky @ match.offset * arcsec_per_pixel
    affine = np.vstack([shift, to_sky.T])
    return affine, float(np.hypot(*shift)), float(np.arctan2(to_sky[1, 0], to_sky[0, 0]))


def _apply(affine: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(affine[0] + points @ affine[1:])


def _fit_affine(points: NDArray[np.float64], targets: NDArray[np.float64], free: bool) -> NDArray[np.float64]:
    """Fit an affine map, or a rigid motion if not ``free``, with clipping; shape (3, 2)."""
    keep = np.ones(len(points), np.bool_)
    affine: NDArray[np.float64] = np.zeros((3, 2))
    for _ in range(4):
        p, t = points[keep], targets[keep]
        if free:
            affine = np.asarray(
                np.linalg.lstsq(np.column_stack([np.ones(len(p)), p]), t, rcond=None)[0], float
            )
        else:
            centre_p, centre_t = p.mean(axis=0), t.mean(axis=0)
            u, _, vt = np.linalg.svd((p - centre_p).T @ (t - centre_t))
            rotation = u @ np.diag([1.0, np.linalg.det(u @ vt)]) @ vt
            affine = np.vstack([centre_t - centre_p @ rotation, rotation])
        distance = np.hypot(*(_apply(affine, points) - targets).T)
        new = distance <= 3.0 * max(float(np.median(distance[keep])), 0.02)
        if np.array_equal(new, keep) or np.count_nonzero(new) < 3:
            break
        keep = new
    return affine


def _fit_correction(
    pixels: NDArray[np.float64],
    plane: NDArray[np.float64],
    targets: NDArray[np.float64],
    error: NDArray[np.float64],
    middle: NDArray[np.float64],
    scale: float,
    options: AstrometryOptions,
) -> tuple[NDArray[np.float64], NDArray[np.bool_], int]:
    """Fit ``targets - plane`` (arcsec) by polynomials; return coefficients, the rows used, and the degree."""
    order = 1
    for candidate in range(options.order, 1, -1):
        if len(pixels) >= options.matches_per_term * (candidate + 1) * (candidate + 2) // 2:
            order = candidate
            break
    scaled = (pixels - middle) / scale
    terms = polynomial_terms(scaled[:, 0], scaled[:, 1], order)
    difference = targets - plane
    sigma = np.hypot(np.where(np.isfinite(error), error, np.inf), options.floor_mas / 1000)
    weight = np.where(np.isfinite(sigma), 1.0 / sigma, 0.0)
    keep = weight > 0
    coefficients = np.zeros((terms.shape[1], 2))
    for _ in range(8):
        if np.count_nonzero(keep) < terms.shape[1]:
            break
        w = (weight * keep)[:, np.newaxis]
        coefficients = np.linalg.lstsq(terms * w, difference * w, rcond=None)[0]
        pulls = np.hypot(*(difference - terms @ coefficients).T) * weight
        # For a two-dimensional normal the median distance is 1.1774 sigma.
        scatter = max(float(np.median(pulls[keep])) / 1.1774, 0.5)
        new = (weight > 0) & (pulls < options.clip * scatter)
        if np.array_equal(new, keep):
            break
        keep = new
    return coefficients, keep, order


def _as_sip(
    predicted: WCS,
    tangent: NDArray[np.float64],
    correction: NDArray[np.float64],
    order: int,
    shape: tuple[int, int],
) -> WCS:
    """Write prediction plus correction as one TAN-SIP WCS."""
    height, width = shape
    middle = np.array([(width - 1) / 2, (height - 1) / 2])

    def sky(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        scaled = (pixels - middle) / (max(shape) / 2)
        plane = gnomonic(predicted.all_pix2world(pixels, 0), tangent)
        plane = plane + polynomial_terms(scaled[:, 0], scaled[:, 1], order) @ correction
        return sky_of_gnomonic(plane, tangent)

    return tan_sip_wcs(sky, shape)
