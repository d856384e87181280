"""LATISS: spectrograph of the auxiliary telescope, whose headers have changed most over the years."""

from __future__ import annotations

import re

import astropy.units as u
from astro_metadata_translator import cache_translation
from astropy.coordinates import EarthLocation
from astropy.time import Time

from .lsst import LsstTranslator

_AUXTEL = EarthLocation.from_geodetic(-70.747698 * u.deg, -30.244728 * u.deg, 2663.0 * u.m)
_UNKNOWN_EXPOSURE_TIME = -1.0


class LatissTranslator(LsstTranslator):
    """LATISS."""

    instrument = "LATISS"
    on_telescope_from = Time("2020-01-01T00:00", format="isot", scale="utc")
    site = _AUXTEL
    sees_sky_by_type = True
    unused_rotation = None

    @cache_translation
    def to_detector_num(self) -> int:
        """Return 0, the only detector."""
        return 0

    @cache_translation
    def to_physical_filter(self) -> str:
        """FILTER and GRATING, always both."""
        return "~".join(_opened(self._text(key)) for key in ("FILTER", "GRATING"))

    @cache_translation
    def to_exposure_time(self) -> u.Quantity:
        """EXPTIME; -1 s if missing, as in the Butler's records."""
        seconds = self._number("EXPTIME")
        return (_UNKNOWN_EXPOSURE_TIME if seconds is None else seconds) * u.s

    @cache_translation
    def to_exposure_time_requested(self) -> u.Quantity:
        """EXPTIME; the shutter time is not recorded."""
        return self.to_exposure_time()

    @cache_translation
    def to_dark_time(self) -> u.Quantity:
        """DARKTIME, unless it is shorter than the exposure."""
        seconds, exposure = self._number("DARKTIME"), self.to_exposure_time()
        return exposure if seconds is None or seconds * u.s < exposure else seconds * u.s

    @cache_translation
    def to_observation_type(self) -> str:
        """OBSTYPE or IMGTYPE in lower case; without either, bias for a zero exposure time."""
        kind = self._text("OBSTYPE", "IMGTYPE")
        if kind is None:
            return "bias" if self.to_exposure_time() == 0.0 * u.s else "unknown"
        if kind.lower() == "object" and not self._on_telescope():
            return "labobject"
        return "science" if kind.lower() in {"object", "skyexp"} else kind.lower()

    @cache_translation
    def to_object(self) -> str | None:  # type: ignore[override]  # what the record then has
        """OBJECT; `None` for an image of the sky without one."""
        on_sky = self._on_telescope() and self.to_observation_type() == "science"
        target = self._recorded("OBJECT")
        return target if target is not None or on_sky else "UNKNOWN"

    @cache_translation
    def to_science_program(self) -> str:
        """PROGRAM."""
        program = self._recorded("PROGRAM")
        return "unknown" if program is None else program

    @cache_translation
    def to_can_see_sky(self) -> bool | None:
        """As for all cameras, but laboratory data are distinguished only by bias and dark."""
        vignetting = self._text("VIGN_MIN")
        if self._number("SHUTTIME") == 0.0:
            return False
        if vignetting is not None:
            return {"FULLY": False, "UNKNOWN": None}.get(vignetting, True)
        return self._sees_sky_by_type()


def _opened(name: str | None) -> str:
    """Return the standard name of a wheel's position, with one name for all spellings of empty."""
    if name is None:
        return "unknown"
    return "empty" if re.fullmatch(r"empty.*", name, re.IGNORECASE) else name
