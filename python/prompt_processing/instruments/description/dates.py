"""Bring dates and times of day of many programs into the form of the FITS standard."""

from __future__ import annotations

import re

__all__ = ["iso_clock", "iso_day", "without_zone"]

_FIRST_YEAR_OF_1900 = 70
"""Years of two digits below are of this century."""
_ZONE = re.compile(r"(.*\d:\d\d(?:\.\d*)?)\s*([+-])(\d\d):?(\d\d)?")
"""A time of day, and by how much it is ahead of UTC."""


def without_zone(clock: str) -> tuple[str, float]:
    """Return a time of day without its zone, such as ``+02:00``, and the hours that this is ahead of UTC."""
    match = _ZONE.fullmatch(clock)
    if match is None:
        return clock, 0.0
    hours = int(match[3]) + int(match[4] or 0) / 60
    return match[1], -hours if match[2] == "-" else hours


def iso_day(day: str) -> str:
    """Return a date as ``YYYY-MM-DD``; other texts are returned as they are."""
    if match := re.fullmatch(r"(\d{4})[-/.](\d\d?)[-/.](\d\d?)|(\d{4})(\d\d)(\d\d)", day):
        year, month, date = (part for part in match.groups() if part is not None)
        return f"{year}-{int(month):02d}-{int(date):02d}"
    # The form of the standard before 1999.
    if match := re.fullmatch(r"(\d\d?)[-/.](\d\d?)[-/.](\d{4}|\d\d)", day):
        date, month, year = match.groups()
        if len(year) == 2:
            year = f"19{year}" if int(year) >= _FIRST_YEAR_OF_1900 else f"20{year}"
        if int(month) > 12:
            date, month = month, date
        return f"{year}-{int(month):02d}-{int(date):02d}"
    return day


def iso_clock(clock: str) -> str:
    """Return a time of day with two digits of hours, minutes and seconds."""
    if match := re.fullmatch(r"(\d\d?):(\d\d?):(\d\d?)(\.\d*)?", clock):
        hours, minutes, seconds, fraction = match.groups()
        return f"{int(hours):02d}:{int(minutes):02d}:{int(seconds):02d}{fraction or ''}"
    if match := re.fullmatch(r"(\d\d)(\d\d)(\d\d(?:\.\d*)?)", clock):
        return ":".join(match.groups())
    return clock
