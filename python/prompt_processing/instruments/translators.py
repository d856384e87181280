"""Header translators, in terms of astro_metadata_translator.

HSC's comes with that package. Those of the LSST cameras do not, so ours are
here, without a ``name``: that keeps them out of the package's registry, where
they would take the place of another distribution's. They are always named
explicitly.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import astropy.units as u
from astro_metadata_translator import FitsTranslator, MetadataTranslator, cache_translation
from astro_metadata_translator.translators import HscTranslator
from astropy.coordinates import AltAz, Angle, EarthLocation, SkyCoord
from astropy.time import Time

from .errors import HeaderError
from .raw_key import detector_number, lsst_exposure_id

INSTRUMENT_ALIASES: Mapping[str, str] = {
    "latiss": "LATISS",
    "lsst_atiss": "LATISS",
    "lsstcam": "LSSTCam",
    "comcam": "LSSTComCam",
    "lsstcomcam": "LSSTComCam",
    "comcamsim": "LSSTComCamSim",
    "lsstcomcamsim": "LSSTComCamSim",
}
"""Short name by INSTRUME of the LSST cameras, in lower case."""

_OBS_ID = re.compile(r"[A-Z]{2}_[A-Z]_(\d{8})_(\d{6})")
_CERRO_PACHON = EarthLocation.from_geodetic(-70.749417 * u.deg, -30.244639 * u.deg, 2663.0 * u.m)
_BLIND_TYPES = {"bias", "dark"}


def instrument_of(header: Mapping[str, Any]) -> str:
    """Return the short name of the instrument that wrote a header.

    Raises
    ------
    HeaderError
        It is none that is known.
    """
    value = header.get("INSTRUME")
    if isinstance(value, str) and value.strip().lower() in INSTRUMENT_ALIASES:
        return INSTRUMENT_ALIASES[value.strip().lower()]
    try:
        if HscTranslator.can_translate(header):
            return "HSC"
    except AttributeError:
        pass  # A keyword that should be a string is not: then it is not HSC's.
    raise HeaderError("INSTRUME", "is missing." if value is None else f"{value!r} is not a known instrument.")


def translator_for(instrument: str) -> type[MetadataTranslator]:
    """Return the translator of an instrument that `instrument_of` gave."""
    return HscTranslator if instrument == "HSC" else LsstTranslator


class LsstTranslator(FitsTranslator):
    """Translate what the LSST cameras and their header service write."""

    _const_map = {"boresight_rotation_coord": "sky"}  # noqa: RUF012 - the base class declares it

    def _value(self, *keys: str) -> Any:
        """Return the first of the keys that is defined, or `None`."""
        for key in keys:
            value = self._header.get(key)
            if value is not None and not (isinstance(value, float) and math.isnan(value)) and value != "":
                self._used_these_cards(key)
                return value
        return None

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

    @cache_translation
    def to_instrument(self) -> str:
        """Short name, from INSTRUME."""
        return instrument_of(self._header)

    @cache_translation
    def to_observation_id(self) -> str:
        """OBSID."""
        value = self._text("OBSID")
        if value is None:
            raise HeaderError("OBSID", "is missing.")
        return value

    def _day_and_sequence(self) -> tuple[int, int]:
        day, sequence = self._text("DAYOBS"), self._number("SEQNUM")
        if day is not None and sequence is not None:
            digits = day.replace("-", "")
            if not re.fullmatch(r"\d{8}", digits):
                raise HeaderError("DAYOBS", f"{day!r} is not YYYYMMDD.")
            return int(digits), int(sequence)
        match = _OBS_ID.fullmatch(self.to_observation_id())
        if match is None:
            raise HeaderError("DAYOBS" if day is None else "SEQNUM", "is missing.")
        return int(match[1]), int(match[2])

    @cache_translation
    def to_observing_day(self) -> int:
        """DAYOBS, else what the OBSID says."""
        return self._day_and_sequence()[0]

    @cache_translation
    def to_observation_counter(self) -> int:
        """SEQNUM, else what the OBSID says."""
        return self._day_and_sequence()[1]

    @cache_translation
    def to_exposure_id(self) -> int:
        """Day and sequence number in one."""
        try:
            return lsst_exposure_id(*self._day_and_sequence())
        except ValueError as error:
            raise HeaderError("SEQNUM", str(error)) from error

    @cache_translation
    def to_exposure_group(self) -> str:
        """GROUPID; on the bench, where there is none, the exposure id."""
        return self._text("GROUPID") or str(self.to_exposure_id())

    def _index(self) -> tuple[int, int]:
        """Place in the group and size of the group, from 1."""
        index, size = self._number("CURINDEX"), self._number("MAXINDEX")
        if index is None or index < 1:
            return 1, 1
        return int(index), max(int(size or index), int(index))

    @cache_translation
    def to_group_counter_start(self) -> int:
        """Sequence number of the group's first exposure."""
        return self.to_observation_counter() - self._index()[0] + 1

    @cache_translation
    def to_group_counter_end(self) -> int:
        """Sequence number of the group's last exposure."""
        return self.to_group_counter_start() + self._index()[1] - 1

    @cache_translation
    def to_detector_num(self) -> int:
        """Id, from RAFTBAY and CCDSLOT."""
        instrument = self.to_instrument()
        if instrument == "LATISS":
            return 0
        raft, sensor = self._text("RAFTBAY"), self._text("CCDSLOT")
        if raft is None or sensor is None:
            raise HeaderError("RAFTBAY" if raft is None else "CCDSLOT", "is missing.")
        number = detector_number(instrument, raft, sensor)
        if number is None:
            raise HeaderError("RAFTBAY", f"{instrument} has no detector {raft}_{sensor}.")
        return number

    @cache_translation
    def to_physical_filter(self) -> str:
        """FILTER and what lies behind it in the beam, joined by ``~``."""
        first = self._text("FILTER")
        # LATISS has a wheel of gratings behind that of the filters, the bench one of neutral filters.
        second = self._text("GRATING" if self.to_instrument() == "LATISS" else "FILTER2")
        if self.to_instrument() == "LATISS":
            return "~".join(_opened(name) for name in (first, second))
        if first is None:
            return "unknown"
        name = _opened(first)
        if second is not None and _opened(second) != "empty":
            name = f"{name}~{second}"
        return name

    @cache_translation
    def to_datetime_begin(self) -> Time:
        """DATE-BEG or the like; UTC, where TIMESYS does not say otherwise."""
        try:
            begin = super().to_datetime_begin()
        except ValueError as error:
            raise HeaderError("DATE-BEG", str(error)) from error
        if begin is None:
            raise HeaderError("DATE-BEG", "is missing.")
        return begin

    @cache_translation
    def to_datetime_end(self) -> Time:
        """DATE-END, else begin plus exposure time."""
        begin = self.to_datetime_begin()
        end = super().to_datetime_end()
        return begin + self.to_exposure_time() if end is None or end < begin else end

    @cache_translation
    def to_exposure_time(self) -> u.Quantity:
        """EXPTIME."""
        seconds = self._number("EXPTIME")
        if seconds is None:
            raise HeaderError("EXPTIME", "is missing.")
        return seconds * u.s

    @cache_translation
    def to_dark_time(self) -> u.Quantity:
        """DARKTIME, else the exposure time."""
        seconds = self._number("DARKTIME")
        return self.to_exposure_time() if seconds is None else seconds * u.s

    @cache_translation
    def to_tracking_radec(self) -> SkyCoord | None:
        """Where the telescope pointed at the start, else where it was sent."""
        for ra_key, dec_key in (("RASTART", "DECSTART"), ("RA", "DEC")):
            ra, dec = self._number(ra_key), self._number(dec_key)
            if ra is not None and dec is not None:
                frame = (self._text("RADESYS") or "ICRS").lower()
                return SkyCoord(ra, dec, unit=u.deg, frame="fk5" if frame == "fk5" else "icrs").icrs
        return None

    @cache_translation
    def to_boresight_rotation_angle(self) -> Angle | None:
        """ROTPA, where it is relative to the sky."""
        angle = self._number("ROTPA")
        if angle is None or (self._text("ROTCOORD") or "sky").lower() != "sky":
            return None
        return Angle(angle % 360.0, unit=u.deg)

    @cache_translation
    def to_boresight_airmass(self) -> float | None:
        """AMSTART."""
        return self._number("AMSTART", "AIRMASS")

    @cache_translation
    def to_altaz_begin(self) -> AltAz | None:
        """ELSTART and AZSTART."""
        altitude, azimuth = self._number("ELSTART"), self._number("AZSTART")
        if altitude is None or azimuth is None:
            return None
        return AltAz(
            az=azimuth % 360.0 * u.deg,
            alt=altitude * u.deg,
            obstime=self.to_datetime_begin(),
            location=_CERRO_PACHON,
        )

    @cache_translation
    def to_observation_type(self) -> str:
        """IMGTYPE in lower case; an object is "science"."""
        kind = (self._text("IMGTYPE", "TESTTYPE") or "unknown").lower()
        return "science" if kind in {"object", "skyexp"} else kind

    @cache_translation
    def to_observation_reason(self) -> str:
        """REASON, else TESTTYPE."""
        return self._text("REASON", "TESTTYPE") or "unknown"

    @cache_translation
    def to_science_program(self) -> str:
        """PROGRAM or, on the bench, RUNNUM."""
        return self._text("PROGRAM", "RUNNUM") or "unknown"

    @cache_translation
    def to_object(self) -> str:
        """OBJECT."""
        return self._text("OBJECT") or "UNKNOWN"

    @cache_translation
    def to_has_simulated_content(self) -> bool:
        """Whether any component ran in simulation mode."""
        return any(key.startswith("SIMULATE ") and bool(value) for key, value in self._header.items())

    @cache_translation
    def to_can_see_sky(self) -> bool | None:
        """Whether light of the sky could get in; `None` where the header does not tell."""
        if self.to_observation_type() in _BLIND_TYPES or self._text("TSTAND") in {"BOT", "CCOB"}:
            return False
        vignetting = self._text("VIGNETTE")
        return None if vignetting is None else vignetting.upper() != "FULLY"


def _opened(name: str | None) -> str:
    """Return the usual name of a position: the many ways to say that nothing is there are one."""
    if name is None:
        return "unknown"
    if re.fullmatch(r"empty(_\d+)?", name, re.IGNORECASE):
        return "empty"
    return "none" if name == "NONE" else name
