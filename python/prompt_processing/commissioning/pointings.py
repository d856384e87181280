"""Guess which keywords have the pointing and the rotation."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from prompt_processing.instruments.description.rules import AngleRule, defined
from prompt_processing.instruments.errors import HeaderError

from .frames import Frame
from .guess import Guess
from .optics import wcs_matrix

__all__ = ["guess_pointing", "guess_rotation"]

_PAIRS = (
    *(("TELRA", "TELDEC"), ("OBJCTRA", "OBJCTDEC"), ("RA", "DEC"), ("CRVAL1", "CRVAL2")),
    *(("RA_OBS", "DEC_OBS"), ("TEL_RA", "TEL_DEC"), ("TEL-RA", "TEL-DEC"), ("RA-TEL", "DEC-TEL")),
    *(("RADEG", "DECDEG"), ("RA_DEG", "DEC_DEG"), ("OBJRA", "OBJDEC"), ("TARGRA", "TARGDEC")),
)
_EQUINOXES = ("EQUINOX", "EPOCH", "OBJEQUIN", "TELEQUIN")
_ROTATIONS = (
    *("ROTSKYPA", "ROTPA", "POSANGLE", "ROTATANG", "OBJCTROT", "ROTANGLE", "ROTATOR", "ANGLE", "PA"),
    *("ESO ADA POSANG", "ESO INS ROT POSANG"),
)
_SAME_ANGLE_DEG = 2.0
_SAME_PLACE_DEG = 1.0


def guess_pointing(frames: Sequence[Frame]) -> dict[str, Guess]:
    """Guess the rules for right ascension and declination from science frames."""
    headers = [frame.header for frame in frames]
    pairs = [*_PAIRS, *_further_pairs(headers)]
    having = [pair for pair in pairs if any(all(defined(one, key) for key in pair) for one in headers)]
    for pair in having:
        rules = _rules_of(pair, headers, frames, [other for other in having if other != pair])
        if rules is not None:
            return rules | _equinox(headers)
    return {}


def _further_pairs(headers: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return keywords such as MNT-RA and MNT-DEC."""
    found = []
    for key in sorted({key for header in headers for key in header}):
        partner = re.sub(r"RA", "DEC", key, count=1)
        if re.search(r"(^|[_\s-]|TEL|MNT|OBJ|TCS)RA($|[_\s-])", key) and any(
            partner in one for one in headers
        ):
            found.append((key, partner))
    return found


def _rules_of(
    pair: tuple[str, str],
    headers: Sequence[Mapping[str, Any]],
    frames: Sequence[Frame],
    others: Sequence[tuple[str, str]],
) -> dict[str, Guess] | None:
    ra, dec = pair
    having = [one for one in headers if defined(one, ra) and defined(one, dec)]
    units, doubt = _units(pair, having, frames, others)
    rule = {"keyword": ra, **units}
    try:
        values = [AngleRule.model_validate(rule).degrees(one) for one in having]
        heights = [AngleRule.model_validate({"keyword": dec}).degrees(one) for one in having]
    except HeaderError:
        return None
    if not all(value is not None and -360 <= value <= 360 for value in values):
        return None
    if not all(height is not None and -90 <= height <= 90 for height in heights):
        return None
    why = "" if units else "degrees"
    return {"ra": Guess(rule, why, doubt), "dec": Guess({"keyword": dec})}


def _units(
    pair: tuple[str, str],
    headers: Sequence[Mapping[str, Any]],
    frames: Sequence[Frame],
    others: Sequence[tuple[str, str]],
) -> tuple[dict[str, str], str]:
    """Return the unit of a right ascension, and a doubt."""
    ra = pair[0]
    numbers = [number for one in headers if (number := _number(one[ra])) is not None]
    if len(numbers) < len(headers):
        # 323:33:07 or 323d33m07s are degrees; 21:33:07 are hours.
        firsts = [re.match(r"\s*\+?(\d+)\s*([d°])?", str(one[ra])) for one in headers]
        in_degrees = any(match is not None and (match[2] or int(match[1]) >= 24) for match in firsts)
        return ({} if in_degrees else {"unit": "hours"}), ""
    if max(numbers) >= 24 or min(numbers) < 0:
        return {}, ""
    hours = {"unit": "hours"}
    for frame in frames:
        comment = frame.comments.get(ra, "").lower()
        if re.search(r"\bdeg", comment):
            return {}, ""
        if re.search(r"\bh(ou)?rs?\b|\[h\]|\bhours?\b", comment):
            return hours, ""
    for other in others:
        # Other keywords of the same place tell the unit.
        for one in headers:
            if not all(defined(one, key) for key in other):
                continue
            text = str(one[other[0]])
            elsewhere = AngleRule.model_validate(
                {"keyword": other[0], "unit": "deg" if _number(text) is not None else "hours"}
            )
            try:
                place = elsewhere.degrees(one)
            except HeaderError:
                continue
            number = _number(one[ra])
            if place is None or number is None:
                continue
            if abs(place - number) < _SAME_PLACE_DEG:
                return {}, ""
            if abs(place - 15 * number) < _SAME_PLACE_DEG:
                return hours, ""
    return {}, f"whether {ra} = {numbers[0]:g} is in degrees, not in hours (`unit: hours`)"


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _equinox(headers: Sequence[Mapping[str, Any]]) -> dict[str, Guess]:
    """Return a rule for positions of another equinox than 2000."""
    for keyword in _EQUINOXES:
        years = [_number(one[keyword]) for one in headers if defined(one, keyword)]
        known = [year for year in years if year is not None and 1900 < year < 2100]
        if known and any(abs(year - 2000) > 0.5 for year in known):
            return {
                "equinox_keyword": Guess(
                    keyword,
                    f"it is {known[0]:g}",
                    "whether the positions have this equinox: `prompt instrument check --catalogue`",
                )
            }
        if known:
            break
    return {}


def guess_rotation(frames: Sequence[Frame]) -> Guess:
    """Guess the rule for the angle of the camera from science frames."""
    headers = [frame.header for frame in frames]
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
