"""Compute WCS and sky region of a detector from the boresight."""

from __future__ import annotations

import math

import numpy as np
from astropy.wcs import WCS, Sip
from lsst.sphgeom import ConvexPolygon, LonLat, UnitVector3d
from numpy.typing import NDArray

from .camera import Camera, Detector


def detector_wcs(
    camera: Camera, detector: Detector, ra: float, dec: float, rotation_deg: float, *, distortion: bool = True
) -> WCS:
    """Predict the WCS of a detector's assembled image.

    Parameters
    ----------
    camera
        Camera, which defines scale, parity and distortion.
    detector
        Detector of that camera.
    ra, dec
        Boresight, ICRS degrees.
    rotation_deg
        Angle of focal-plane +Y, east of north, degrees.
    distortion
        Whether to add the camera's distortion, as SIP terms.

    Returns
    -------
    wcs
        TAN or TAN-SIP about the boresight; (0, 0) is the centre of the
        lower left pixel.

    Notes
    -----
    The reference pixel is at the boresight, usually off the detector, so that
    a radial distortion is an exact SIP polynomial.
    """
    yaw = math.radians(detector.yaw_deg)
    turn = np.array([[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]])
    boresight_pixel = (
        np.array(detector.centre) - turn.T @ np.array([detector.x_mm, detector.y_mm]) / camera.pixel_mm
    )
    rotation = math.radians(rotation_deg)
    east = 1.0 if camera.parity_flipped_x else -1.0
    # Columns: where focal-plane +X and +Y point, in (east, north).
    to_sky = np.array(
        [
            [east * math.cos(rotation), math.sin(rotation)],
            [-east * math.sin(rotation), math.cos(rotation)],
        ]
    )
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = boresight_pixel + 1.0
    wcs.wcs.cd = camera.pixel_scale_arcsec / 3600.0 * to_sky @ turn
    wcs.wcs.radesys = "ICRS"
    if distortion and camera.distortion:
        wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
        wcs.sip = _radial_sip(camera, wcs.wcs.crpix)
    wcs.array_shape = (detector.height, detector.width)
    wcs.wcs.set()
    return wcs


def detector_centre(
    camera: Camera, detector: Detector, ra: float, dec: float, rotation_deg: float
) -> tuple[float, float]:
    """Return the position of a detector's centre, ICRS degrees; arguments as for `detector_wcs`."""
    position = detector_wcs(camera, detector, ra, dec, rotation_deg).all_pix2world([detector.centre], 0)[0]
    return float(position[0]), float(position[1])


def detector_region(
    camera: Camera,
    detector: Detector,
    ra: float,
    dec: float,
    rotation_deg: float,
    *,
    padding_arcsec: float = 0.0,
) -> ConvexPolygon:
    """Return the region of the sky that a detector covers.

    Parameters
    ----------
    camera, detector, ra, dec, rotation_deg
        As for `detector_wcs`.
    padding_arcsec
        Width added on all sides, in addition to the error of the camera's
        distortion model.

    Returns
    -------
    region
        Polygon through the outer corners of the corner pixels.
    """
    field_radius_mm = math.hypot(detector.x_mm, detector.y_mm) + 0.5 * camera.pixel_mm * math.hypot(
        detector.width, detector.height
    )
    padding = (
        padding_arcsec / camera.pixel_scale_arcsec
        + camera.distortion_bound * field_radius_mm / camera.pixel_mm
    )
    left, right = -0.5 - padding, detector.width - 0.5 + padding
    bottom, top = -0.5 - padding, detector.height - 0.5 + padding
    corners = detector_wcs(camera, detector, ra, dec, rotation_deg).all_pix2world(
        [[left, bottom], [right, bottom], [right, top], [left, top]], 0
    )
    return ConvexPolygon([UnitVector3d(LonLat.fromDegrees(lon, lat)) for lon, lat in corners])


def _radial_sip(camera: Camera, crpix: NDArray[np.float64]) -> Sip:
    """Return the camera's radial distortion as forward and inverse SIP coefficients."""
    cubic, quintic = camera.distortion
    cubic, quintic = cubic * camera.pixel_mm**2, quintic * camera.pixel_mm**4
    forward = _radial_coefficients(cubic, quintic)
    # Series reversal of r + cubic r^3 + quintic r^5.
    backward = _radial_coefficients(-cubic, 3 * cubic**2 - quintic)
    return Sip(forward, forward.T.copy(), backward, backward.T.copy(), crpix)


def _radial_coefficients(cubic: float, quintic: float) -> NDArray[np.float64]:
    """Return SIP's A of ``u * (cubic * r**2 + quintic * r**4)``, indexed by powers of u and v."""
    a = np.zeros((6, 6))
    a[3, 0] = a[1, 2] = cubic
    a[5, 0] = a[1, 4] = quintic
    a[3, 2] = 2 * quintic
    return a
