"""Forms of parameters that flows share."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from ..errors import FlowError

if TYPE_CHECKING:
    from astropy.time import Time

__all__ = ["day_of", "nights_between", "noon_of", "time_of", "timestamp"]


def nights_between(nights: tuple[int, ...]) -> tuple[int, int] | None:
    """Return the first and the last of some nights; `None` for all nights.

    Raises
    ------
    FlowError
        Raised if they are not one or two nights in order.
    """
    if not nights:
        return None
    if len(nights) > 2 or nights[0] > nights[-1] or not all(10**7 <= night < 10**8 for night in nights):
        raise FlowError("nights are FIRST,LAST, both YYYYMMDD, such as 20260910,20260912")
    return nights[0], nights[-1]


def day_of(night: str) -> int:
    """Return an observing day, ``YYYY-MM-DD``, as the number ``YYYYMMDD`` of the Butler.

    Raises
    ------
    FlowError
        Raised if it is not a day.
    """
    try:
        return int(date.fromisoformat(night).strftime("%Y%m%d"))
    except ValueError as error:
        raise FlowError(f"night {night!r} is not a day, YYYY-MM-DD") from error


def noon_of(day: int) -> float:
    """Return the begin of an observing day (``YYYYMMDD``), Unix seconds, UTC."""
    return datetime.strptime(f"{day} 12", "%Y%m%d %H").replace(tzinfo=UTC).timestamp()


def time_of(text: str | None, name: str) -> Time | None:
    """Read a time, UTC, as TAI.

    Raises
    ------
    FlowError
        Raised, with the parameter's name, if it is not a time.
    """
    if text is None:
        return None
    from astropy.time import Time

    try:
        return Time(text, scale="utc").tai
    except ValueError as error:
        raise FlowError(f"{name} {text!r} is not a time such as 2026-09-10T12:00:00") from error


def timestamp() -> str:
    """Return the current time as a name."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
