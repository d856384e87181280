"""Read observations from the headers of raws."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import astropy.units as u
from astropy.time import Time

from .camera import band_of_filter
from .description.cards import GROUP_KEYWORD, SNAP_KEYWORD
from .description.registry import load_instrument
from .errors import HeaderError
from .header_files import plain_header
from .limits import held_to_limits, require_plain_identifiers
from .raw_key import RawKey
from .translators.lookup import instrument_of, translator_for

_REQUIRED = {
    "instrument",
    "exposure_id",
    "observation_id",
    "detector_num",
    "physical_filter",
    "datetime_begin",
    "exposure_time",
}
_OPTIONAL = {
    "observation_counter",
    "datetime_end",
    "dark_time",
    "tracking_radec",
    "boresight_rotation_angle",
    "boresight_rotation_coord",
    "exposure_group",
    "observing_day",
    "boresight_airmass",
    "altaz_begin",
    "object",
    "science_program",
    "observation_type",
    "observation_reason",
    "has_simulated_content",
    "group_counter_start",
    "group_counter_end",
    "can_see_sky",
}
# HSC's translator does not always name the missing keyword.
_LIKELY_KEYS = {
    "exposure_id": "EXP-ID",
    "observation_id": "EXP-ID",
    "detector_num": "DET-ID",
    "physical_filter": "FILTER01",
    "datetime_begin": "DATE-OBS",
    "exposure_time": "EXPTIME",
}
_CORRECTED = "ASTRO METADATA FIX"
"""Begin of the keywords with which `astro_metadata_translator` marks corrected headers."""
_LONGEST_READOUT_S = 120.0
UNKNOWN_EXPOSURE_TIME = -1.0
"""Exposure time in seconds if the header has none, as in the Butler's records."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One exposure of one detector, as its header describes it.

    Attributes
    ----------
    instrument
        Short name.
    exposure_id, detector
        Ids.
    obs_id
        OBSID, or what identifies an observation of the instrument.
    group
        Group of the visit; the exposure id if the header has none.
    snap
        Index in the group, from 0.
    day_obs
        Observing day, ``YYYYMMDD``.
    seq_num, seq_start, seq_end
        Sequence numbers of the exposure, and of the group's first and last exposures.
    physical_filter, band
        Filter names; band "unknown" for an unknown filter.
    begin, end, mid
        Times, TAI.
    exposure_time, dark_time
        Seconds.
    ra, dec
        Boresight, ICRS degrees.
    rotation
        Angle of focal-plane +Y, east of north, degrees, not wrapped; `None`
        if the telescope did not track.
    airmass, azimuth, zenith_angle
        At the start of the exposure; angles in degrees.
    observation_type
        "science", "bias", "dark", "flat" and so on.
    reason, science_program
        "unknown" if the header has none.
    target_name
        "UNKNOWN" if the header has none, or `None` if it should have one.
    has_simulated
        Whether any component was simulated.
    can_see_sky
        `None` if the header does not say.
    """

    instrument: str
    exposure_id: int
    obs_id: str
    detector: int
    group: str
    snap: int
    day_obs: int
    seq_num: int
    seq_start: int
    seq_end: int
    physical_filter: str
    band: str
    begin: Time
    end: Time
    exposure_time: float
    dark_time: float
    ra: float | None
    dec: float | None
    rotation: float | None
    airmass: float | None
    azimuth: float | None
    zenith_angle: float | None
    observation_type: str
    reason: str
    science_program: str
    target_name: str | None
    has_simulated: bool
    can_see_sky: bool | None

    @property
    def mid(self) -> Time:
        """Middle of the exposure, TAI.

        Some headers have the time at which the file was sent as the end.
        """
        longest = (max(self.exposure_time, 0.0) + _LONGEST_READOUT_S) * u.s
        return self.begin + min((self.end - self.begin).to(u.s), longest) / 2


def translate(header: Mapping[str, Any], filename: str | None = None) -> Observation:
    """Translate a header.

    Parameters
    ----------
    header
        Keywords of the primary HDU and of the first image, merged.
    filename
        Source of the header, for messages; an object key also supplies the group and the snap, if the header
        lacks them.

    Raises
    ------
    HeaderError
        Raised if a key that identifies the image is missing or unusable.
    """
    values = plain_header(header)
    try:
        instrument = instrument_of(values)
        info = _translated(values, instrument)
        own_group, own_snap = _place_in_group(values, instrument)
    except HeaderError as error:
        if filename is None or error.source is not None:
            raise
        raise HeaderError(error.key, error.reason.partition(": ")[2], filename) from error.__cause__
    begin = info.datetime_begin.tai
    seconds = float(info.exposure_time.to_value(u.s))
    if not (0 <= seconds < math.inf or (seconds == UNKNOWN_EXPOSURE_TIME and "EXPTIME" not in values)):
        raise HeaderError("EXPTIME", f"{seconds} s is not an exposure time.", filename)
    end = begin + max(seconds, 0.0) * u.s if info.datetime_end is None else info.datetime_end.tai
    key = _key_in(filename)
    counter = info.observation_counter if info.observation_counter is not None else info.exposure_id
    group = own_group or (key and key.group) or info.exposure_group or str(info.exposure_id)
    start = info.group_counter_start if info.group_counter_start is not None else counter
    if own_snap is None and key is not None:
        own_snap = key.snap
    # An exposure that was not counted has its id as the first of the group.
    snap = max(counter - start, 0) if own_snap is None else own_snap
    radec, altaz = info.tracking_radec, info.altaz_begin
    band = band_of_filter(instrument, info.physical_filter)
    if band is None:
        listed = str(values.get("FILTBAND", ""))
        band = listed if listed in set("ugrizy") else "unknown"
    found = Observation(
        instrument=instrument,
        exposure_id=info.exposure_id,
        obs_id=info.observation_id,
        detector=info.detector_num,
        group=str(group).strip(),
        snap=snap,
        day_obs=info.observing_day,
        seq_num=counter,
        seq_start=start,
        seq_end=info.group_counter_end if info.group_counter_end is not None else counter,
        physical_filter=info.physical_filter,
        band=band,
        begin=begin,
        end=end,
        exposure_time=seconds,
        dark_time=seconds if info.dark_time is None else float(info.dark_time.to_value(u.s)),
        ra=None if radec is None else float(radec.icrs.ra.deg),
        dec=None if radec is None else float(radec.icrs.dec.deg),
        rotation=_degrees(info.boresight_rotation_angle) if info.boresight_rotation_coord == "sky" else None,
        airmass=info.boresight_airmass,
        azimuth=None if altaz is None else float(altaz.az.deg),
        zenith_angle=None if altaz is None else float(altaz.zen.deg),
        observation_type=info.observation_type or "unknown",
        reason=info.observation_reason or "unknown",
        science_program="unknown" if info.science_program is None else info.science_program,
        target_name=info.object,
        has_simulated=bool(info.has_simulated_content),
        can_see_sky=info.can_see_sky,
    )
    return held_to_limits(found, filename)


def _place_in_group(values: Mapping[str, Any], instrument: str) -> tuple[str | None, int | None]:
    """Return group and snap from the header, if the instrument's description names their keywords."""
    rules = load_instrument(instrument).document.exposures
    group, snap = values.get(GROUP_KEYWORD), values.get(SNAP_KEYWORD)
    own_group = None if group is None else str(group)
    own_snap = snap if isinstance(snap, int) else None
    return (
        own_group if rules.group is None else rules.group.text(values),
        own_snap if rules.snap is None else rules.snap.integer(values),
    )


def _degrees(angle: Any) -> float | None:
    if angle is None or not math.isfinite(angle.deg):
        return None
    return float(angle.deg)


def _key_in(filename: str | None) -> RawKey | None:
    if filename is None:
        return None
    parts = filename.split("/")
    return RawKey.parse("/".join(parts[-7:])) or RawKey.parse("/".join(parts[-4:]))


def _translated(values: dict[str, Any], instrument: str) -> Any:
    if load_instrument(instrument).document.header is None:
        require_plain_identifiers(values)
    # Imported late: a worker is ready for visits before it reads a header.
    from astro_metadata_translator import ObservationInfo

    # Typed as Any: the attributes of `ObservationInfo` are optional, but the required ones are present.
    try:
        return ObservationInfo(
            # ObservationInfo adds records to the header, so it gets a copy. A header that says that it is
            # corrected is not corrected again.
            values
            | {f"HIERARCH {key}": value for key, value in values.items() if key.startswith(_CORRECTED)},
            translator_class=translator_for(instrument),
            required=_REQUIRED,
            subset=_REQUIRED | _OPTIONAL,
            quiet=True,
        )
    except (KeyError, TypeError, ValueError) as error:
        cause = error.__cause__ or error
        if isinstance(cause, HeaderError):
            raise cause from None
        for name, key in _LIKELY_KEYS.items():
            if f"'{name}'" in str(error):
                named = str(cause.args[0]) if isinstance(cause, KeyError) and cause.args else ""
                missing = named if re.fullmatch(r"[A-Z0-9_-]{1,8}", named) else key
                problem = "is missing." if missing not in values else f"{values[missing]!r}: {cause}"
                raise HeaderError(missing, problem) from error
        raise HeaderError("INSTRUME", f"the header cannot be translated: {error}") from error


def exposure_dimension_record_fields(observation: Observation) -> dict[str, Any]:
    """Return the fields of the Butler's ``exposure`` dimension record.

    Parameters
    ----------
    observation
        Translated header.

    Returns
    -------
    fields
        Keyword arguments of the record class, dimension universe 2 and later.
    """
    from lsst.daf.butler import Timespan

    return {
        "instrument": observation.instrument,
        "id": observation.exposure_id,
        "obs_id": observation.obs_id,
        "group": observation.group,
        "day_obs": observation.day_obs,
        "physical_filter": observation.physical_filter,
        "exposure_time": observation.exposure_time,
        "dark_time": observation.dark_time,
        "observation_type": observation.observation_type,
        "observation_reason": observation.reason,
        "seq_num": observation.seq_num,
        "seq_start": observation.seq_start,
        "seq_end": observation.seq_end,
        "target_name": observation.target_name,
        "science_program": observation.science_program,
        "tracking_ra": observation.ra,
        "tracking_dec": observation.dec,
        "sky_angle": observation.rotation,
        "azimuth": observation.azimuth,
        "zenith_angle": observation.zenith_angle,
        "has_simulated": observation.has_simulated,
        "can_see_sky": observation.can_see_sky,
        "timespan": Timespan(observation.begin, observation.end),
    }
