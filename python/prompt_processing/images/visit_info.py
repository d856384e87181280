"""What is known of an observation besides its pixels."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VisitInfo:
    """Identity, time and pointing of one exposure of one detector.

    Attributes
    ----------
    instrument : `str`
        Short name, as in the Butler.
    exposure, detector : `int`
        Ids; a visit of one exposure has the exposure's id.
    physical_filter, band : `str`
        Filter names.
    mid_mjd_tai : `float`
        Middle of the exposure, TAI, days.
    exposure_time : `float`
        Seconds.
    boresight_ra, boresight_dec : `float`
        Announced pointing, ICRS degrees.
    rotation : `float`
        Angle of focal-plane +Y, east of north, degrees.
    airmass : `float`
        At the boresight; NaN where unknown.
    observation_reason, target_name : `str`
        The scheduler's words; empty where the raw's header has none.
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
