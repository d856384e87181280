"""Translate headers of the LSST cameras and their header service for astro_metadata_translator.

The rules agree with the observatory's translators in every field of an exposure
record, since a registry rejects a second, different record of an exposure.
Errors in some headers are corrected first (`header_corrections`).
"""

from __future__ import annotations

import math
import re
from collections.abc import MutableMapping
from typing import Any, ClassVar

import astropy.units as u
from astro_metadata_translator import FitsTranslator, cache_translation
from astropy.coordinates import ICRS, AltAz, Angle, EarthLocation, SkyCoord
from astropy.time import Time

from ..errors import HeaderError
from ..header_corrections import begin_of, correct_header
from ..raw_key import SIMULATED_CONTROLLERS, detector_number, lsst_exposure_id

_OBS_ID = re.compile(r"[A-Z]{2}_[A-Z]_(\d{8})_(\d{5,6})")
_SIMONYI = EarthLocation.from_geodetic(-70.749417 * u.deg, -30.244639 * u.deg, 2663.0 * u.m)
_BLIND_TYPES = {"bias", "dark", "flat"}
_LOWEST_ALTITUDE, _HIGHEST_ALTITUDE = -5.55, 90.0
"""Degrees; AuxTel can point beyond the zenith, which coordinates cannot express."""


class LsstTranslator(FitsTranslator):
    """Base of the translators of all LSST cameras."""

    instrument: ClassVar[str]
    """Short name."""
    on_telescope_from: ClassVar[Time | None] = None
    """UTC; earlier exposures are from a laboratory. `None` if there are none."""
    site: ClassVar[EarthLocation] = _SIMONYI
    unused_rotation: ClassVar[float | None] = 0.0
    """Rotation, degrees, in records of exposures that need none and have none."""
    sees_sky_by_type: ClassVar[bool] = False
    """Whether the image type decides if neither shutter nor vignetting is recorded."""

    @classmethod
    def fix_header(
        cls, header: MutableMapping[str, Any], instrument: str, obsid: str, filename: str | None = None
    ) -> bool:
        """Correct known errors of a header."""
        return correct_header(instrument, header)

    def _value(self, *keys: str) -> Any:
        """Return the first of the keys that is defined, or `None`."""
        for key in keys:
            value = self._header.get(key)
            if value is not None and not (isinstance(value, float) and math.isnan(value)) and value != "":
                self._used_these_cards(key)
                return value
        return None

    def _recorded(self, *keys: str) -> str | None:
        """Return the text of the first of the keys that the header has a value for, blank or not."""
        key = next((key for key in keys if isinstance(self._header.get(key), str)), None)
        return self._text(*keys) if key is None else str(self._header[key]).strip()

    def _number(self, *keys: str) -> float | None:
        value = self._value(*keys)
        if value is None:
            return None
        try:
            return float(value)
        except (TypeError, ValueError):
            raise HeaderError(keys[0], f"{value!r} is not a number.") from None

    def _text(self, *keys: str) -> str | None:
        value = self._value(*keys)
        return None if value is None else str(value).strip()

    def _controller(self) -> str | None:
        return self._text("CONTRLLR")

    def _on_telescope(self) -> bool:
        if self.on_telescope_from is None or self._controller() == "H":
            return True
        return bool(self.to_datetime_begin() > self.on_telescope_from)

    def _on_sky(self) -> bool:
        if (self._text("TRACKSYS") or "").lower() == "local" or self.to_observation_type() in _BLIND_TYPES:
            return False
        return self._on_telescope()

    @cache_translation
    def to_instrument(self) -> str:
        """Short name."""
        return self.instrument

    @cache_translation
    def to_location(self) -> EarthLocation | None:
        """Location of the telescope; `None` in the laboratory."""
        if not self._on_telescope():
            return None
        geocentric = [self._number(f"OBSGEO-{axis}") for axis in "XYZ"]
        if None in geocentric:
            return self.site
        x, y, z = (value for value in geocentric if value is not None)
        # Some headers place the site in the northern hemisphere.
        return EarthLocation.from_geocentric(x, y, -abs(z), unit=u.m)

    @cache_translation
    def to_observation_id(self) -> str:
        """OBSID."""
        value = self._text("OBSID", "IMGNAME")
        if value is None:
            raise HeaderError("OBSID", "is missing.")
        return value

    def _day_and_sequence(self) -> tuple[int, int]:
        day, sequence = self._text("DAYOBS"), self._number("SEQNUM")
        match = _OBS_ID.fullmatch(self._text("OBSID", "IMGNAME") or "")
        if day is None and match:
            day = match[1]
        if sequence is None and match:
            sequence = int(match[2])
        if day is None or sequence is None:
            raise HeaderError("DAYOBS" if day is None else "SEQNUM", "is missing.")
        digits = day.partition("T")[0].replace("-", "")
        if not re.fullmatch(r"\d{8}", digits):
            raise HeaderError("DAYOBS", f"{day!r} is not YYYYMMDD.")
        return int(digits), int(sequence)

    @cache_translation
    def to_observing_day(self) -> int:
        """DAYOBS, or else the day of the OBSID."""
        return self._day_and_sequence()[0]

    @cache_translation
    def to_observation_counter(self) -> int:
        """SEQNUM, or else the number of the OBSID."""
        return self._day_and_sequence()[1]

    @cache_translation
    def to_exposure_id(self) -> int:
        """Exposure id from the day, the sequence number and, for separate counts, the controller."""
        day, sequence = self._day_and_sequence()
        try:
            return lsst_exposure_id(day, sequence, self._controller())
        except ValueError as error:
            raise HeaderError("SEQNUM", str(error)) from error

    @cache_translation
    def to_exposure_group(self) -> str:
        """GROUPID; the exposure id for bench data without a group."""
        return self._text("GROUPID") or str(self.to_exposure_id())

    @cache_translation
    def to_group_counter_start(self) -> int:
        """Sequence number of the group's first exposure; the exposure's id if nothing was counted."""
        counter, index = self.to_observation_counter(), self._number("CURINDEX")
        if index is not None and index >= 1:
            return counter - int(index) + 1
        return counter or self.to_exposure_id()

    @cache_translation
    def to_group_counter_end(self) -> int:
        """Sequence number of the group's last exposure; the exposure's id if nothing was counted."""
        counter, index = self.to_observation_counter(), self._number("CURINDEX")
        size = self._number("MAXINDEX")
        if index is not None and index >= 1 and size is not None:
            return counter + int(size) - int(index)
        return counter or self.to_exposure_id()

    @cache_translation
    def to_detector_num(self) -> int:
        """Id, from RAFTBAY and CCDSLOT."""
        raft, sensor = self._text("RAFTBAY"), self._text("CCDSLOT")
        if raft is None or sensor is None:
            raise HeaderError("RAFTBAY" if raft is None else "CCDSLOT", "is missing.")
        number = detector_number(self.instrument, raft, sensor)
        if number is None:
            raise HeaderError("RAFTBAY", f"{self.instrument} has no detector {raft}_{sensor}.")
        return number

    @cache_translation
    def to_physical_filter(self) -> str:
        """Elements in the beam, joined by ``~``, without trailing empty ones."""
        names = [name for key in ("FILTER", "FILTER1", "FILTER2") if (name := self._text(key)) is not None]
        joined = "~".join(names).replace("NONE", "none") or "unknown"
        while joined.endswith("~empty"):
            joined = joined.removesuffix("~empty")
        return joined

    @cache_translation
    def to_datetime_begin(self) -> Time:
        """MJD-BEG or its substitutes, TAI; more precise than the date strings."""
        try:
            begin = begin_of(self._header)
        except ValueError as error:
            raise HeaderError("DATE-BEG", str(error)) from error
        if begin is None:
            raise HeaderError("DATE-BEG", "is missing.")
        return begin

    @cache_translation
    def to_datetime_end(self) -> Time:
        """DATE-END, or else begin plus exposure time."""
        try:
            end = super().to_datetime_end() if self._value("DATE-END") else None
        except ValueError as error:
            raise HeaderError("DATE-END", str(error)) from error
        begin, seconds = self.to_datetime_begin(), self.to_exposure_time()
        if end is None or end < begin:
            return begin if seconds < 0 else begin + seconds
        return end

    @cache_translation
    def to_exposure_time_requested(self) -> u.Quantity:
        """EXPTIME."""
        seconds = self._number("EXPTIME")
        if seconds is None:
            raise HeaderError("EXPTIME", "is missing.")
        return seconds * u.s

    @cache_translation
    def to_exposure_time(self) -> u.Quantity:
        """Measured time that the shutter was open, or else the requested time."""
        seconds = self._number("SHUTTIME")
        return seconds * u.s if seconds is not None and seconds > 0 else self.to_exposure_time_requested()

    @cache_translation
    def to_dark_time(self) -> u.Quantity:
        """DARKTIME, or else the exposure time."""
        seconds = self._number("DARKTIME")
        return self.to_exposure_time() if seconds is None else seconds * u.s

    @cache_translation
    def to_tracking_radec(self) -> SkyCoord | None:
        """Pointing at the start, or else the requested pointing; `None` without tracking."""
        if self.to_observation_type() in _BLIND_TYPES - {"dark"}:
            return None
        # A blank value means that nothing was tracked; a missing keyword means nothing.
        if self._header.get("TRACKSYS") is not None and self._header["TRACKSYS"] != "RADEC":
            return None
        if self._value("DATE-OBS") is not None and self._value("DATE-OBS") == self._value("DATE"):
            # The date was corrected, but the sky positions had been computed with the wrong one.
            pointing = self.to_altaz_begin()
            return (
                None
                if pointing is None or pointing.location is None
                else SkyCoord(pointing).transform_to(ICRS())
            )
        frame = (self._text("RADESYS") or "ICRS").lower()
        if frame == "gappt":
            return None  # A moving target.
        for ra_key, dec_key in (("RASTART", "DECSTART"), ("RA", "DEC")):
            ra, dec = self._number(ra_key), self._number(dec_key)
            if ra is not None and dec is not None:
                if not -90 <= dec <= 90:
                    raise HeaderError(dec_key, f"{dec} is not a declination in degrees.")
                return SkyCoord(ra, dec, unit=u.deg, frame="fk5" if frame == "fk5" else "icrs").icrs
        return None

    @cache_translation
    def to_boresight_rotation_coord(self) -> str:
        """ROTCOORD if the telescope was on sky, else "unknown"."""
        return (self._text("ROTCOORD") or "unknown") if self._on_sky() else "unknown"

    @cache_translation
    def to_boresight_rotation_angle(self) -> Angle | None:
        """ROTPA; 0 if it is missing and not needed, as in the Butler's records."""
        angle = self._number("ROTPA", "ROTANGLE")
        if angle is None and not (self.to_observation_type() == "science" and self._on_telescope()):
            angle = self.unused_rotation
        return None if angle is None else Angle(angle, unit=u.deg)

    @cache_translation
    def to_boresight_airmass(self) -> float | None:
        """AMSTART."""
        return self._number("AMSTART", "AIRMASS")

    @cache_translation
    def to_altaz_begin(self) -> AltAz | None:
        """ELSTART and AZSTART."""
        altitude, azimuth = self._number("ELSTART"), self._number("AZSTART")
        if (
            altitude is None
            or azimuth is None
            or altitude < -90
            or azimuth < -360
            or not self._on_telescope()
        ):
            return None
        return AltAz(
            az=azimuth * u.deg,
            alt=min(max(altitude, _LOWEST_ALTITUDE), _HIGHEST_ALTITUDE) * u.deg,
            obstime=self.to_datetime_begin(),
            location=self.to_location(),
        )

    @cache_translation
    def to_observation_type(self) -> str:
        """IMGTYPE in lower case; an object is "science"."""
        kind = (self._text("IMGTYPE", "TESTTYPE") or "unknown").lower()
        return "science" if kind in {"object", "skyexp"} else kind

    @cache_translation
    def to_observation_reason(self) -> str:
        """REASON, or else TESTTYPE, in lower case; "science" by default for science images."""
        reason = self._text("REASON", "TESTTYPE")
        if reason is not None:
            return reason.lower()
        return "science" if self.to_observation_type() == "science" else "unknown"

    @cache_translation
    def to_science_program(self) -> str:
        """PROGRAM or, for bench data, RUNNUM."""
        program = self._recorded("PROGRAM", "RUNNUM")
        return "unknown" if program is None else program

    @cache_translation
    def to_object(self) -> str:
        """OBJECT."""
        target = self._recorded("OBJECT")
        return "UNKNOWN" if target is None else target

    @cache_translation
    def to_has_simulated_content(self) -> bool:
        """Whether any component ran in simulation mode, or a simulation's controller."""
        flagged = any("SIMULATE" in key and bool(value) for key, value in self._header.items())
        return flagged or (self._controller() or "O") in SIMULATED_CONTROLLERS

    @cache_translation
    def to_can_see_sky(self) -> bool | None:
        """Whether light from the sky could reach the detector; `None` if the header does not say."""
        if not self._on_telescope():
            return False
        if self._number("SHUTTIME") == 0.0:
            return False
        vignetting = self._text("VIGN_MIN")
        if vignetting is not None:
            return {"FULLY": False, "UNKNOWN": None}.get(vignetting, True)
        return self._sees_sky_by_type() if self.sees_sky_by_type or self._controller() == "H" else None

    def _sees_sky_by_type(self) -> bool | None:
        kind = self.to_observation_type()
        if kind in _BLIND_TYPES:
            return False
        return True if kind in {"science", "object"} else None


class LsstCamTranslator(LsstTranslator):
    """LSSTCam."""

    instrument = "LSSTCam"
    on_telescope_from = Time("2025-03-01T00:00", format="isot", scale="utc")


class ComCamTranslator(LsstTranslator):
    """LSSTComCam."""

    instrument = "LSSTComCam"
    on_telescope_from = Time("2024-08-24T00:00", format="isot", scale="utc")
