"""Translate headers of LSST's simulated cameras, and of the test stand of its rafts."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import MutableMapping

import astropy.units as u
from astro_metadata_translator import cache_translation
from astropy.coordinates import AltAz, Angle, EarthLocation, SkyCoord
from astropy.time import Time, TimeDelta
from astropy.utils.exceptions import AstropyWarning

from ..errors import HeaderError
from ..raw_key import detector_number
from .lsst import LsstTranslator

_STAND_COUNTS_FROM = Time("2023-05-24T23:00:00", format="isot", scale="tai")
_STAND_ROLLOVER = TimeDelta(8 * 3600, format="sec", scale="tai")
_STAND_FILTERS = {2: "g", 3: "r", 4: "i", 5: "z", 6: "y"}
"""Filters of the stand's first wheel."""
_TRIGGER = "HIERARCH PROMPT TRIGGER"
"""Where a corrected header keeps the date of which early exposure ids were made."""


class CamSimTranslator(LsstTranslator):
    """LSSTCamSim: rehearsals with simulated images of LSSTCam, which has no laboratory data."""

    instrument = "LSSTCamSim"
    sees_sky_by_type = True

    @cache_translation
    def to_has_simulated_content(self) -> bool:
        """Return `True`."""
        return True


class ComCamSimTranslator(CamSimTranslator):
    """LSSTComCamSim."""

    instrument = "LSSTComCamSim"

    @cache_translation
    def to_altaz_begin(self) -> AltAz | None:
        """ELSTART and AZSTART, or else the altitude of the airmass, and azimuth 0.

        The times of the first rehearsals do not agree with their airmasses: nothing better can be computed.
        """
        if self._value("ELSTART") is not None and self._value("AZSTART") is not None:
            return super().to_altaz_begin()
        if self._value("RA") is None or self._value("DEC") is None:
            return None
        altitude = 45.0
        if self._on_sky():
            airmass = self._number("AMSTART")
            if airmass is None:
                return None
            altitude = math.degrees(math.asin(1 / max(airmass, 1.0)))
        return AltAz(
            az=0.0 * u.deg,
            alt=altitude * u.deg,
            obstime=self.to_datetime_begin(),
            location=self.to_location(),
        )


class _RunTranslator(LsstTranslator):
    """Exposures that belong to a run, and have no target."""

    @cache_translation
    def to_science_program(self) -> str:
        """RUNNUM."""
        return self._text("RUNNUM") or "unknown"

    @cache_translation
    def to_object(self) -> str:
        """Return "UNKNOWN": nothing is named."""
        return "UNKNOWN"


class ImSimTranslator(_RunTranslator, CamSimTranslator):
    """LSSTCam-imSim: images of LSSTCam by imSim, whose headers are its own."""

    instrument = "LSSTCam-imSim"

    def _day_and_sequence(self) -> tuple[int, int]:
        # Its days are those of TAI, and nothing is counted.
        return int(self.to_datetime_begin().tai.strftime("%Y%m%d")), 0

    @cache_translation
    def to_exposure_id(self) -> int:
        """OBSID, a number."""
        value = self.to_observation_id()
        if not re.fullmatch(r"\d{1,18}", value, re.ASCII):
            raise HeaderError("OBSID", f"{value!r} is not a number.")
        return int(value)

    @cache_translation
    def to_exposure_group(self) -> str:
        """Id of the exposure."""
        return str(self.to_exposure_id())

    @cache_translation
    def to_detector_num(self) -> int:
        """Id, from RAFTNAME and SENSNAME."""
        raft, sensor = self._text("RAFTNAME"), self._text("SENSNAME")
        number = detector_number(self.instrument, raft or "", sensor or "")
        if number is None:
            raise HeaderError("RAFTNAME", f"{self.instrument} has no detector {raft}_{sensor}.")
        return number

    @cache_translation
    def to_physical_filter(self) -> str:
        """FILTER, with the version of the throughputs where it is recorded."""
        name = self._text("FILTER")
        if name is None:
            raise HeaderError("FILTER", "is missing.")
        for key, value in self._header.items():
            if key.startswith("PKG") and value == "throughputs":
                version = self._text(key.replace("PKG", "VER", 1))
                return name if version is None else f"{name}_sim_{version}"
        return name

    @cache_translation
    def to_tracking_radec(self) -> SkyCoord | None:
        """RATEL and DECTEL."""
        frame = (self._text("RADESYS") or "ICRS").lower()
        ra, dec = self._number("RATEL"), self._number("DECTEL")
        if ra is None or dec is None or frame == "gappt":
            return None
        if not -90 <= dec <= 90:
            raise HeaderError("DECTEL", f"{dec} is not a declination in degrees.")
        return SkyCoord(ra, dec, unit=u.deg, frame="fk5" if frame == "fk5" else "icrs").icrs

    @cache_translation
    def to_boresight_rotation_coord(self) -> str:
        """Return "sky"."""
        return "sky"

    @cache_translation
    def to_boresight_rotation_angle(self) -> Angle | None:
        """90 degrees minus ROTANGLE."""
        angle = self._number("ROTANGLE")
        return None if angle is None else Angle((90.0 - angle) % 360.0, unit=u.deg)

    @cache_translation
    def to_location(self) -> EarthLocation:
        """Location of the telescope."""
        return self.site

    @cache_translation
    def to_altaz_begin(self) -> AltAz | None:
        """HASTART and DECTEL, or else the pointing at the begin."""
        pointing = self.to_tracking_radec()
        if pointing is None or self.to_observation_type() != "science":
            return None
        hour_angle, declination = self._number("HASTART"), self._number("DECTEL")
        if hour_angle is None or declination is None:
            with warnings.catch_warnings():
                # Its nights may lie beyond the tables of the Earth's rotation.
                warnings.simplefilter("ignore", AstropyWarning)
                frame = AltAz(obstime=self.to_datetime_begin(), location=self.site)
                return pointing.transform_to(frame).frame
        azimuth, altitude = _horizontal(hour_angle, declination, self.site.lat.deg)
        return AltAz(
            az=azimuth * u.deg, alt=altitude * u.deg, obstime=self.to_datetime_begin(), location=self.site
        )


class TestStandTranslator(_RunTranslator):
    """LSST-TS8: rafts in the laboratory."""

    __test__ = False  # Not a test, whatever its name.
    instrument = "LSST-TS8"

    @classmethod
    def fix_header(
        cls, header: MutableMapping[str, object], instrument: str, obsid: str, filename: str | None = None
    ) -> bool:
        """Replace a date that is that of the end."""
        trigger, seconds = header.get("DATE-TRG"), header.get("EXPTIME")
        if not trigger or header.get("DATE-OBS") != trigger or not isinstance(seconds, int | float):
            return False
        scale = str(header.get("TIMESYS") or "utc").lower()
        try:
            if header.get("MJD-OBS"):
                end = Time(header["MJD-OBS"], format="mjd", scale=scale)
            else:
                end = Time(trigger, format="isot", scale=scale)
        except ValueError:
            return False
        header.setdefault("DATE-END", trigger)
        begin = end - TimeDelta(seconds, format="sec", scale="tai")
        header.update({_TRIGGER: trigger, "DATE-OBS": begin.isot, "DATE-BEG": begin.isot})
        header.update({"MJD-OBS": float(begin.mjd), "MJD-BEG": float(begin.mjd)})
        return True

    def _on_telescope(self) -> bool:
        return False

    def _day_and_sequence(self) -> tuple[int, int]:
        sequence = self._number("SEQNUM")
        day = self._text("DAYOBS") or (self.to_datetime_begin().tai - _STAND_ROLLOVER).strftime("%Y%m%d")
        if not re.fullmatch(r"\d{8}", day):
            raise HeaderError("DAYOBS", f"{day!r} is not YYYYMMDD.")
        return int(day), int(sequence or 0)

    @cache_translation
    def to_observation_id(self) -> str:
        """OBSID, or else the file's name."""
        name = self._text("OBSID")
        if name is None and (file := self._text("FILENAME")) is not None:
            name = file.rpartition(".")[0]
        if not name:
            raise HeaderError("OBSID", "is missing.")
        return name

    @cache_translation
    def to_exposure_id(self) -> int:
        """Day and number; before they were unique, the tenths of seconds of the date."""
        begun = self.to_datetime_begin()
        if begun > _STAND_COUNTS_FROM and self.to_observation_id().startswith("TS_C_"):
            return super().to_exposure_id()
        digits = re.sub(r"\D", "", (self._text(_TRIGGER, "DATE-OBS") or "")[:21])
        if not digits:
            raise HeaderError("DATE-OBS", "is missing.")
        return int(digits)

    @cache_translation
    def to_physical_filter(self) -> str:
        """The wheel's position in early headers, then the usual keywords."""
        if "FILTPOS" in self._header:
            return _STAND_FILTERS.get(int(self._number("FILTPOS") or 0), "unknown")
        name = super().to_physical_filter()
        return "unknown" if "unspecified" in name else name

    @cache_translation
    def to_exposure_time(self) -> u.Quantity:
        """EXPTIME."""
        return self.to_exposure_time_requested()

    @cache_translation
    def to_tracking_radec(self) -> None:
        """Return `None`."""
        return

    @cache_translation
    def to_boresight_rotation_angle(self) -> None:
        """Return `None`."""
        return


def _horizontal(hour_angle: float, declination: float, latitude: float) -> tuple[float, float]:
    """Return azimuth (from north through east) and altitude; all angles are degrees."""
    h, d, p = (math.radians(angle) for angle in (hour_angle, declination, latitude))
    x = math.sin(d) * math.cos(p) - math.cos(d) * math.cos(h) * math.sin(p)
    y = -math.cos(d) * math.sin(h)
    z = math.sin(d) * math.sin(p) + math.cos(d) * math.cos(h) * math.cos(p)
    return math.degrees(math.atan2(y, x)) % 360.0, math.degrees(math.atan2(z, math.hypot(x, y)))
