"""Limits on header values, from the lengths of the Butler's columns and the range of its dates."""

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
"""Keyword and maximum length of identifiers, which must not be truncated."""

_DESCRIPTIONS = {"observation_type": 16, "reason": 68, "science_program": 64, "target_name": 64}
"""Maximum lengths of descriptions, which are truncated."""

_IDENTIFIERS = ("EXP-ID", "OBSID", "FRAMEID")
_LARGEST_NUMBER = 2**63
_LAST_SECOND = 4.1e9
"""TAI seconds, in 2099: the Butler's time spans end with the century."""


def require_plain_identifiers(values: Mapping[str, Any]) -> None:
    """Reject identifiers with special characters.

    The translators' library looks for a file of corrections named after the observation, so these values
    become part of a path.

    Raises
    ------
    HeaderError
        Raised if one holds characters other than letters, digits, ``_`` and ``-``.
    """
    for key in _IDENTIFIERS:
        value = values.get(key)
        if value is not None and not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", str(value).strip()):
            raise HeaderError(key, f"{str(value)[:80]!r} is not an identifier.")


def held_to_limits(observation: Observation, source: str | None) -> Observation:
    """Restrict an observation to values that databases accept.

    Parameters
    ----------
    observation
        Observation from the header.
    source
        Source of the header, for messages.

    Returns
    -------
    observation
        Observation with truncated descriptions, and `None` for numbers that are not finite.

    Raises
    ------
    HeaderError
        Raised if an identifier is too long or too large, or the time is outside 1970 to 2099.
    """
    for name, (key, longest) in _NAMES.items():
        value = getattr(observation, name)
        if len(value) > longest or not value.isprintable():
            raise HeaderError(key, f"{value[:80]!r} is not a name of up to {longest} characters.", source)
    for name in ("exposure_id", "detector", "snap"):
        if not 0 <= getattr(observation, name) < _LARGEST_NUMBER:
            raise HeaderError(name, f"{getattr(observation, name)} is out of range.", source)
    for name in ("seq_num", "seq_start", "seq_end"):
        if not -_LARGEST_NUMBER <= getattr(observation, name) < _LARGEST_NUMBER:
            raise HeaderError(
                "SEQNUM", f"{getattr(observation, name)} is not a valid sequence number.", source
            )
    begin, end = float(observation.begin.unix_tai), float(observation.end.unix_tai)
    if not 0 < begin <= end < _LAST_SECOND:
        raise HeaderError("DATE-BEG", "the exposure does not begin and end between 1970 and 2099.", source)
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
