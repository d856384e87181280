"""Periods of time that statistics are kept for, and from which shorter ones each is made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

__all__ = ["LEVELS", "Period", "parents"]

LEVELS = ("night", "lunation", "month", "season", "year")
"""From the shortest to the longest."""

_FIRST_NEW_MOON = datetime(1923, 1, 17, 2, 41, tzinfo=UTC)
"""That of Brown's lunation 1."""
_LUNATION_DAYS = 29.530588853
_SEASONS = ("DJF", "MAM", "JJA", "SON")


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """A period of time.

    Attributes
    ----------
    level
        One of `LEVELS`.
    name
        ``2026-11-28``, ``1285``, ``2026-11``, ``2026-SON`` or ``2026``. The season from December on has the
        year of its January.
    """

    level: str
    name: str


def parents(period: Period) -> tuple[Period, ...]:
    """Return the periods that are made of a period and others like it.

    Lunations and months are made of nights, seasons and years of months. A lunation begins at the mean new
    moon, which is within 14 hours of the true one; a night belongs to that of its midnight.
    """
    if period.level == "night":
        day = date.fromisoformat(period.name)
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
        lunation = 1 + math.floor((midnight - _FIRST_NEW_MOON) / timedelta(days=_LUNATION_DAYS))
        return Period("lunation", str(lunation)), Period("month", f"{day:%Y-%m}")
    if period.level == "month":
        year, month = map(int, period.name.split("-"))
        season = _SEASONS[month % 12 // 3]
        return Period("season", f"{year + (month == 12)}-{season}"), Period("year", f"{year:04d}")
    return ()
