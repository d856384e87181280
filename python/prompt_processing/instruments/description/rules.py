"""Rules that find a value in a header, and their reverse for simulated headers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Literal, Self

import astropy.units as u
from astropy.coordinates import Angle
from astropy.time import Time, TimeDelta
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ..errors import HeaderError
from .dates import iso_clock, iso_day, without_zone

__all__ = ["AngleRule", "KeywordRule", "RotationRule", "TimeRule", "defined", "matches", "number_of"]


_WITH_UNIT = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*[A-Za-z\u00b5\"'%]+\.?")


def defined(header: Mapping[str, Any], keyword: str) -> bool:
    """Return whether a header has a value for a keyword: not blank, not undefined, not NaN."""
    value = header.get(keyword)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return False
    return not (isinstance(value, str) and not value.strip())


def number_of(value: Any) -> float:
    """Return a number, or that of a text with a unit behind it, such as ``30.0 s``.

    Raises
    ------
    ValueError
        Raised if it is neither.
    TypeError
        Raised likewise.
    """
    if isinstance(value, str) and (match := _WITH_UNIT.fullmatch(value.strip())):
        value = match[1]
    return float(value)


def matches(header: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Return whether a header has all the values wanted.

    Parameters
    ----------
    header
        Keywords.
    wanted
        By keyword: a value or a list of values (texts in any case), ``{matches: regular expression}``, or
        ``{defined: true or false}``.
    """
    return all(_holds(header, keyword, value) for keyword, value in wanted.items())


def _holds(header: Mapping[str, Any], keyword: str, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        if "defined" in wanted:
            return defined(header, keyword) is bool(wanted["defined"])
        value = header.get(keyword)
        return value is not None and bool(
            re.fullmatch(str(wanted["matches"]), str(value).strip(), re.IGNORECASE)
        )
    choices = wanted if isinstance(wanted, list | tuple) else [wanted]
    return defined(header, keyword) and any(_same(header[keyword], choice) for choice in choices)


def _same(value: Any, choice: Any) -> bool:
    if isinstance(value, str) or isinstance(choice, str):
        return str(value).strip().lower() == str(choice).strip().lower()
    return bool(value == choice)


class _Rule(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    keywords: tuple[str, ...] = ()
    """The first that has a value counts."""

    @model_validator(mode="before")
    @classmethod
    def _from_short_form(cls, value: Any) -> Any:
        """Accept a keyword, or a list of keywords, for a rule that needs nothing else."""
        if isinstance(value, str):
            return {"keywords": (value,)}
        if isinstance(value, list | tuple):
            return {"keywords": tuple(value)}
        if isinstance(value, dict) and "keyword" in value:
            rest = {name: item for name, item in value.items() if name != "keyword"}
            return {"keywords": (value["keyword"],), **rest}
        return value

    def keyword_in(self, header: Mapping[str, Any]) -> str | None:
        """Return the keyword that has the value, or `None`."""
        return next((keyword for keyword in self.keywords if defined(header, keyword)), None)


class KeywordRule(_Rule):
    """A value of a keyword, or a constant."""

    constant: Any = None
    """Value where no keyword has one."""
    skip: tuple[str, ...] = ()
    """Values, in any case, after which the next keyword counts: open positions of filter wheels."""
    pattern: str | None = None
    """Regular expression; its first group is the value."""
    values: Mapping[str, Any] = Field(default_factory=dict)
    """Values by those in the header, in any case."""
    otherwise: Any = None
    """Value for those in the header that neither the pattern nor `values` fits."""
    multiply: float = 1.0
    add: float = 0.0
    """Applied to numbers, in this order."""

    @field_validator("pattern")
    @classmethod
    def _has_a_group(cls, value: str | None) -> str | None:
        try:
            if value is not None and re.compile(value).groups != 1:
                raise ValueError(f"{value!r} has not exactly one group")
        except re.error as error:
            raise ValueError(f"{value!r} is not a regular expression: {error}") from error
        return value

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.keywords and self.constant is None:
            raise ValueError("a rule names keywords or a constant")
        return self

    def keyword_in(self, header: Mapping[str, Any]) -> str | None:
        """Return the keyword that has the value, or `None`."""
        having = [keyword for keyword in self.keywords if defined(header, keyword)]
        kept = [keyword for keyword in having if not any(_same(header[keyword], one) for one in self.skip)]
        return next(iter([*kept, *having]), None)

    def find(self, header: Mapping[str, Any]) -> Any:
        """Return the value, or `None`.

        Raises
        ------
        HeaderError
            Raised if the value does not match the pattern.
        """
        keyword = self.keyword_in(header)
        if keyword is None:
            return self.constant
        value = header[keyword]
        if isinstance(value, str):
            value = value.strip()
        if self.pattern is not None:
            match = re.search(self.pattern, str(value))
            if match is None:
                if self.otherwise is not None:
                    return self.otherwise
                raise HeaderError(keyword, f"{value!r} does not match {self.pattern}.")
            value = match[1]
        given = value
        known = {name.lower(): item for name, item in self.values.items()}
        if self.otherwise is not None and known:
            value = self.otherwise if self.pattern is None else value
        return known.get(str(given).lower(), value)

    def number(self, header: Mapping[str, Any]) -> float | None:
        """Return the value as a number, or `None`.

        Raises
        ------
        HeaderError
            Raised if the value is not a number.
        """
        value = self.find(header)
        if value is None:
            return None
        try:
            return number_of(value) * self.multiply + self.add
        except (TypeError, ValueError):
            raise HeaderError(self._named(header), f"{value!r} is not a number.") from None

    def integer(self, header: Mapping[str, Any]) -> int | None:
        """Return the value as an integer, without the loss of digits of a float.

        Raises
        ------
        HeaderError
            Raised if the value is not an integer.
        """
        value = self.find(header)
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, bool) and re.fullmatch(r"[+-]?\d{1,18}", str(value)):
            return int(value) * int(self.multiply) + int(self.add)
        raise HeaderError(self._named(header), f"{value!r} is not an integer.")

    def text(self, header: Mapping[str, Any]) -> str | None:
        """Return the value as text, or `None`."""
        value = self.find(header)
        return None if value is None else str(value).strip()

    def cards(self, value: Any) -> dict[str, Any]:
        """Return keywords in which `find`, `number` and `integer` find a value.

        A pattern cannot be reversed: the value is then written as it is.
        """
        if not self.keywords:
            return {}
        if (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and (self.multiply, self.add) != (1, 0)
        ):
            value = (value - self.add) / self.multiply
        for written, meant in self.values.items():
            if _same(meant, value):
                return {self.keywords[0]: written}
        return {self.keywords[0]: value}

    def _named(self, header: Mapping[str, Any]) -> str:
        return self.keyword_in(header) or "(constant)"


class AngleRule(_Rule):
    """An angle, as a number of degrees or hours, or as text such as ``18:02:33.3``."""

    unit: Literal["deg", "hours"] = "deg"
    """Unit of numbers and of text."""
    number_unit: Literal["deg", "hours"] | None = None
    """Unit of numbers, if another."""
    constant: float | None = None
    """Degrees where no keyword has a value: for headers without a position."""

    def degrees(self, header: Mapping[str, Any]) -> float | None:
        """Return the angle in degrees, or `None`.

        Raises
        ------
        HeaderError
            Raised if the value is not an angle.
        """
        keyword = self.keyword_in(header)
        if keyword is None:
            return self.constant
        value = header[keyword]
        try:
            number = float(value)
        except (TypeError, ValueError):
            try:
                return float(Angle(str(value).strip(), u.hourangle if self.unit == "hours" else u.deg).deg)
            except (TypeError, ValueError) as error:
                raise HeaderError(keyword, f"{value!r} is not an angle.") from error
        return number * (15.0 if (self.number_unit or self.unit) == "hours" else 1.0)

    def cards(self, degrees: float) -> dict[str, Any]:
        """Return keywords in which `degrees` finds an angle."""
        if not self.keywords:
            return {}
        if self.unit == "deg":
            return {self.keywords[0]: degrees}
        text = Angle(degrees, u.deg).to_string(unit=u.hourangle, sep=":", precision=4, pad=True)
        return {self.keywords[0]: text}


class RotationRule(KeywordRule):
    """An angle of the camera on the sky, degrees."""

    add_180_where: tuple[Mapping[str, Any], ...] = ()
    """Values, as in `matches`, with which the camera is upside down, its mount beyond the meridian."""

    def degrees(self, header: Mapping[str, Any]) -> float | None:
        """Return the angle in degrees, not wrapped, or `None`."""
        angle = self.number(header)
        if angle is None:
            return None
        return angle + 180.0 if any(matches(header, one) for one in self.add_180_where) else angle


class TimeRule(_Rule):
    """A time, from a date with or without the time of day, or a day number."""

    time_keywords: tuple[str, ...] = ()
    """Keywords with the time of day, for dates without it."""
    time_unit: Literal["hours", "seconds"] | None = None
    """Unit of times of day that are numbers since midnight; by default ``hh:mm:ss``."""
    format: Literal["fits", "mjd", "jd", "unix"] = "fits"
    """``YYYY-MM-DDThh:mm:ss``, or Modified Julian Days, Julian Days, or seconds since 1970. Dates may also be
    written as ``YYYY/MM/DD``, ``YYYYMMDD`` or, day first, as ``DD/MM/YY``; a zone may follow the time."""
    scale: Literal["utc", "tai", "tt"] = "utc"
    scale_keyword: str | None = "TIMESYS"
    """Keyword that names the scale, where present."""
    add_hours: float = 0.0
    """Correction, for clocks that show a local time."""
    moment: Literal["begin", "middle", "end"] = "begin"
    """Moment of the exposure; the begin follows from the exposure time."""

    @property
    def share(self) -> float:
        """Part of the exposure that is over at its moment."""
        return {"begin": 0.0, "middle": 0.5, "end": 1.0}[self.moment]

    def time(self, header: Mapping[str, Any]) -> Time | None:
        """Return the time, or `None`.

        Raises
        ------
        HeaderError
            Raised if the value is not a time.
        """
        keyword = self.keyword_in(header)
        if keyword is None:
            return None
        value, scale = header[keyword], self.scale
        named = str(header.get(self.scale_keyword, "")).strip().lower() if self.scale_keyword else ""
        if named in ("utc", "tai", "tt"):
            scale = named  # type: ignore[assignment]
        hours = self.add_hours
        try:
            if self.format == "fits":
                date, ahead = self._date(header, str(value))
                hours -= ahead
                found = Time(date, format="isot", scale=scale)
            else:
                # Seconds since 1970 are those of UTC.
                found = Time(
                    float(value), format=self.format, scale="utc" if self.format == "unix" else scale
                )
        except (TypeError, ValueError) as error:
            raise HeaderError(keyword, f"{value!r} is not a time: {error}") from error
        return found + TimeDelta(hours * 3600, format="sec", scale="tai")

    def _date(self, header: Mapping[str, Any], text: str) -> tuple[str, float]:
        """Return a date and time in the standard's form, and the hours by which its zone is ahead of UTC."""
        # Some programs write blanks beside the T, or instead of it, or a Z or another name of UTC at the end.
        text = re.sub(r"\s*(Z|UTC?|GMT|\+00:?00)$", "", text.strip())
        day, _, clock = re.sub(r"\s*[T\s]\s*", "T", text).partition("T")
        if not clock:
            time = next((key for key in self.time_keywords if defined(header, key)), None)
            if time is None:
                if self.time_keywords:
                    missing = " and ".join(self.time_keywords)
                    raise ValueError(f"it has no time of day, and {missing} are missing")
                raise ValueError("it has no time of day")
            clock = self._clock(header[time])
        clock, ahead = without_zone(clock)
        return f"{iso_day(day)}T{iso_clock(clock)}", ahead

    def _clock(self, value: Any) -> str:
        if self.time_unit is None:
            # Some keywords repeat the date.
            return re.split(r"[T\s]+(?=\d)", str(value).strip())[-1].removesuffix("Z").strip()
        seconds = float(value) * (3600 if self.time_unit == "hours" else 1)
        if not 0 <= seconds < 86400:
            raise ValueError(f"{value!r} is not a time of day in {self.time_unit}")
        # Microseconds, so that no rounding makes a minute of 60 seconds.
        minutes, rest = divmod(round(seconds * 1e6), 60_000_000)
        return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest / 1e6:09.6f}"

    def cards(self, when: Time) -> dict[str, Any]:
        """Return keywords in which `time` finds a time."""
        if not self.keywords:
            return {}
        scaled: Time = getattr(when, self.scale) - TimeDelta(self.add_hours * 3600, format="sec", scale="tai")
        stamp = {self.scale_keyword: self.scale.upper()} if self.scale_keyword else {}
        if self.format != "fits":
            return {**stamp, self.keywords[0]: float(getattr(scaled, self.format))}
        if self.time_keywords:
            date, _, clock = scaled.isot.partition("T")
            return {**stamp, self.keywords[0]: date, self.time_keywords[0]: clock}
        return {**stamp, self.keywords[0]: scaled.isot}
