"""Identity, time and pointing of an observation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VisitInfo:
    """Identity, time and pointing of one exposure of one detector.

    Attributes
    ----------
    instrument
        Short name, as in the Butler.
    exposure, detector
        Ids; a visit of one exposure has the exposure's id.
    physical_filter, band
        Filter names.
    mid_mjd_tai
        Middle of the exposure, TAI, days.
    exposure_time
        Seconds.
    boresight_ra, boresight_dec
        Announced pointing, ICRS degrees.
    rotation
        Angle of focal-plane +Y, east of north, degrees.
    airmass
        At the boresight; NaN where unknown.
    observation_reason, target_name
        Scheduler's values; empty if the raw's header has none.
    """

    instrument: str
    exposure: int
    detector: int
    physical_filter: str
    band: str
    mid_mjd_tai: float
    exposure_time: float
    boresight_ra: float
    boresight_dec: float
    rotation: float
    airmass: float = float("nan")
    observation_reason: str = ""
    target_name: str = ""
