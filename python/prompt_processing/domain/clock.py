"""Time scales of the observatory and the name of a night.

The summit stamps its messages in TAI, the Unix clock runs on UTC, and the name
of a night is the TAI date twelve hours earlier.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import erfa  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from astropy.time import Time

_TWELVE_HOURS = 12 * 3600.0


def _leap_second_table() -> tuple[list[float], list[float]]:
    # ERFA's own table, because astropy's IERS tables may need the network when a file has expired.
    rows = erfa.leap_seconds.get()
    # Before 1972 the offset was not a whole number of seconds, and no message is that old.
    rows = rows[rows["year"] >= 1972]
    starts = [datetime(int(r["year"]), int(r["month"]), 1, tzinfo=UTC).timestamp() for r in rows]
    return starts, [float(r["tai_utc"]) for r in rows]


_STARTS, _OFFSETS = _leap_second_table()
_STARTS_TAI = [start + offset for start, offset in zip(_STARTS, _OFFSETS, strict=True)]


def utc_to_tai(unix_utc: float) -> float:
    """Convert Unix seconds (UTC, as from `time.time`) to TAI.

    Parameters
    ----------
    unix_utc : `float`
        Seconds since 1970-01-01 00:00 UTC without leap seconds.

    Returns
    -------
    unix_tai : `float`
        Seconds since 1970-01-01 00:00 TAI, astropy's ``unix_tai``.
    """
    return unix_utc + _OFFSETS[max(0, bisect_right(_STARTS, unix_utc) - 1)]


def tai_to_utc(unix_tai: float) -> float:
    """Convert TAI seconds to Unix seconds; the inverse of `utc_to_tai`.

    Parameters
    ----------
    unix_tai : `float`
        Seconds since 1970-01-01 00:00 TAI.

    Returns
    -------
    unix_utc : `float`
        Seconds since 1970-01-01 00:00 UTC without leap seconds.
    """
    return unix_tai - _OFFSETS[max(0, bisect_right(_STARTS_TAI, unix_tai) - 1)]


def day_obs(when: float | Time) -> int:
    """Return the observing day: the TAI date twelve hours earlier.

    Parameters
    ----------
    when : `float` or `astropy.time.Time`
        Unix seconds in UTC, as from `time.time`, or an astropy time.

    Returns
    -------
    day : `int`
        ``YYYYMMDD``.
    """
    return int(night(when).replace("-", ""))


def night(when: float | Time) -> str:
    """Return the observing day in the form used in collection names.

    Parameters
    ----------
    when : `float` or `astropy.time.Time`
        Unix seconds in UTC, or an astropy time.

    Returns
    -------
    night : `str`
        ``YYYY-MM-DD``.
    """
    unix_tai = utc_to_tai(when) if isinstance(when, int | float) else float(when.unix_tai)
    return datetime.fromtimestamp(unix_tai - _TWELVE_HOURS, UTC).strftime("%Y-%m-%d")


def day_text(day: int) -> str:
    """Return a day such as 20261128 as ``2026-11-28``."""
    text = f"{day:08d}"
    return f"{text[:-4]}-{text[-4:-2]}-{text[-2:]}"
