"""Guess from headers which keyword means what."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prompt_processing.instruments.description.rules import defined

from .filters import guess_filter_rule
from .frames import Frame
from .guess import Guess
from .kinds import CALIBRATION_WORDS, kind_named, target_keyword, type_keyword
from .pointings import guess_pointing, guess_rotation
from .times import guess_exposure_time, guess_time

__all__ = ["guess_header", "guess_recognition", "guess_types"]

_TARGETS = ("OBJECT", "OBJNAME", "TARGET", "TARGNAME", "ESO OBS TARG NAME")
_DARK_TIMES = ("DARKTIME",)
_NUMBERS = ("EXPNUM", "EXPID", "OBSNUM", "RUNNUM", "FRAMENUM", "IMGNUM")
_CERTAIN_NUMBERS = ("EXPNUM", "EXPID")
"""Those that a single frame suffices for."""
_LARGE_NUMBER = 10_000
"""Smaller numbers probably restart each night."""
_IDENTIFIERS = ("OBSID", "OBS_ID", "EXP-ID", "ORIGNAME")
_PROGRAMMES = ("PROPID", "PROGRAM", "PROP-ID", "PROJECT", "ESO OBS PROG ID")
_AIRMASSES = ("AIRMASS", "SECZ", "AMSTART", "ESO TEL AIRM START")
_AZIMUTHS = ("AZIMUTH", "OBJCTAZ", "CENTAZ", "AZ", "ESO TEL AZ")
_ALTITUDES = ("ALTITUDE", "OBJCTALT", "CENTALT", "ALT", "ESO TEL ALT")
_ZENITH_DISTANCES = ("ZD", "ZENDIST")
_NAMES = (
    *("INSTRUME", "DETECTOR", "CAMERA", "CAMNAME", "CAMMODEL", "DETNAM", "CCDNAME", "HEAD", "TELESCOP"),
    *("OBSERVAT", "OBSERVER", "ORIGIN", "SWCREATE", "CREATOR"),
)
_GENERIC = re.compile(
    r"ascom|camera\d*|ccd\d*|detector|simulator|qhyccd-cameras-capture|unknown|none|n/?a", re.IGNORECASE
)
"""Names of drivers, which many cameras share."""


def guess_header(frames: Sequence[Frame]) -> dict[str, Guess]:
    """Guess the rules for the headers of an instrument.

    Parameters
    ----------
    frames
        Frames, best of several kinds.

    Returns
    -------
    rules
        By the names of `~prompt_processing.instruments.description.document.HeaderDocument`, without the
        detector.
    """
    headers = [frame.header for frame in frames]
    of_the_sky = [frame for frame in frames if frame.kind in (None, "science")] or list(frames)
    science = [frame.header for frame in of_the_sky]
    rules: dict[str, Guess] = {}
    rules |= _number_rule(headers)
    rules |= _plain(headers, "observation_id", _IDENTIFIERS, unique=True)
    rules["physical_filter"] = guess_filter_rule(science)
    rules |= guess_time(frames)
    rules["exposure_time"] = guess_exposure_time(frames, rules["begin"])
    rules |= _plain(headers, "dark_time", _DARK_TIMES)
    rules |= guess_pointing(of_the_sky)
    rules["rotation"] = guess_rotation(of_the_sky)
    rules |= _plain(science, "airmass", _AIRMASSES, numbers=True)
    rules |= _plain(science, "azimuth", _AZIMUTHS, numbers=True)
    rules |= _plain(science, "altitude", _ALTITUDES, numbers=True)
    if "altitude" not in rules:
        rules |= _plain(science, "zenith_distance", _ZENITH_DISTANCES, numbers=True)
    rules["observation_type"] = _type_rule(headers)
    rules |= _plain(science, "target", _TARGETS)
    rules |= _plain(science, "program", _PROGRAMMES)
    return rules


def guess_types(frames: Sequence[Frame], rule: Guess) -> dict[str, str]:
    """Return the type of observation of each text in the headers."""
    if isinstance(rule.value, dict) and "pattern" in rule.value:
        return {frame.kind: frame.kind for frame in frames if frame.kind is not None}
    if not isinstance(rule.value, str):
        return {}
    texts = {str(frame.header[rule.value]).strip() for frame in frames if defined(frame.header, rule.value)}
    return {text: kind for text in sorted(texts) if (kind := kind_named(text)) is not None}


def guess_recognition(frames: Sequence[Frame]) -> Guess:
    """Guess which keywords tell the instrument's headers from others."""
    header = frames[0].header
    wanted: dict[str, Any] = {}
    for keyword in _NAMES:
        same = {str(frame.header.get(keyword, "")).strip().lower() for frame in frames}
        if defined(header, keyword) and len(same) == 1:
            wanted[keyword] = str(header[keyword]).strip()
            if not _GENERIC.fullmatch(wanted[keyword]):
                break
    if not wanted:
        return Guess(
            {"SIMPLE": True},
            "no keyword names the instrument, so every file is taken for one of its",
            "which keyword only this camera's files have; let the camera's software write INSTRUME",
        )
    doubt = (
        ""
        if "INSTRUME" in wanted
        else "whether other cameras' files have the same values: INSTRUME is missing or differs"
    )
    return Guess(wanted, "as in the frames", doubt)


def _plain(
    headers: Sequence[Mapping[str, Any]],
    name: str,
    keywords: Iterable[str],
    *,
    numbers: bool = False,
    unique: bool = False,
) -> dict[str, Guess]:
    """Return a rule for the first of the keywords that a header has."""
    for keyword in keywords:
        values = [header[keyword] for header in headers if defined(header, keyword)]
        if not values or (numbers and not all(isinstance(value, int | float) for value in values)):
            continue
        if unique and (len(set(map(str, values))) < len(headers) or len(headers) < 2):
            continue
        return {name: Guess(keyword)}
    return {}


def _number_rule(headers: Sequence[Mapping[str, Any]]) -> dict[str, Guess]:
    for keyword in _NUMBERS:
        values = [header.get(keyword) for header in headers]
        numbers = {value for value in values if isinstance(value, int) and value >= _LARGE_NUMBER}
        if len(numbers) == len(values) and (len(values) > 1 or keyword in _CERTAIN_NUMBERS):
            return {
                "exposure_id": Guess(
                    keyword,
                    "a number of its own" if len(values) == 1 else "different in all frames",
                    f"whether {keyword} never repeats, not even in another night or year; without this rule "
                    "the id is the night and the seconds since noon",
                )
            }
    return {}


def _type_rule(headers: Sequence[Mapping[str, Any]]) -> Guess:
    keyword = type_keyword(headers)
    if keyword is not None:
        return Guess(keyword)
    if (target := target_keyword(headers)) is not None:
        return Guess(
            {
                "keyword": target,
                "pattern": CALIBRATION_WORDS,
                "values": {"zero": "bias"},
                "otherwise": "science",
            },
            "the name of the target",
            "whether all bias, dark and flat frames have such a target, and no field that you observe",
        )
    return Guess(
        {"constant": "science"},
        "no keyword names it",
        "how to tell bias, dark and flat frames from science frames; where no keyword does, "
        "`prompt repo import-raws --type` says it for a folder",
    )
