"""Write any smooth map from pixels to the sky as a TAN-SIP WCS."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from astropy.wcs import WCS, Sip
from numpy.typing import NDArray

_ARCSEC = 206264.80624709636


def gnomonic(sky: NDArray[np.float64], tangent: NDArray[np.float64]) -> NDArray[np.float64]:
    """Project positions (n, 2), degrees, on the plane tangent at ``tangent``; arcsec east and north."""
    ra, dec = np.radians(sky).T
    ra0, dec0 = np.radians(tangent)
    cosine = np.sin(dec0) * np.sin(dec) + np.cos(dec0) * np.cos(dec) * np.cos(ra - ra0)
    # Positions on the other half of the sky must not fold onto the plane.
    cosine = np.where(cosine > 1e-3, cosine, np.nan)
    east = np.cos(dec) * np.sin(ra - ra0) / cosine
    north = (np.cos(dec0) * np.sin(dec) - np.sin(dec0) * np.cos(dec) * np.cos(ra - ra0)) / cosine
    return np.column_stack([east, north]) * _ARCSEC


def sky_of_gnomonic(plane: NDArray[np.float64], tangent: NDArray[np.float64]) -> NDArray[np.float64]:
    """Undo `gnomonic`; degrees, RA in 0 to 360."""
    east, north = plane.T / _ARCSEC
    ra0, dec0 = np.radians(tangent)
    depth = np.cos(dec0) - north * np.sin(dec0)
    ra = ra0 + np.arctan2(east, depth)
    dec = np.arctan2(np.sin(dec0) + north * np.cos(dec0), np.hypot(east, depth))
    return np.column_stack([np.degrees(ra) % 360.0, np.degrees(dec)])


def tan_sip_wcs(
    sky: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    shape: tuple[int, int],
    order: int = 3,
    tolerance_mas: float = 1.0,
) -> WCS:
    """Fit a TAN-SIP WCS to a map.

    Parameters
    ----------
    sky : callable
        Map from pixels (n, 2), the first at (0, 0), to ICRS degrees (n, 2).
    shape : `tuple` [`int`, `int`]
        Height and width of the image; the fit reaches a little beyond.
    order : `int`, optional
        Degree of the SIP polynomials; raised by up to 2 where needed.
    tolerance_mas : `float`, optional
        Residual on the fitted grid above which a higher degree is tried.

    Returns
    -------
    wcs : `~astropy.wcs.WCS`
        WCS with the reference pixel in the middle, and the inverse polynomials.
    """
    height, width = shape
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    crval = sky(middle[np.newaxis])[0]
    side = np.linspace(-1.03, 1.03, 15)
    u, v = np.meshgrid(side * width / 2, side * height / 2)
    offsets = np.column_stack([u.ravel(), v.ravel()])
    targets = gnomonic(sky(offsets + middle), crval) / 3600.0
    scale = max(shape) / 2
    for degree in range(order, order + 3):
        powers = [(p, q) for p in range(degree + 1) for q in range(degree + 1 - p)]
        basis = _basis(offsets / scale, powers)
        coefficients = np.linalg.lstsq(basis, targets, rcond=None)[0]
        residual = np.abs(basis @ coefficients - targets).max() * 3.6e6
        if residual < tolerance_mas:
            break
    powers_array = np.array(powers)
    coefficients /= scale ** powers_array.sum(axis=1)[:, np.newaxis]
    cd = np.array([coefficients[powers.index((1, 0))], coefficients[powers.index((0, 1))]]).T
    inverse_cd = np.linalg.inv(cd)
    forward = np.zeros((2, degree + 1, degree + 1))
    for (p, q), value in zip(powers, coefficients, strict=True):
        if p + q >= 2:
            forward[:, p, q] = inverse_cd @ value
    # The reverse polynomials act on undistorted offsets; a reversed series needs one degree more.
    ideal = targets @ inverse_cd.T
    reverse_degree = degree + 1
    reverse_powers = [(p, q) for p in range(reverse_degree + 1) for q in range(reverse_degree + 1 - p)]
    reverse_coefficients = np.linalg.lstsq(
        _basis(ideal / scale, reverse_powers), offsets - ideal, rcond=None
    )[0]
    reverse = np.zeros((2, reverse_degree + 1, reverse_degree + 1))
    for (p, q), value in zip(reverse_powers, reverse_coefficients, strict=True):
        reverse[:, p, q] = value / scale ** (p + q)
    # SIP has no constant term; for a noise-free map the fit's is far below a microarcsecond.
    reverse[:, 0, 0] = 0.0
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crval = crval
    wcs.wcs.crpix = middle + 1.0
    wcs.wcs.cd = cd
    wcs.wcs.radesys = "ICRS"
    wcs.sip = Sip(forward[0], forward[1], reverse[0], reverse[1], wcs.wcs.crpix)
    wcs.array_shape = shape
    wcs.wcs.set()
    return wcs


def _basis(points: NDArray[np.float64], powers: list[tuple[int, int]]) -> NDArray[np.float64]:
    return np.column_stack([points[:, 0] ** p * points[:, 1] ** q for p, q in powers])
