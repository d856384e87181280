"""Guess from headers which keyword means what."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prompt_processing.instruments.description.rules import KeywordRule, defined

from .frames import TYPE_KEYWORDS, Frame, kind_named
from .guess import Guess
from .optics import wcs_matrix

__all__ = [
    "guess_filters",
    "guess_header",
    "guess_recognition",
    "guess_types",
]

_TARGETS = ("OBJECT", "OBJNAME", "TARGET")
_EXPOSURE_TIMES = ("EXPTIME", "EXPOSURE", "EXP_TIME", "EXPOSED", "ITIME", "INTTIME")
_DARK_TIMES = ("DARKTIME",)
_FILTERS = ("FILTER", "FILTNAM", "FILTERS", "FILTER1", "FILTER01", "FILTERID", "INSFLNAM", "FILTER2")
_NUMBERS = ("EXPNUM", "EXPID", "OBSNUM", "RUNNUM", "FRAMENUM", "IMGNUM")
_CERTAIN_NUMBERS = ("EXPNUM", "EXPID")
"""Those that a single frame suffices for."""
_LARGE_NUMBER = 10_000
"""Smaller numbers probably restart each night."""
_IDENTIFIERS = ("OBSID", "OBS_ID", "EXP-ID", "ORIGNAME")
_PROGRAMMES = ("PROPID", "PROGRAM", "PROP-ID", "PROJECT")
_TIMES_OF_DAY = ("TIME-OBS", "UTSTART", "UT-STR", "UTC-OBS", "UT", "UTC")
_RA = ("TELRA", "OBJCTRA", "RA", "CRVAL1", "RA_OBS", "TEL_RA")
_DEC = {
    "TELRA": "TELDEC",
    "OBJCTRA": "OBJCTDEC",
    "RA": "DEC",
    "CRVAL1": "CRVAL2",
    "RA_OBS": "DEC_OBS",
    "TEL_RA": "TEL_DEC",
}
_ROTATIONS = ("ROTSKYPA", "ROTPA", "POSANGLE", "ROTATANG", "OBJCTROT", "ANGLE", "PA")
_AIRMASSES = ("AIRMASS", "SECZ", "AMSTART")
_AZIMUTHS = ("AZIMUTH", "OBJCTAZ", "CENTAZ", "AZ")
_ALTITUDES = ("ALTITUDE", "OBJCTALT", "CENTALT", "ALT")
_ZENITH_DISTANCES = ("ZD", "ZENDIST")
_SAME_ANGLE_DEG = 2.0
_GENERIC = re.compile(r"ascom|camera\d*|ccd|simulator|qhyccd-cameras-capture|unknown", re.IGNORECASE)
"""Names of drivers, which many cameras share."""

_BANDS = (
    r"(?i:sdss|sloan|ps1?|panstarrs|lsst|decam)?[\s_.-]*([ugrizy])(?:[\s_.'-].*|p|prime)?",
    r"(?i:johnson|bessell?|cousins)?[\s_.-]*([UBVRI])c?",
)
"""Names of filters, whose group is the band."""

_NARROW = re.compile(r"h[\s_-]*a(lpha)?|o[\s_-]*iii|s[\s_-]*ii|n[\s_-]*ii", re.IGNORECASE)
_OPEN = re.compile(r"l(um(inance)?)?|c(lear)?|open|air|none|empty|white|w|no filter", re.IGNORECASE)


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
    science = [frame.header for frame in frames if frame.kind in (None, "science")] or headers
    rules: dict[str, Guess] = {}
    rules |= _number_rule(headers)
    rules |= _plain(headers, "observation_id", _IDENTIFIERS, unique=True)
    rules["physical_filter"] = _filter_rule(science)
    rules |= _time_rule(frames)
    rules["exposure_time"] = _exposure_rule(headers)
    rules |= _plain(headers, "dark_time", _DARK_TIMES)
    rules |= _pointing_rules(science)
    rules["rotation"] = _rotation_rule(science)
    rules |= _plain(science, "airmass", _AIRMASSES)
    rules |= _plain(science, "azimuth", _AZIMUTHS, numbers=True)
    rules |= _plain(science, "altitude", _ALTITUDES, numbers=True)
    if "altitude" not in rules:
        rules |= _plain(science, "zenith_distance", _ZENITH_DISTANCES, numbers=True)
    rules["observation_type"] = _type_rule(headers)
    rules |= _plain(science, "target", _TARGETS)
    rules |= _plain(science, "program", _PROGRAMMES)
    return rules


def guess_filters(frames: Sequence[Frame], rule: Guess) -> dict[str, Guess]:
    """Guess the band of each filter in the headers."""
    if "constant" in (rule.value if isinstance(rule.value, dict) else {}):
        return {str(rule.value["constant"]): Guess("white", doubt="which band the camera sees")}
    find = KeywordRule.model_validate(rule.value)
    found = {name for frame in frames if (name := find.text(frame.header)) is not None}
    return {name: _band(name) for name in sorted(found)}


def guess_types(frames: Sequence[Frame], rule: Guess) -> dict[str, str]:
    """Return the type of observation of each text in the headers."""
    if not isinstance(rule.value, str):
        return {}
    texts = {str(frame.header[rule.value]).strip() for frame in frames if defined(frame.header, rule.value)}
    return {text: kind for text in sorted(texts) if (kind := kind_named(text)) is not None}


def guess_recognition(frames: Sequence[Frame]) -> Guess:
    """Guess which keywords tell the instrument's headers from others."""
    header = frames[0].header
    wanted: dict[str, Any] = {}
    for keyword in ("INSTRUME", "DETECTOR", "TELESCOP", "OBSERVAT", "SWCREATE"):
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
        else "whether other cameras' files have the same values: INSTRUME is missing"
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


def _filter_rule(headers: Sequence[Mapping[str, Any]]) -> Guess:
    found = [keyword for keyword in _FILTERS if any(defined(header, keyword) for header in headers)]
    if not found:
        return Guess(
            {"constant": "Clear"},
            "no keyword names a filter",
            "the filter, if there is one in front of the camera",
        )
    wheels = [keyword for keyword in found if re.fullmatch(r"FILTER0?\d", keyword)]
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


def _exposure_rule(headers: Sequence[Mapping[str, Any]]) -> Guess:
    found = [keyword for keyword in _EXPOSURE_TIMES if any(defined(header, keyword) for header in headers)]
    if not found:
        return Guess("EXPTIME", "", "which keyword has the exposure time in seconds")
    return Guess(found[0] if len(found) == 1 else {"keywords": found[:2]})


def _time_rule(frames: Sequence[Frame]) -> dict[str, Guess]:
    header = frames[0].header
    scale = str(header.get("TIMESYS", "")).strip().lower()
    doubt = (
        "" if scale in ("utc", "tai") else "whether the clock shows UTC (`add_hours` corrects a local time)"
    )
    rule: dict[str, Any]
    for keyword in ("DATE-BEG", "DATE-OBS", "DATE_OBS"):
        text = str(header.get(keyword, ""))
        if not re.match(r"\d{4}-\d\d-\d\d", text.strip()):
            continue
        if re.search(r"\d\d:\d\d", text):
            return {
                "begin": Guess(
                    {"keyword": keyword, "scale": "utc"}, "", _twelve_hours(frames, keyword) or doubt
                )
            }
        clock = [name for name in _TIMES_OF_DAY if re.match(r"\s*\d\d?:\d\d", str(header.get(name, "")))]
        if clock:
            rule = {"keyword": keyword, "time_keywords": clock[:1], "scale": "utc"}
            return {"begin": Guess(rule, "date and time of day", doubt)}
    for keyword, form in (("MJD-BEG", "mjd"), ("MJD-OBS", "mjd"), ("MJD", "mjd"), ("JD", "jd")):
        if isinstance(header.get(keyword), int | float):
            rule = {"keyword": keyword, "format": form, "scale": "utc"}
            return {"begin": Guess(rule, "", doubt or "whether it is the begin of the exposure")}
    rule = {"keyword": "DATE-OBS", "scale": "utc"}
    return {"begin": Guess(rule, "", "which keyword has the begin of the exposure")}


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


def _pointing_rules(headers: Sequence[Mapping[str, Any]]) -> dict[str, Guess]:
    for ra in _RA:
        dec = _DEC[ra]
        pair = next(((one[ra], one[dec]) for one in headers if defined(one, ra) and defined(one, dec)), None)
        if pair is None:
            continue
        if isinstance(pair[0], int | float):
            doubt = f"whether {ra} = {pair[0]:g} is in degrees" if 0 <= pair[0] < 24 else ""
            return {"ra": Guess({"keyword": ra}, "degrees", doubt), "dec": Guess({"keyword": dec})}
        return {"ra": Guess({"keyword": ra, "unit": "hours"}), "dec": Guess({"keyword": dec})}
    return {}


def _rotation_rule(headers: Sequence[Mapping[str, Any]]) -> Guess:
    solved = [(header, angle) for header in headers if (angle := _wcs_rotation(header)) is not None]
    if solved:
        return _rotation_of_wcs(solved)
    check = "`prompt instrument check --catalogue` solves it from an image with stars"
    for keyword in _ROTATIONS:
        if any(isinstance(header.get(keyword), int | float) for header in headers):
            return Guess({"keyword": keyword}, "", f"zero and sign of the angle (`add`, `multiply`): {check}")
    rule: dict[str, Any] = {"constant": 0.0}
    if any(defined(header, "PIERSIDE") for header in headers):
        rule["add_180_where"] = [{"PIERSIDE": "WEST"}]
        return Guess(
            rule, "a German mount turns the camera by 180 degrees", f"the angle, and on which side: {check}"
        )
    return Guess(rule, "no keyword has an angle", f"the angle: {check}")


def _rotation_of_wcs(solved: Sequence[tuple[Mapping[str, Any], float]]) -> Guess:
    """Return a rule that gives the angles of the headers' WCS."""
    angles = [angle for _, angle in solved]
    middle = _common_angle(angles)
    doubt = "whether the camera ever rotates"
    if middle is not None and len(solved) > 1:
        return Guess({"constant": middle}, f"the same in the WCS of {len(solved)} frames", doubt)
    for keyword in _ROTATIONS:
        if not all(isinstance(header.get(keyword), int | float) for header, _ in solved):
            continue
        for sign in (1.0, -1.0):
            zero = _common_angle([angle - sign * float(header[keyword]) for header, angle in solved])
            if zero is not None and len(solved) > 1:
                rule = {"keyword": keyword, "multiply": sign, "add": zero}
                return Guess(rule, f"agrees with the WCS of {len(solved)} frames")
    if len(solved) > 1:
        doubt = "which keyword has the angle: those of the frames' WCS differ"
    return Guess({"constant": round(angles[0] % 360, 2)}, "from the WCS of one frame", doubt)


def _common_angle(angles: Sequence[float]) -> float | None:
    """Return the mean of angles that agree, degrees; `None` if they do not."""
    offsets = [(angle - angles[0] + 180) % 360 - 180 for angle in angles]
    if max(offsets) - min(offsets) > _SAME_ANGLE_DEG:
        return None
    return round((angles[0] + sum(offsets) / len(offsets)) % 360, 2)


def _wcs_rotation(header: Mapping[str, Any]) -> float | None:
    """Return the angle of +Y, east of north, degrees, in a header's WCS."""
    matrix = wcs_matrix(header)
    # The second column is where +Y points, in (east, north).
    return None if matrix is None else math.degrees(math.atan2(matrix[0, 1], matrix[1, 1]))


def _type_rule(headers: Sequence[Mapping[str, Any]]) -> Guess:
    for keyword in TYPE_KEYWORDS:
        if any(defined(header, keyword) for header in headers):
            return Guess(keyword)
    return Guess(
        {"constant": "science"},
        "no keyword names it",
        "how to tell bias, dark and flat frames from science frames",
    )


def _band(name: str) -> Guess:
    if _OPEN.fullmatch(name):
        return Guess("white")
    if _NARROW.search(name):
        return Guess("".join(character for character in name if character.isalnum()), "narrow band")
    for pattern in _BANDS:
        if match := re.fullmatch(pattern, name.strip()):
            return Guess(match[1], "by its name")
    lower = re.fullmatch(r"(sdss|sloan)[\s_.-]*([ugrizy]).*", name.strip().lower())
    if lower:
        return Guess(lower[2], "by its name")
    return Guess("unknown", "", "the band of this filter: u, g, r, i, z, y, or a name of its own")
