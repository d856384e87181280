"""Translate headers by the rules of an instrument's description, for astro_metadata_translator."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, ClassVar

import astropy.units as u
from astro_metadata_translator import FitsTranslator, cache_translation
from astropy.coordinates import FK5, AltAz, Angle, EarthLocation, SkyCoord
from astropy.time import Time, TimeDelta

from ..errors import HeaderError
from ..header_corrections import correct_header
from .cards import NUMBER_KEYWORD
from .rules import KeywordRule

if TYPE_CHECKING:
    from .document import HeaderDocument
    from .instrument import Instrument

__all__ = ["DescribedTranslator", "make_translator"]

_SKY_TYPES = {"science", "object", "standard", "sky flat"}
_BLIND_TYPES = {"bias", "zero", "dark", "dome flat"}
_LOWEST_ALTITUDE = -5.55
_STANDARD_EQUINOX = 2000.0


class DescribedTranslator(FitsTranslator):
    """Translator of an instrument whose description says which keyword means what."""

    described: ClassVar[Instrument]

    @classmethod
    def fix_header(
        cls, header: MutableMapping[str, Any], instrument: str, obsid: str, filename: str | None = None
    ) -> bool:
        """Correct known errors of a header, by the rules beside the description."""
        return correct_header(instrument, header)

    @property
    def _rules(self) -> HeaderDocument:
        rules = self.described.document.header
        if rules is None:
            raise HeaderError("INSTRUME", f"{self.described.name} has no rules for headers.")
        return rules

    def _text(self, rule: KeywordRule | None) -> str | None:
        if rule is None:
            return None
        self._used_these_cards(*rule.keywords)
        return rule.text(self._header)

    def _number(self, rule: KeywordRule | None) -> float | None:
        if rule is None:
            return None
        self._used_these_cards(*rule.keywords)
        return rule.number(self._header)

    def _optional(self, rule: KeywordRule | None) -> float | None:
        """Return a number that an observation can do without; `None` for texts such as N/A."""
        try:
            return self._number(rule)
        except HeaderError:
            return None

    def _seconds(self, rule: KeywordRule) -> u.Quantity:
        seconds = self._number(rule)
        if seconds is None:
            raise HeaderError(rule.keywords[0], "is missing.")
        return seconds * u.s

    @cache_translation
    def to_instrument(self) -> str:
        """Short name."""
        return self.described.name

    @cache_translation
    def to_telescope(self) -> str:
        """TELESCOP."""
        return str(self._header.get("TELESCOP", "unknown"))

    @cache_translation
    def to_location(self) -> EarthLocation | None:
        """Site of the description."""
        site = self.described.document.site
        if site is None:
            return None
        return EarthLocation.from_geodetic(
            site.longitude_deg * u.deg, site.latitude_deg * u.deg, site.height_m * u.m
        )

    @cache_translation
    def to_datetime_begin(self) -> Time:
        """Begin of the exposure, TAI."""
        rule = self._rules.begin
        self._used_these_cards(*rule.keywords, *rule.time_keywords)
        begin = rule.time(self._header)
        if begin is None:
            raise HeaderError(rule.keywords[0], "is missing.")
        return begin.tai - rule.share * self.to_exposure_time() if rule.share else begin.tai

    @cache_translation
    def to_datetime_end(self) -> Time:
        """End of the exposure, or else begin plus exposure time."""
        rule = self._rules.end
        end = None if rule is None else rule.time(self._header)
        begin = self.to_datetime_begin()
        return begin + self.to_exposure_time() if end is None or end < begin else end.tai

    @classmethod
    def observing_date_to_offset(cls, observing_date: Time) -> TimeDelta:
        """Return the time of day at which an observing day begins."""
        hours = cls.described.document.exposures.rollover_hours
        return TimeDelta(hours * 3600, format="sec", scale="tai")

    @cache_translation
    def to_exposure_id(self) -> int:
        """Exposure id from its keyword, or else from the time."""
        rule = self._rules.exposure_id
        if rule is not None:
            self._used_these_cards(*rule.keywords)
            number = rule.integer(self._header)
            if number is None:
                raise HeaderError(rule.keywords[0], "is missing.")
            return number
        own = self._header.get(NUMBER_KEYWORD)
        return own if isinstance(own, int) else self.described.exposure_id_at(self.to_datetime_begin())

    @cache_translation
    def to_observation_id(self) -> str:
        """Identifier of the observation, or else prefix and exposure id."""
        found = self._text(self._rules.observation_id)
        # It becomes part of a path: the library looks for a file of corrections named after it.
        return re.sub(
            r"[^A-Za-z0-9_-]", "_", found or self.described.observation_id_of(self.to_exposure_id())
        )

    @cache_translation
    def to_observation_counter(self) -> int:
        """Exposure id, or its part that counts within the day."""
        number = self.to_exposure_id()
        return number if self._rules.exposure_id is not None else number % 100_000

    @cache_translation
    def to_exposure_group(self) -> str:
        """Group, or else the exposure id."""
        return self._text(self.described.document.exposures.group) or str(self.to_exposure_id())

    @cache_translation
    def to_detector_num(self) -> int:
        """Detector, by number or by name."""
        rule = self._rules.detector
        self._used_these_cards(*rule.keywords)
        value = rule.find(self._header)
        if value is None:
            raise HeaderError(rule.keywords[0], "is missing.")
        for detector in self.described.camera.detectors.values():
            if str(value).strip() == detector.name:
                return detector.id
        number = rule.integer(self._header)
        if number is None or number not in self.described.camera.detectors:
            key = rule.keyword_in(self._header) or "(detector)"
            raise HeaderError(key, f"{self.described.name} has no detector {number}.")
        return number

    @cache_translation
    def to_physical_filter(self) -> str:
        """Filter; "unknown" without one."""
        return self._text(self._rules.physical_filter) or "unknown"

    @cache_translation
    def to_exposure_time(self) -> u.Quantity:
        """Exposure time."""
        return self._seconds(self._rules.exposure_time)

    @cache_translation
    def to_exposure_time_requested(self) -> u.Quantity:
        """Exposure time."""
        return self.to_exposure_time()

    @cache_translation
    def to_dark_time(self) -> u.Quantity:
        """Dark time, or else the exposure time."""
        seconds = self._number(self._rules.dark_time)
        return self.to_exposure_time() if seconds is None else seconds * u.s

    @cache_translation
    def to_observation_type(self) -> str:
        """Type of the observation, by its standard name where the description has it."""
        kind = (self._text(self._rules.observation_type) or "unknown").lower()
        types = {name.lower(): meant for name, meant in self.described.document.image_types.items()}
        return types.get(kind, kind)

    @cache_translation
    def to_tracking_radec(self) -> SkyCoord | None:
        """Pointing; `None` for headers without one."""
        rules = self._rules
        if rules.ra is None or rules.dec is None:
            return None
        self._used_these_cards(*rules.ra.keywords, *rules.dec.keywords)
        try:
            ra, dec = rules.ra.degrees(self._header), rules.dec.degrees(self._header)
        except HeaderError:
            # Headers of bias frames have texts such as N/A.
            if self.to_observation_type() == "science":
                raise
            return None
        if ra is None or dec is None:
            return None
        if not -90 <= dec <= 90:
            raise HeaderError(rules.dec.keywords[0], f"{dec} is not a declination in degrees.")
        named = str(self._header.get(rules.frame_keyword, "")).strip().lower() if rules.frame_keyword else ""
        frame = named if named in ("icrs", "fk5") else rules.frame
        equinox = (
            self._optional(KeywordRule(keywords=(rules.equinox_keyword,))) if rules.equinox_keyword else None
        )
        if equinox is not None and equinox != _STANDARD_EQUINOX:
            return SkyCoord(ra, dec, unit=u.deg, frame=FK5(equinox=Time(equinox, format="jyear"))).icrs
        return SkyCoord(ra, dec, unit=u.deg, frame=frame).icrs

    @cache_translation
    def to_boresight_rotation_coord(self) -> str:
        """Return "sky" if the angle is that on the sky, otherwise "unknown"."""
        return "unknown" if self._rules.rotation is None else "sky"

    @cache_translation
    def to_boresight_rotation_angle(self) -> Angle | None:
        """Angle of focal-plane +Y, east of north."""
        rule = self._rules.rotation
        angle = None if rule is None else rule.degrees(self._header)
        return None if angle is None else Angle(angle, unit=u.deg)

    @cache_translation
    def to_boresight_airmass(self) -> float | None:
        """Airmass."""
        return self._optional(self._rules.airmass)

    @cache_translation
    def to_altaz_begin(self) -> AltAz | None:
        """Position above the horizon, from keywords, or else from the pointing and the site."""
        rules, location = self._rules, self.to_location()
        if location is None:
            return None
        azimuth, altitude = self._optional(rules.azimuth), self._optional(rules.altitude)
        zenith_distance = self._optional(rules.zenith_distance)
        if altitude is None and zenith_distance is not None:
            altitude = 90.0 - zenith_distance
        if azimuth is None or altitude is None or not _LOWEST_ALTITUDE <= altitude <= 90.0:
            return None
        return AltAz(
            az=azimuth * u.deg, alt=altitude * u.deg, obstime=self.to_datetime_begin(), location=location
        )

    @cache_translation
    def to_object(self) -> str:
        """Target; "UNKNOWN" without one."""
        target = self._text(self._rules.target)
        if target is None and self._rules.target is not None:
            # A blank value is recorded as such, as other stacks do.
            blank = any(self._header.get(key) == "" for key in self._rules.target.keywords)
            return "" if blank else "UNKNOWN"
        return target or "UNKNOWN"

    @cache_translation
    def to_science_program(self) -> str:
        """Programme."""
        return self._text(self._rules.program) or "unknown"

    @cache_translation
    def to_observation_reason(self) -> str:
        """Reason; "science" by default for science images."""
        reason = self._text(self._rules.reason)
        if reason is not None:
            return reason.lower()
        return "science" if self.to_observation_type() == "science" else "unknown"

    @cache_translation
    def to_has_simulated_content(self) -> bool:
        """Return `False`: these headers do not say."""
        return False

    @cache_translation
    def to_can_see_sky(self) -> bool | None:
        """Whether light from the sky reaches the detector, by the type of the observation."""
        kind = self.to_observation_type()
        return True if kind in _SKY_TYPES else False if kind in _BLIND_TYPES else None


def make_translator(instrument: Instrument) -> type[DescribedTranslator]:
    """Make the translator class of a described instrument.

    It has no ``name``, so that it does not replace another distribution's class in the registry of
    `astro_metadata_translator`: it is found by the instrument's name in the registry of instruments.
    """
    name = "".join(character for character in instrument.name if character.isalnum())
    return type(f"{name}Translator", (DescribedTranslator,), {"described": instrument})
