"""Guess which keyword names the filter, and the band of each filter."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from prompt_processing.instruments.description.rules import KeywordRule, defined

from .frames import Frame
from .guess import Guess

__all__ = ["guess_filter_rule", "guess_filters"]

_KEYWORDS = (
    *("FILTER", "FILTNAM", "FILTNAME", "FILTERNA", "FILT", "FILTERS", "FILTER1", "FILTER01", "FILTERID"),
    *("INSFLNAM", "FILTNAM1", "FILTER2", "ESO INS FILT1 NAME", "ESO INS FILT NAME", "ESO INS FILT1 ID"),
)
_SELDOM = ("WHEEL", "FWHEEL", "FW", "BAND", "PASSBAND", "COLOR", "COLOUR")
"""Keywords that count if none has the word filter, and the value is no number."""
_NO_NAME = re.compile(r"(NUM|POS|STAT|SLOT|WHEEL|TYPE|ENC|CODE|FOC)|FILTERI\d|FILTIN", re.IGNORECASE)
_WHEEL = re.compile(r"FILT(ER|NAM|NAME)?[_-]?(0?\d|[A-D])|(0?\d|[A-D])[_-]?FILT(ER)?|ESO INS FILT\d NAME")

_BANDS = (
    r"(?i:sdss|sloan|ps1?|panstarrs|lsst|decam)?[\s_.-]*([ugrizy])(?:[\s_.'-].*|p|prime)?",
    r"(?i:johnson|bessell?|cousins)?[\s_.-]*([UBVRI])c?",
)
"""Names of filters, whose group is the band."""

_SURVEYS = re.compile(r"(?i:sdss|sloan|ps\d?|panstarrs|lsst|decam|ztf)")
_SURVEY_BAND = re.compile(r"([ugrizyUGRIZY])(p|prime|s|mp|\d)?")
_OWN_BAND = re.compile(r"([ugrizy])(p|prime|s|mp|\d)?|([UBVRI])(c|j|kc)?")
_COLOURS = {"blue": "B", "green": "V", "red": "R"}
_NARROW = re.compile(
    r"(?<![a-z])(h[\s_-]*(a(lpha)?|b(eta)?)|o[\s_-]*iii|s[\s_-]*ii|n[\s_-]*ii)(?![a-z])", re.IGNORECASE
)
_OPEN = re.compile(
    r"(l(um(inance)?)?|c(lear)?|open|air|none|empty|white|w|dia|blank|hole|free|out|no[\s_-]*filt(er)?|n/?a)"
    r"(([\s_-]*|[\s_-]+pos(ition)?\s*)\d{1,2})?",
    re.IGNORECASE,
)


def guess_filter_rule(headers: Sequence[Mapping[str, Any]]) -> Guess:
    """Guess the rule for the filter from the headers of science frames."""
    found = [keyword for keyword in _KEYWORDS if any(defined(header, keyword) for header in headers)]
    if not found:
        found = sorted(
            key
            for header in headers[:1]
            for key, value in header.items()
            if "FILT" in key.upper() and isinstance(value, str) and value.strip() and not _NO_NAME.search(key)
        )
    if not found:
        found = [key for key in _SELDOM if any(_is_name(header.get(key)) for header in headers)]
    if not found:
        return Guess(
            {"constant": "Clear"},
            "no keyword names a filter",
            "the filter, if there is one in front of the camera",
        )
    wheels = sorted(
        key
        for key in {key for header in headers for key in header}
        if _WHEEL.fullmatch(key) and any(_is_name(header.get(key)) for header in headers)
    )
    if found[0] not in wheels or len(wheels) == 1:
        return Guess(found[0])
    texts = {
        str(header[keyword]).strip() for header in headers for keyword in wheels if defined(header, keyword)
    }
    open_positions = sorted(text for text in texts if _OPEN.fullmatch(text))
    return Guess(
        {"keywords": wheels, "skip": open_positions},
        "the first wheel that is not open",
        f"whether {' and '.join(wheels)} are the wheels, and which of their positions are open",
    )


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def guess_filters(frames: Sequence[Frame], rule: Guess) -> dict[str, Guess]:
    """Guess the band of each filter in the headers."""
    if "constant" in (rule.value if isinstance(rule.value, dict) else {}):
        return {str(rule.value["constant"]): Guess("white", doubt="which band the camera sees")}
    find = KeywordRule.model_validate(rule.value)
    found = {name for frame in frames if (name := find.text(frame.header)) is not None}
    return {name: guess_band(name) for name in sorted(found)}


def guess_band(name: str) -> Guess:
    """Guess the band of a filter from its name."""
    name = name.strip()
    if _OPEN.fullmatch(name):
        return Guess("white")
    if name == "Y":
        return Guess("y", "by its name")
    if _NARROW.search(name):
        return Guess("".join(character for character in name if character.isalnum()), "narrow band")
    for pattern in _BANDS:
        if match := re.fullmatch(pattern, name):
            return Guess(match[1], "by its name")
    is_of_survey = _SURVEYS.search(name) is not None
    words = [word for word in re.split(r"[^A-Za-z0-9]+", _SURVEYS.sub(" ", name)) if word]
    for word in words:
        if is_of_survey and (match := _SURVEY_BAND.fullmatch(word)):
            return Guess(match[1].lower(), "by its name")
        if match := _OWN_BAND.fullmatch(word):
            return Guess(match[1] or match[3], "by its name")
    colours = [_COLOURS[word.lower()] for word in words if word.lower() in _COLOURS]
    if colours or name == "G":
        return Guess(colours[0] if colours else "V", "by its colour", "the band of this filter; V is green")
    if any(_OPEN.fullmatch(word) for word in words if len(word) > 1):
        return Guess("white", "by its name")
    # A name of its own keeps its images apart from those of other filters.
    own = "".join(character for character in name if character.isascii() and character.isalnum())
    doubt = "the band of this filter: u, g, r, i, z, y, or a name of its own"
    return Guess(own or "unknown", "", doubt)
