"""Solve pointing, rotation, parity and scale of an image from its stars."""

from __future__ import annotations

import math
from dataclasses import dataclass

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from numpy.typing import NDArray

from prompt_processing.imaging.calibration.background import estimate_sky
from prompt_processing.imaging.calibration.detection import detect
from prompt_processing.imaging.calibration.star_patterns import match_field
from prompt_processing.instruments import Camera, Detector, detector_wcs

__all__ = ["Solution", "find_stars", "solution_of_wcs", "solve"]

_MOST_STARS = 150
_FWHM_PIXELS = 3.0


@dataclass(frozen=True, slots=True)
class Solution:
    """Where an image points.

    Attributes
    ----------
    ra, dec
        Boresight, ICRS degrees.
    rotation
        Angle of focal-plane +Y, east of north, degrees.
    parity_flipped_x
        Whether focal-plane +X points east when +Y points north.
    scale_arcsec
        Size of a pixel.
    n_stars
        Number of stars that coincide; 0 for a WCS of the header.
    rms_pixels
        Their distance.
    """

    ra: float
    dec: float
    rotation: float
    parity_flipped_x: bool
    scale_arcsec: float
    n_stars: int
    rms_pixels: float


def find_stars(image: NDArray[np.float32]) -> NDArray[np.float64]:
    """Find the stars of an image, brightest first.

    Parameters
    ----------
    image
        Assembled image.

    Returns
    -------
    positions : `~numpy.ndarray`, shape (n, 2)
        Columns x and y, pixels.
    """
    sky = estimate_sky(image)
    flat = np.ascontiguousarray(image - sky.background.image(), np.float32)
    found = detect(flat, sky.rms.image(), _FWHM_PIXELS, threshold=8.0, min_pixels=5)
    order = np.argsort(-found.flux)
    # Single hot pixels are sharper than the filter.
    sharp = found.catalogue["b"][order] < 0.7
    positions = np.column_stack([found.catalogue["x"][order], found.catalogue["y"][order]])
    return np.asarray(positions[~sharp], np.float64)[:_MOST_STARS]


def solve(
    stars: NDArray[np.float64],
    camera: Camera,
    detector: Detector,
    shape: tuple[int, int],
    catalogue: NDArray[np.float64],
    near: tuple[float, float],
) -> Solution | None:
    """Match an image's stars to a catalogue.

    Parameters
    ----------
    stars
        Positions from `find_stars`.
    camera, detector
        Their scale is the first guess; parity and rotation are free.
    shape
        Height and width of the image, pixels.
    catalogue : `~numpy.ndarray`, shape (n, 2)
        Right ascension and declination of reference stars, degrees, brightest first.
    near
        Approximate position of the image's centre, degrees.

    Returns
    -------
    solution
        `None` if no pattern of stars is common to both.
    """
    height, width = shape
    scale = camera.pixel_scale_arcsec
    diagonal = math.hypot(height, width)
    middle = SkyCoord(*near, unit=u.deg)
    sky = SkyCoord(catalogue[:, 0], catalogue[:, 1], unit=u.deg)
    within = np.flatnonzero(middle.separation(sky) < 3 * diagonal * scale * u.arcsec)
    if len(within) < 4 or len(stars) < 4:
        return None
    tangent = WCS(naxis=2)
    tangent.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    tangent.wcs.crval = near
    tangent.wcs.cd = np.eye(2) * scale / 3600
    tangent.wcs.set()
    # In pixels of the camera, x to the east and y to the north of the centre.
    plane = tangent.all_world2pix(catalogue[within], 0) - tangent.all_world2pix([near], 0)
    match = match_field(stars, plane, shape)
    if match is None:
        return None
    to_sky = np.linalg.inv(match.matrix)
    offset = -to_sky @ match.offset
    return _solution(camera, detector, to_sky, offset, tangent, near, len(match.first), match.rms)


def _solution(
    camera: Camera,
    detector: Detector,
    to_sky: NDArray[np.float64],
    offset: NDArray[np.float64],
    tangent: WCS,
    near: tuple[float, float],
    n_stars: int,
    rms: float,
) -> Solution:
    """Convert the map from image pixels to the tangent plane (pixels, east and north)."""
    yaw = math.radians(detector.yaw_deg)
    turn = np.array([[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]])
    # Where focal-plane +X and +Y point.
    axes = to_sky @ turn.T
    wcs = detector_wcs(camera, detector, *near, 0.0, distortion=False)
    boresight = to_sky @ (np.asarray(wcs.wcs.crpix) - 1) + offset
    position = tangent.all_pix2world([boresight + tangent.all_world2pix([near], 0)[0]], 0)[0]
    return Solution(
        ra=float(position[0]),
        dec=float(position[1]),
        rotation=math.degrees(math.atan2(axes[0, 1], axes[1, 1])) % 360,
        parity_flipped_x=bool(np.linalg.det(axes) > 0),
        scale_arcsec=camera.pixel_scale_arcsec * math.sqrt(abs(float(np.linalg.det(to_sky)))),
        n_stars=n_stars,
        rms_pixels=rms,
    )


def solution_of_wcs(camera: Camera, detector: Detector, wcs: WCS, shape: tuple[int, int]) -> Solution:
    """Return what a header's WCS says; the reference point is the image's centre."""
    height, width = shape
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    near = tuple(float(value) for value in wcs.all_pix2world([centre], 0)[0])
    tangent = WCS(naxis=2)
    tangent.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    tangent.wcs.crval = near
    tangent.wcs.cd = np.eye(2) * camera.pixel_scale_arcsec / 3600
    tangent.wcs.set()
    points = centre + np.array([[0.0, 0.0], [width / 4, 0.0], [0.0, height / 4]])
    plane = tangent.all_world2pix(wcs.all_pix2world(points, 0), 0) - tangent.all_world2pix([near], 0)
    to_sky = np.column_stack([(plane[1] - plane[0]) / (width / 4), (plane[2] - plane[0]) / (height / 4)])
    offset = plane[0] - to_sky @ centre
    return _solution(camera, detector, to_sky, offset, tangent, (near[0], near[1]), 0, 0.0)
