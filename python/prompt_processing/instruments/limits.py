"""What a header may say at most: the Butler's columns have lengths, and calendars have ends."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .errors import HeaderError

if TYPE_CHECKING:
    from .headers import Observation

_NAMES = {"obs_id": ("OBSID", 64), "group": ("GROUPID", 64), "physical_filter": ("FILTER", 32)}
"""Keyword and longest value of what identifies: cut short, it would be another's."""

_DESCRIPTIONS = {"observation_type": 16, "reason": 68, "science_program": 64, "target_name": 64}
"""Longest values of what only describes."""

_IDENTIFIERS = ("EXP-ID", "OBSID", "FRAMEID")
_LARGEST_NUMBER = 2**63
_LAST_SECOND = 4.1e9
"""TAI, in 2099: the Butler's time spans end with the century."""


def require_plain_identifiers(values: Mapping[str, Any]) -> None:
    """Refuse identifiers that are no words.

    The translators' library looks for a file of corrections that is named after the observation, so that
    what stands here becomes a part of a path.

    Raises
    ------
    HeaderError
        One holds anything but letters, digits, ``_`` and ``-``.
    """
    for key in _IDENTIFIERS:
        value = values.get(key)
        if value is not None and not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", str(value).strip()):
            raise HeaderError(key, f"{str(value)[:80]!r} is not an identifier.")


def held_to_limits(observation: Observation, source: str | None) -> Observation:
    """Hold an observation to what databases take.

    Parameters
    ----------
    observation : `Observation`
        As the header has it.
    source : `str` or `None`
        Where the header is from, for messages.

    Returns
    -------
    observation : `Observation`
        With descriptions cut to their longest, and numbers left out that are none.

    Raises
    ------
    HeaderError
        What identifies the image is too long or too large, or its time is of another century.
    """
    for name, (key, longest) in _NAMES.items():
        value = getattr(observation, name)
        if len(value) > longest or not value.isprintable():
            raise HeaderError(key, f"{value[:80]!r} is not a name of up to {longest} characters.", source)
    for name in ("exposure_id", "detector", "snap"):
        if not 0 <= getattr(observation, name) < _LARGEST_NUMBER:
            raise HeaderError(name, f"{getattr(observation, name)} is not a number that can be.", source)
    for name in ("seq_num", "seq_start", "seq_end"):
        if not -_LARGEST_NUMBER <= getattr(observation, name) < _LARGEST_NUMBER:
            raise HeaderError("SEQNUM", f"{getattr(observation, name)} is not a sequence number.", source)
    begin, end = float(observation.begin.unix_tai), float(observation.end.unix_tai)
    if not 0 < begin <= end < _LAST_SECOND:
        raise HeaderError("DATE-BEG", "it does not begin and end between 1970 and 2099.", source)
    shortened: dict[str, Any] = {
        name: "".join(c for c in text if c.isprintable())[:longest]
        for name, longest in _DESCRIPTIONS.items()
        if (text := getattr(observation, name)) is not None
    }
    finite: dict[str, Any] = {
        name: None
        for name in ("ra", "dec", "rotation", "airmass", "azimuth", "zenith_angle")
        if (value := getattr(observation, name)) is not None and not math.isfinite(value)
    }
    dark = observation.dark_time if math.isfinite(observation.dark_time) else observation.exposure_time
    return dataclasses.replace(observation, **shortened, **finite, dark_time=dark)
