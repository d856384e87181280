"""Guess which keywords have the begin of an exposure and its length."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from prompt_processing.instruments.description.rules import TimeRule, defined, number_of
from prompt_processing.instruments.errors import HeaderError

from .frames import Frame
from .guess import Guess

__all__ = ["guess_exposure_time", "guess_time"]

_UTC_DATES = ("DATE-BEG", "DATE-UTC", "DATE_UTC", "UTC-OBS", "UTDATE", "UT-DATE", "UTC-DATE", "DATEUTC")
_DATES = ("DATE-BEG", "DATE-OBS", "DATE_OBS", "DATEOBS", *_UTC_DATES[1:], "STARTIME", "EXPSTART", "OBSDATE")
_LATE = re.compile(r"END|STOP|FILE|CREAT|PROC|MOD|LOC|AVG|MID|READ|CAL|HJD|BJD|RJD|HELI", re.IGNORECASE)
"""Keywords whose time is not the begin of the exposure in UTC."""
_MOMENTS = (("middle", re.compile(r"AVG|MID|MEAN")), ("end", re.compile(r"END|STOP")))
_UNIX = re.compile(r"UNIX|EPOCH|CTIME|TSTAMP|TIMEST|SECONDS")
"""Keywords of seconds since 1970."""
_CLOCKS = (
    *("TIME-OBS", "TIME_OBS", "TIMEOBS", "UTSTART", "UT-STR", "UTC-OBS", "UT-OBS", "UT", "UTC", "TIME-BEG"),
    *("TIME-UTC", "UT-TIME", "UTTIME", "EXPSTART", "TIME"),
)
_UTC_CLOCKS = ("UTSTART", "UT-STR", "UTC-OBS", "UT-OBS", "UT", "UTC", "TIME-UTC", "UT-TIME", "UTTIME")
_DAYS = (
    *("MJD-BEG", "MJD-OBS", "MJD_OBS", "MJDOBS", "OBSMJD", "MJDSTART", "MJD-STR", "MJD"),
    *("JD-BEG", "JD-OBS", "JD_OBS", "JDSTART", "JD_UTC", "JD-UTC", "OBSJD", "JULIAN", "JULDATE", "JD"),
)
_ZONES = ("TIMEZONE", "UTOFFSET", "UTCOFFS", "UTCOFFST", "TZ", "GMTOFF")
_LONGITUDES = ("SITELONG", "LONG-OBS", "OBS-LONG", "LONGITUD", "OBSLONG", "ESO TEL GEOLON", "GEOLON")
_EXPOSURE_TIMES = ("EXPTIME", "EXPOSURE", "EXP_TIME", "EXP-TIME", "EXPOSED", "ITIME", "INTTIME", "TEXP")
_UNITS = (
    (re.compile(r"(?i)\bms\b|msec|milli"), 1e-3),
    (re.compile(r"(?i)\bus\b|usec|micro"), 1e-6),
    (re.compile(r"(?i)\bmin(utes?)?\b"), 60.0),
)
_LOCAL = ("local", "lt", "loc", "localtime", "local time", "civil")
_SCALES = ("utc", "ut", "tai", "tt")
_SAYS_LOCAL = re.compile(r"(?i)\blocal\b|\bcivil\b|\bL\.?T\b")
"""Comments of a clock that shows local time."""
_SAME_HOURS = 0.1
_LEAST_SHIFT_HOURS, _MOST_SHIFT_HOURS = 0.9, 14.1


def guess_time(frames: Sequence[Frame]) -> dict[str, Guess]:
    """Guess the rule for the begin of the exposure."""
    headers = [frame.header for frame in frames]
    scale = str(headers[0].get("TIMESYS", "")).strip().lower()
    readable = [rule for rule in _candidates(headers) if _times(rule, headers) is not None]
    # DATE is when the file was written, at best.
    others = [rule for rule in readable if rule["keyword"] != "DATE" and not _says_local(rule, frames)]
    is_local = scale in _LOCAL or (not others and any(_says_local(rule, frames) for rule in readable[:1]))
    readable = others or readable
    if scale in _LOCAL:
        # The clock in UTC, if another keyword has it.
        universal = [
            rule
            for rule in readable
            if (rule["keyword"] in _UTC_DATES or "format" in rule) and "moment" not in rule
        ]
        if universal:
            return {"begin": Guess(_explicit(universal[0]), "TIMESYS says that other clocks are local")}
    if not readable:
        rule = {"keyword": "DATE-OBS", "scale": "utc"}
        return {"begin": Guess(rule, "", "which keyword has the begin of the exposure")}
    rule = readable[0]
    doubt = "whether the clock shows UTC (`add_hours` corrects a local time)"
    if is_local:
        return {"begin": _local(rule, headers)}
    if "moment" in rule:
        moment = rule["moment"]
        return {"begin": Guess(rule, f"the {moment} of the exposure", f"whether it is the {moment}, in UTC")}
    if "format" in rule:
        clock = scale.upper() if scale in _SCALES else "UTC"
        return {"begin": Guess(rule, "", f"whether it is the begin of the exposure, in {clock}")}
    why = "date and time of day" if "time_keywords" in rule else ""
    shift = _shift_hours(rule, readable, headers)
    if shift is not None and shift[0] != 0:
        return {
            "begin": Guess(
                {**rule, "add_hours": shift[0]},
                f"{shift[1]} is {abs(shift[0]):g} hours {'later' if shift[0] > 0 else 'earlier'}",
                f"whether {rule['keyword']} is a local time and {shift[1]} is UTC; summer time changes it",
            )
        }
    doubt = "" if scale in _SCALES or shift is not None or _names_zone(rule, headers) else doubt
    return {"begin": Guess(rule, why, _twelve_hours(frames, rule["keyword"]) or doubt)}


def _says_local(rule: Mapping[str, Any], frames: Sequence[Frame]) -> bool:
    """Return whether the comments of a rule's keywords say that they are in local time."""
    return any(
        _SAYS_LOCAL.search(frame.comments.get(keyword, ""))
        for frame in frames
        for keyword in (rule["keyword"], *rule.get("time_keywords", ()))
    )


def _candidates(headers: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield rules that may give the begin, the most probable first."""
    header = headers[0]
    named = [*_DATES, *sorted(key for key in header if key not in _DATES and _may_be_date(key))]
    for keyword in named:
        text = str(header.get(keyword, ""))
        if not re.search(r"\d", text) or isinstance(header[keyword], float):
            continue
        if re.search(r"\d\d?:\d\d", text):
            if re.search(r"\d+[-/.]\d+[-/.]\d+", text):
                yield {"keyword": keyword, "scale": "utc"}
            continue
        for clock in _CLOCKS:
            if not defined(header, clock):
                continue
            rule = {"keyword": keyword, "time_keywords": [clock], "scale": "utc"}
            yield rule if isinstance(header[clock], str) else {**rule, "time_unit": _unit(clock, headers)}
    days = [*_DAYS, *sorted(key for key in header if key not in _DAYS and _may_be_day(key))]
    for keyword in days:
        if (format_ := _day_format(header.get(keyword))) is not None:
            yield {"keyword": keyword, "format": format_, "scale": "utc"}
    for keyword in sorted(key for key in header if _UNIX.search(key)):
        value = header[keyword]
        if isinstance(value, int | float) and 9.4e8 < value < 4e9:
            yield {"keyword": keyword, "format": "unix", "scale": "utc"}
    yield from _other_moments(header)
    if defined(header, "DATE") and ":" in str(header["DATE"]):
        # By the standard the time at which the file was written.
        yield {"keyword": "DATE", "scale": "utc"}


def _other_moments(header: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield rules for headers that have only the middle or the end of the exposure."""
    for moment, pattern in _MOMENTS:
        for keyword in sorted(key for key in header if pattern.search(key)):
            if re.search(r"DATE|UTC", keyword):
                if re.search(r"\d+[-/.]\d+[-/.]\d+.*\d\d?:\d\d", str(header[keyword])):
                    yield {"keyword": keyword, "scale": "utc", "moment": moment}
            elif (
                re.search(r"MJD|JD", keyword)
                and not re.search(r"HJD|BJD|HELI", keyword)
                and (format_ := _day_format(header[keyword])) is not None
            ):
                yield {"keyword": keyword, "format": format_, "scale": "utc", "moment": moment}


def _day_format(value: Any) -> str | None:
    try:
        day = float(value)
    except (TypeError, ValueError):
        return None
    return "mjd" if 30_000 < day < 90_000 else "jd" if 2_430_000 < day < 2_490_000 else None


def _may_be_date(key: str) -> bool:
    return ("DATE" in key or "UTC" in key) and key != "DATE" and not _LATE.search(key)


def _may_be_day(key: str) -> bool:
    return ("MJD" in key or "JD" in key) and not _LATE.search(key)


def _unit(clock: str, headers: Sequence[Mapping[str, Any]]) -> str:
    largest = max(float(header[clock]) for header in headers if isinstance(header.get(clock), int | float))
    return "hours" if largest < 24 else "seconds"


def _explicit(rule: Mapping[str, Any]) -> dict[str, Any]:
    # TIMESYS names the scale of another keyword.
    return {**rule, "scale_keyword": None}


def _times(rule: Mapping[str, Any], headers: Sequence[Mapping[str, Any]]) -> list[float] | None:
    """Return the times of all headers, Unix seconds, or `None`."""
    try:
        found = [TimeRule.model_validate(rule).time(header) for header in headers]
    except HeaderError:
        return None
    times = [float(time.unix) for time in found if time is not None]
    return times if len(times) == len(headers) else None


def _local(rule: Mapping[str, Any], headers: Sequence[Mapping[str, Any]]) -> Guess:
    header = headers[0]
    for keyword in _ZONES:
        try:
            zone = float(header[keyword])
        except (KeyError, TypeError, ValueError):
            continue
        if abs(zone) <= _MOST_SHIFT_HOURS:
            return Guess(
                {**rule, "add_hours": -zone},
                f"TIMESYS says local time; {keyword} is {zone:g}",
                f"the sign of {keyword}: east of Greenwich it is positive; summer time changes it",
            )
    longitudes = [float(header[key]) for key in _LONGITUDES if isinstance(header.get(key), int | float)]
    hours = -round(((longitudes[0] + 180) % 360 - 180) / 15) if longitudes else 0
    return Guess(
        {**rule, "add_hours": float(hours)},
        "a local time",
        "the hours between this clock and UTC (`add_hours`)",
    )


def _shift_hours(
    rule: Mapping[str, Any], readable: Sequence[Mapping[str, Any]], headers: Sequence[Mapping[str, Any]]
) -> tuple[float, str] | None:
    """Return the hours by which another keyword is later than a date, 0 if they agree; `None` without one."""
    dates = _times(rule, headers)
    if dates is None or rule.get("time_keywords", [""])[0] in _UTC_CLOCKS:
        return None
    found = [
        ([other - date for other, date in zip(others, dates, strict=True)], str(one["keyword"]))
        for one in readable
        if ("format" in one or one["keyword"] in _UTC_DATES) and one["keyword"] != rule["keyword"]
        if "moment" not in one
        if (others := _times(one, headers)) is not None
    ]
    for clock in _UTC_CLOCKS:
        clocks = [_seconds_of_day(header.get(clock)) for header in headers]
        known = [one for one in clocks if one is not None]
        if len(known) == len(headers):
            differences = [
                (one - date + 43200) % 86400 - 43200 for one, date in zip(known, dates, strict=True)
            ]
            found.append((differences, clock))
    for seconds, keyword in found:
        hours = float(np.median(seconds)) / 3600
        rounded = round(4 * hours) / 4
        if abs(hours - rounded) < _SAME_HOURS and max(np.abs(np.array(seconds) / 3600 - hours)) < _SAME_HOURS:
            if abs(rounded) < _LEAST_SHIFT_HOURS:
                return 0.0, keyword
            if abs(rounded) < _MOST_SHIFT_HOURS:
                return rounded, keyword
    return None


def _names_zone(rule: Mapping[str, Any], headers: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether all times name their zone."""
    keyword = rule.get("time_keywords", [rule["keyword"]])[0]
    return all(
        re.search(r":\d\d(\.\d*)?\s*(Z|UTC?|GMT|[+-]\d\d:?(\d\d)?)$", str(header.get(keyword, "")).strip())
        for header in headers
    )


def _seconds_of_day(value: Any) -> float | None:
    match = re.fullmatch(r"(\d\d?):(\d\d?):(\d\d?(?:\.\d*)?)", str(value).strip())
    return None if match is None else 3600 * int(match[1]) + 60 * int(match[2]) + float(match[3])


def _twelve_hours(frames: Sequence[Frame], keyword: str) -> str:
    """Return a doubt if a comment shows that the clock in a keyword counts only twelve hours."""
    for frame in frames:
        clock = re.search(r"\d\d:\d\d:\d\d", str(frame.header.get(keyword, "")))
        for comment in frame.comments.values():
            half = re.search(r"(\d{1,2}:\d\d:\d\d) (AM|PM)", comment)
            if clock and half and clock[0].lstrip("0") == half[1].lstrip("0") and half[2] == "PM":
                return (
                    f"the clock: {frame.path.name} was taken at {half[1]} {half[2]} according to a comment, "
                    f"but {keyword} has {clock[0]}. It counts twelve hours, probably of local time; "
                    "`add_hours` corrects the times of one half of the day"
                )
    return ""


def guess_exposure_time(frames: Sequence[Frame], begin: Guess) -> Guess:
    """Guess the rule for the exposure time, and its unit.

    Parameters
    ----------
    frames
        Frames, best of several kinds.
    begin
        Rule for the begin of the exposure: exposures that last longer than the time between them show that
        their unit is not a second.
    """
    headers = [frame.header for frame in frames]
    found = [keyword for keyword in _EXPOSURE_TIMES if _numbers(headers, keyword)]
    if not found:
        found = sorted(
            key
            for key in headers[0]
            if re.match(r"EXP|ITIME|INTTIM|TEXP|ESO .*(DIT|EXPTIME)", key)
            and not re.search(r"NUM|ID|START|BEG|END|COUNT|TOT", key)
            and _numbers(headers, key)
        )
    if not found:
        return Guess("EXPTIME", "", "which keyword has the exposure time in seconds")
    units = {keyword: _unit_of(keyword, frames) for keyword in found}
    # One in seconds precedes.
    found.sort(key=lambda keyword: units[keyword] != 1.0)
    unit, why, doubt = units[found[0]], "", ""
    if unit == 1.0 and _overlaps(found[0], headers, begin):
        unit, doubt = 1e-3, "the unit: in seconds the exposures would overlap, so milliseconds are assumed"
    if unit != 1.0:
        why = why or f"in units of {unit:g} s"
    same = [keyword for keyword in found if units[keyword] == units[found[0]]]
    rule: dict[str, Any] = {"keyword": found[0]} if len(same) == 1 or unit != 1.0 else {"keywords": same[:2]}
    if unit != 1.0:
        rule["multiply"] = unit
    without = [frame for frame in frames if not any(defined(frame.header, key) for key in same)]
    if without and all(frame.kind == "bias" for frame in without):
        rule["constant"] = 0.0
    return Guess(found[0] if rule == {"keyword": found[0]} else rule, why, doubt)


def _numbers(headers: Sequence[Mapping[str, Any]], keyword: str) -> list[float]:
    values = []
    for header in headers:
        if defined(header, keyword) and not isinstance(header[keyword], bool):
            try:
                values.append(number_of(header[keyword]))
            except (TypeError, ValueError):
                return []
    return values


def _unit_of(keyword: str, frames: Sequence[Frame]) -> float:
    """Return the unit in seconds, from a comment, the keyword's name, or another keyword of the same time."""
    comments = {frame.comments.get(keyword, "") for frame in frames}
    # The unit may be in the value.
    comments |= {value for frame in frames if isinstance(value := frame.header.get(keyword), str)}
    for pattern, unit in _UNITS:
        if any(pattern.search(comment) for comment in comments):
            return unit
    return 1e-3 if re.search(r"[_\s-]MS$|MSEC$|^EXPMS$", keyword) else 1.0


def _overlaps(keyword: str, headers: Sequence[Mapping[str, Any]], begin: Guess) -> bool:
    times = _times(begin.value, headers)
    lengths = _numbers(headers, keyword)
    if times is None or len(lengths) != len(times) or len(times) < 2:
        return False
    order = np.argsort(times)
    gaps, before = np.diff(np.array(times)[order]), np.array(lengths)[order][:-1]
    # Identical times are those of a copy.
    return bool(np.any(gaps > 0) and np.median(before[gaps > 0] / gaps[gaps > 0]) > 20)
