"""IRAF's TNX and ZPX projections, which wcslib does not know.

Source: the definition of TNX by the NOAO mosaic project, of ZPX by IRAF's ``zpx``; both store their
surfaces in ``WATi_nnn`` strings.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from astropy.io import fits
from numpy.polynomial import chebyshev, legendre, polynomial
from numpy.typing import NDArray

Surface = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]
"""Correction, degrees, at standard coordinates, degrees."""

_BASES = {1: chebyshev.chebval2d, 2: legendre.legval2d, 3: polynomial.polyval2d}


@dataclass(frozen=True, slots=True, eq=False)
class _Axis:
    """Contents of the ``WATi`` strings of one axis."""

    surface: Surface
    radial: tuple[float, ...]


def plane_to_native(header: fits.Header, longitude: int) -> Callable[..., tuple[NDArray[np.float64], ...]]:
    """Return the map from the undistorted plane to the distorted one.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Header with ``CTYPE1``, ``CTYPE2`` of TNX or ZPX and their ``WAT`` strings.
    longitude : `int`
        FITS axis (1 or 2) of right ascension.

    Returns
    -------
    plane : callable
        Map from (xi, eta), degrees, arrays of one shape, to those of a gnomonic projection.

    Raises
    ------
    ValueError
        Raised if the strings are missing or cannot be parsed.
    """
    axes = [_axis(header, axis, name) for axis, name in ((longitude, "lngcor"), (3 - longitude, "latcor"))]
    zenithal = str(header[f"CTYPE{longitude}"]).endswith("ZPX")
    radial = (axes[0].radial or axes[1].radial) if zenithal else ()

    def plane(xi: NDArray[np.float64], eta: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        east = xi + axes[0].surface(xi, eta)
        north = eta + axes[1].surface(xi, eta)
        if not radial:
            return east, north
        # The zenith distance whose polynomial is the radius, by Newton's method; then its tangent.
        radius = np.radians(np.hypot(east, north))
        distance = radius.copy()
        slope = polynomial.polyder(np.asarray(radial))
        for _ in range(20):
            distance -= (polynomial.polyval(distance, radial) - radius) / polynomial.polyval(distance, slope)
        with np.errstate(invalid="ignore", divide="ignore"):
            stretch = np.where(radius > 0, np.tan(distance) / radius, 1.0)
        return east * stretch, north * stretch

    return plane


def _axis(header: fits.Header, axis: int, name: str) -> _Axis:
    text, number = "", 1
    while (part := header.get(f"WAT{axis}_{number:03d}")) is not None:
        # Readers strip the trailing blanks that a string in the middle may have.
        text += str(part).ljust(68)
        number += 1
    if not text:
        raise ValueError(f"WAT{axis}_001 is missing")
    match = re.search(rf'{name}\s*=\s*"([^"]*)"', text)
    try:
        surface = _surface([float(word) for word in match[1].split()]) if match else _no_correction
    except ValueError as error:
        raise ValueError(f"{name} in WAT{axis}_001 cannot be read ({error})") from error
    terms = {int(index): float(value) for index, value in re.findall(r"projp(\d+)\s*=\s*([-+.\deE]+)", text)}
    radial = tuple(terms.get(index, 0.0) for index in range(max(terms, default=-1) + 1))
    return _Axis(surface, radial)


def _no_correction(xi: NDArray[np.float64], eta: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.zeros_like(xi + eta)


def _surface(numbers: list[float]) -> Surface:
    """Decode a surface: kind, orders, cross terms, limits, coefficients."""
    if len(numbers) < 9:
        raise ValueError("a distortion surface of WAT is cut off")
    kind, x_order, y_order, cross = (round(value) for value in numbers[:4])
    x_low, x_high, y_low, y_high = numbers[4:8]
    if kind not in _BASES:
        raise ValueError(f"WAT has a distortion surface of unknown kind {kind}")
    coefficients = np.zeros((x_order, y_order))
    values = iter(numbers[8:])
    try:
        for j in range(y_order):
            # Cross terms: 0 none, 1 all, 2 those up to the larger of the orders.
            terms = {0: x_order if j == 0 else 1, 1: x_order}.get(
                cross, min(x_order, max(x_order, y_order) - j)
            )
            for i in range(terms):
                coefficients[i, j] = next(values)
    except StopIteration:
        raise ValueError("a distortion surface of WAT is cut off") from None

    def surface(xi: NDArray[np.float64], eta: NDArray[np.float64]) -> NDArray[np.float64]:
        if kind != 3:
            xi = (2 * xi - (x_high + x_low)) / (x_high - x_low)
            eta = (2 * eta - (y_high + y_low)) / (y_high - y_low)
        return np.asarray(_BASES[kind](xi, eta, coefficients))

    return surface
