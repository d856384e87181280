"""Derive from a raw's header what the telescope would have announced."""

from __future__ import annotations

from prompt_processing.domain.clock import utc_to_tai
from prompt_processing.domain.visit import CoordinateSystem, FannedOutVisit, RotationSystem

from .headers import Observation

__all__ = ["announcement_of"]


def announcement_of(observation: Observation, now_unix_utc: float) -> FannedOutVisit:
    """Return the announcement of a raw's visit.

    Parameters
    ----------
    observation
        Translated header.
    now_unix_utc
        Current time: the age of a visit counts from now on, whatever the age of its raw.
    """
    has_position = observation.ra is not None and observation.dec is not None
    position = (observation.ra, observation.dec) if has_position else None
    return FannedOutVisit.parse(
        {
            "salIndex": 0,
            # Snaps are processed one by one: a file is all that is known.
            "groupId": f"{observation.group}-{observation.exposure_id}"
            if observation.group != str(observation.exposure_id)
            else observation.group,
            "coordinateSystem": CoordinateSystem.ICRS if has_position else CoordinateSystem.NONE,
            "position": position,
            "startTime": float(observation.begin.unix_tai),
            "rotationSystem": RotationSystem.NONE if observation.rotation is None else RotationSystem.SKY,
            "cameraAngle": observation.rotation or 0.0,
            "filters": observation.physical_filter,
            "duration": 0.0,
            "nimages": 1,
            "instrument": observation.instrument,
            "survey": observation.science_program,
            "private_sndStamp": utc_to_tai(now_unix_utc),
            "detector": observation.detector,
        }
    )
