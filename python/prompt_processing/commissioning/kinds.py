"""Find out what kind of frame a header belongs to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prompt_processing.instruments.description.rules import defined

__all__ = [
    "CALIBRATION_WORDS",
    "kind_in_target",
    "kind_named",
    "kinds_in_paths",
    "target_keyword",
    "type_keyword",
    "usual_types",
]

_WORDS = (
    ("bias", ("bias", "zero")),
    ("dark", ("dark",)),
    ("flat", ("flat", "twilight", "dome")),
    ("fringe", ("fringe",)),
    ("science", ("light", "object", "science", "expos", "target", "sky", "std", "standard")),
)
"""Kinds of frames, by what the text of a header contains."""

_ABBREVIATIONS = {
    **{"b": "bias", "z": "bias", "d": "dark", "f": "flat", "ff": "flat"},
    **{"l": "science", "o": "science", "s": "science", "obj": "science", "sci": "science", "raw": "science"},
}
"""Kinds by the whole text."""

_KEYWORDS = (
    *("IMAGETYP", "IMAGTYP", "IMGTYPE", "IMTYPE", "OBSTYPE", "OBS_TYPE", "OBS-TYPE", "DATA-TYP", "FRAMETYP"),
    *("FRAME", "EXPTYPE", "EXP_TYPE", "PICTTYPE", "OBSMODE", "KIND", "ESO DPR TYPE", "ESO DPR CATG"),
)
_ELSEWHERE = ("OBJECT", "TARGET", "OBJNAME", "COMMENT", "HISTORY", "FILENAME", "FILE", "ORIGFILE", "ORIGNAME")
"""Keywords in which a word such as flat does not say that the frame is one."""

_TARGETS = ("OBJECT", "OBJNAME", "TARGET", "TARGNAME")
CALIBRATION_WORDS = r"(?i)(?:^|[^a-z])(?:dome|sky|twi(?:light)?)?(bias|zero|dark|flat)"
"""A kind of calibration frame in the name of a target."""

_USUAL = {
    "bias": ("bias", "bias frame", "zero"),
    "dark": ("dark", "dark frame"),
    "flat": ("flat", "flat frame", "flat field", "dome flat", "domeflat", "sky flat", "skyflat"),
    "science": ("light", "light frame", "object", "science", "expose"),
}


def kind_named(text: str) -> str | None:
    """Return the kind of frame that a text means: bias, dark, flat, fringe or science; or `None`."""
    lower = text.strip().lower()
    if lower in _ABBREVIATIONS:
        return _ABBREVIATIONS[lower]
    return next((kind for kind, words in _WORDS if any(word in lower for word in words)), None)


def usual_types(kinds: Sequence[str]) -> dict[str, str]:
    """Return the kinds of frames by the texts with which programs usually name them."""
    return {text: kind for kind in kinds for text in _USUAL.get(kind, ())}


def type_keyword(headers: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the keyword that names the kind of most frames, or `None`.

    Parameters
    ----------
    headers
        Headers, best of several kinds of frames: then the keyword may have any name.
    """
    counts = {keyword: _named(headers, keyword) for keyword in _KEYWORDS}
    best = max(_KEYWORDS, key=lambda keyword: len(counts[keyword]))
    if counts[best]:
        return best
    others = {key for header in headers for key, value in header.items() if isinstance(value, str)}
    for keyword in sorted(others - set(_KEYWORDS) - set(_ELSEWHERE)):
        found = _named(headers, keyword)
        if len(found) == len(headers) and len(set(found)) > 1:
            return keyword
    if target_keyword(headers) is not None:
        return None
    return next((keyword for keyword in _KEYWORDS if any(defined(one, keyword) for one in headers)), None)


def target_keyword(headers: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the keyword of the target that names calibration frames, where no keyword has the kind."""
    for keyword in _TARGETS:
        kinds = {kind_in_target(header, keyword) for header in headers}
        if len(kinds - {"science"}) > 1:
            return keyword
    return None


def kind_in_target(header: Mapping[str, Any], keyword: str) -> str:
    """Return the kind of frame that the name of its target says; science by default."""
    match = re.search(CALIBRATION_WORDS, str(header.get(keyword, "")))
    return (kind_named(match[1]) if match is not None else None) or "science"


def kinds_in_paths(paths: Sequence[Path]) -> list[str | None]:
    """Return the kinds of frames that names of files and their folders say; `None` where they do not."""
    found: list[str | None] = []
    for path in paths:
        match = re.search(CALIBRATION_WORDS, path.name) or re.search(CALIBRATION_WORDS, path.parent.name)
        found.append(kind_named(match[1]) if match is not None else None)
    return found


def _named(headers: Sequence[Mapping[str, Any]], keyword: str) -> list[str]:
    texts = [value for header in headers if isinstance(value := header.get(keyword), str)]
    return [kind for text in texts if (kind := kind_named(text)) is not None]
