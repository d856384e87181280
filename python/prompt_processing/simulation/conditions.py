"""Conditions that change between exposures: atmosphere, sky and pointing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prompt_processing.images.photo_calib import NJY_ZERO_POINT
from prompt_processing.instruments import load_instrument

from .point_spread import PointSpread

SKY_MAGNITUDE = {"u": 22.9, "g": 22.2, "r": 21.1, "i": 20.4, "z": 19.5, "y": 18.6, "white": 20.5}
"""Dark sky at the zenith, AB magnitudes per square arcsec."""

EXTINCTION = {"u": 0.45, "g": 0.20, "r": 0.12, "i": 0.08, "z": 0.05, "y": 0.06, "white": 0.12}
"""Magnitudes per unit of airmass."""


@dataclass(frozen=True, slots=True, eq=False)
class ObservingConditions:
    """Conditions of one exposure.

    Attributes
    ----------
    band : `str`
    exposure_time
        Seconds.
    psf : `PointSpread`
    airmass : `float`
    zero_point
        AB magnitude of one electron per second, through air and cloud.
    sky_magnitude
        Observed sky, AB magnitudes per square arcsec.
    sky_gradient
        Relative change of the sky per degree east and north.
    pointing_error
        True minus announced pointing, arcsec east and north.
    rotation_error
        True minus announced rotation, degrees.
    """

    band: str
    exposure_time: float
    psf: PointSpread
    airmass: float
    zero_point: float
    sky_magnitude: float
    sky_gradient: tuple[float, float] = (0.0, 0.0)
    pointing_error: tuple[float, float] = (0.0, 0.0)
    rotation_error: float = 0.0

    @property
    def electrons_per_njy(self) -> float:
        """Electrons per nJy in the exposure."""
        return float(10 ** (0.4 * (self.zero_point - NJY_ZERO_POINT)) * self.exposure_time)

    def sky_electrons(self, pixel_arcsec: float) -> float:
        """Return the sky's electrons in a pixel at the boresight."""
        rate = 10 ** (0.4 * (self.zero_point - self.sky_magnitude))
        return float(rate * self.exposure_time * pixel_arcsec**2)


def draw_conditions(
    rng: np.random.Generator,
    instrument: str,
    band: str,
    exposure_time: float = 30.0,
    seeing: float | None = None,
    pointing_error_arcsec: float = 1.5,
) -> ObservingConditions:
    """Draw the conditions of an exposure.

    Parameters
    ----------
    rng : `~numpy.random.Generator`
    instrument
        Short name; its description has zero points by band, and a typical seeing.
    band
        Band; one without a zero point has that of r.
    exposure_time
        Seconds.
    seeing
        FWHM, arcsec; drawn around the instrument's by default.
    pointing_error_arcsec
        Rms pointing error on each axis, arcsec.
    """
    typical = load_instrument(instrument).simulation
    if seeing is None:
        median = typical.seeing
        seeing = float(np.clip(median * np.exp(rng.normal(0, 0.12)), 0.75 * median, 1.4 * median))
    # Narrow bands and gratings have no row.
    known = band if band in typical.zero_points and band in EXTINCTION else "r"
    airmass = float(1 + abs(rng.normal(0, 0.2)))
    cloud = abs(float(rng.normal(0, 0.03)))
    return ObservingConditions(
        band=band,
        exposure_time=exposure_time,
        psf=PointSpread.draw(rng, seeing),
        airmass=airmass,
        zero_point=typical.zero_points[known] - EXTINCTION[known] * airmass - cloud,
        sky_magnitude=SKY_MAGNITUDE[known] - 0.3 * (airmass - 1) + float(rng.normal(0, 0.1)),
        sky_gradient=(float(rng.normal(0, 0.2)), float(rng.normal(0, 0.2))),
        pointing_error=(
            float(rng.normal(0, pointing_error_arcsec)),
            float(rng.normal(0, pointing_error_arcsec)),
        ),
        rotation_error=float(rng.normal(0, 0.01)),
    )
