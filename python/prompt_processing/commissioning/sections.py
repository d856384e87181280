"""Sections of amplifiers in headers, and in the levels of pixels."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .frames import Frame, Image
from .positions import section_of

__all__ = [
    "FoundSections",
    "packed",
    "sections_in_header",
    "sections_of_pixels",
    "suffixes_in_header",
    "tiles",
]

_STEMS = {
    "data": ("DATASEC", "TRIMSEC", "DSEC", "TSEC", "DATSEC"),
    "overscan": ("BIASSEC", "OVERSEC", "BSEC", "OSEC", "OVRSEC", "OSCANSEC"),
    "parallel_overscan": ("POSTSEC", "PARSEC"),
    "detector_section": ("CCDSEC", "DETSEC", "CSEC"),
}
_SUFFIXED = re.compile(r"(DATASEC|TRIMSEC|DSEC|TSEC|DATSEC)([_-]?)([A-Z]|\d{1,2}|[A-Z]\d)")
_WIDTHS = (
    ("ESO DET OUT1 PRSCX", "ESO DET OUT1 OVSCX"),
    ("PRESCAN", "OVERSCAN"),
    ("PRESCANX", "OVERSCNX"),
    ("PRESCN", "OVERSCN"),
    ("NPRECOL", "NOVRCOL"),
)
"""Numbers of columns before and behind the data."""
_FEWEST_OVERSCAN = 4

Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class FoundSections:
    """Sections of one amplifier.

    Attributes
    ----------
    sections
        In FITS notation, by their names in the description; empty if the header has none.
    keywords
        Their keywords.
    """

    sections: Mapping[str, str]
    keywords: Mapping[str, str]


def suffixes_in_header(header: Mapping[str, Any]) -> list[str]:
    """Return what follows DATASEC and its like for each of an image's amplifiers, such as A and B."""
    found: dict[str, list[str]] = {}
    for key in header:
        match = _SUFFIXED.fullmatch(key)
        if match is not None and section_of(header, key) is not None:
            found.setdefault(match[1], []).append(match[2] + match[3])
    return sorted(next(iter(found.values()))) if found else []


def sections_in_header(header: Mapping[str, Any], suffix: str, image: Image) -> FoundSections:
    """Find the sections of an amplifier.

    Parameters
    ----------
    header
        Keywords of its image.
    suffix
        What follows the name of the section in the keywords.
    image
        Its image: sections outside of it are left over from before a frame was trimmed or binned.
    """
    sections: dict[str, str] = {}
    keywords: dict[str, str] = {}
    for name, stems in _STEMS.items():
        for stem in stems:
            box = section_of(header, stem + suffix)
            if box is not None and (name == "detector_section" or _is_inside(box, image)):
                sections[name] = _written(box)
                keywords[name] = stem + suffix
                break
    _name_parallel(sections, keywords, image)
    _separate_data(sections, keywords, header, suffix, image)
    if "data" not in sections:
        return FoundSections(_of_widths(header, image) if not suffix else {}, {})
    target = sections.get("detector_section")
    if target is not None and _size(target) != _size(sections["data"]):
        # That of the whole detector, or of an unbinned one.
        del sections["detector_section"], keywords["detector_section"]
        if (binned := _binned(target, sections["data"])) is not None:
            sections["detector_section"] = binned
    return FoundSections(sections, keywords)


def _name_parallel(sections: dict[str, str], keywords: dict[str, str], image: Image) -> None:
    """Rename an overscan of rows, above or below the data: the detector is read out along its columns."""
    overscan = section_of(sections, "overscan")
    if overscan is None or "parallel_overscan" in sections:
        return
    x0, x1, y0, y1 = section_of(sections, "data") or (1, image.width, 1, image.height)
    columns, rows = sorted(overscan[:2]), sorted(overscan[2:])
    has_all_columns = columns[0] <= min(x0, x1) and columns[1] >= max(x0, x1)
    has_all_rows = rows[0] <= min(y0, y1) and rows[1] >= max(y0, y1)
    if has_all_columns and not has_all_rows:
        sections["parallel_overscan"] = sections.pop("overscan")
        if "overscan" in keywords:
            keywords["parallel_overscan"] = keywords.pop("overscan")


def _separate_data(
    sections: dict[str, str],
    keywords: dict[str, str],
    header: Mapping[str, Any],
    suffix: str,
    image: Image,
) -> None:
    """Correct data that contain the overscan, or that no keyword has."""
    name = "overscan" if "overscan" in sections else "parallel_overscan"
    overscan = section_of(sections, name)
    if overscan is None:
        return
    data = section_of(sections, "data")
    if data is not None and not _overlap(data, overscan):
        return
    trimmed = section_of(header, "TRIMSEC" + suffix)
    if trimmed is not None and _is_inside(trimmed, image) and not _overlap(trimmed, overscan):
        sections["data"], keywords["data"] = _written(trimmed), "TRIMSEC" + suffix
        return
    box = list(data or (1, image.width, 1, image.height))
    axis = 0 if name == "overscan" else 2
    first, last = sorted(overscan[axis : axis + 2])
    # What is left of the image beside the overscan.
    if first - box[axis] >= box[axis + 1] - last:
        box[axis + 1] = first - 1
    else:
        box[axis] = last + 1
    if box[axis + 1] > box[axis]:
        sections["data"] = _written(box)
        keywords.pop("data", None)
        # Sections of headers replace those described; these must not.
        keywords.pop(name, None)


def _of_widths(header: Mapping[str, Any], image: Image) -> dict[str, str]:
    """Return sections from the numbers of columns before and behind the data."""
    for before, behind in _WIDTHS:
        first, last = header.get(before, 0), header.get(behind, 0)
        if not (isinstance(first, int) and isinstance(last, int)) or first < 0 or last < 0:
            continue
        if not 0 < first + last < image.width // 2:
            continue
        rows = f"1:{image.height}"
        over = f"{image.width - last + 1}:{image.width}" if last else f"1:{first}"
        return {"data": f"[{first + 1}:{image.width - last},{rows}]", "overscan": f"[{over},{rows}]"}
    return {}


def tiles(boxes: Sequence[Box | None]) -> bool:
    """Return whether sections fill a rectangle without gap and overlap."""
    known = [box for box in boxes if box is not None]
    if len(known) < len(boxes) or len(set(known)) < len(known):
        return False
    starts = np.array([[min(s[0], s[1]), min(s[2], s[3])] for s in known])
    ends = np.array([[max(s[0], s[1]), max(s[2], s[3])] for s in known])
    area = float(np.prod(ends - starts + 1, axis=1).sum())
    return bool(area == float(np.prod(ends.max(axis=0) - starts.min(axis=0) + 1)))


def packed(boxes: Sequence[Box]) -> list[str]:
    """Return places in the assembled image of sections of one file, without the gaps between them."""
    columns = _moved([tuple(sorted(box[:2])) for box in boxes])
    rows = _moved([tuple(sorted(box[2:])) for box in boxes])
    return [_written((*columns[tuple(sorted(box[:2]))], *rows[tuple(sorted(box[2:]))])) for box in boxes]


def _moved(spans: Sequence[tuple[int, ...]]) -> dict[tuple[int, ...], tuple[int, int]]:
    moved, stop = {}, 0
    for span in sorted(set(spans)):
        moved[span] = (stop + 1, stop + span[1] - span[0] + 1)
        stop = moved[span][1]
    return moved


def sections_of_pixels(frames: Sequence[Frame]) -> dict[str, str]:
    """Guess the overscan from dark edges of a bright frame; empty if there are none."""
    bright = [frame for frame in frames if frame.kind == "flat"]
    if not bright:
        return {}
    frame = bright[0]
    image = frame.images[0]
    pixels = frame.pixels(image)
    left, right = _dark_edges(np.median(pixels, axis=0))
    bottom, top = _dark_edges(np.median(pixels[:, left : image.width - right], axis=1))
    if not (left or right or bottom or top):
        return {}
    columns = f"{left + 1}:{image.width - right}"
    rows = f"{bottom + 1}:{image.height - top}"
    sections = {"data": f"[{columns},{rows}]"}
    if left or right:
        span = f"1:{left}" if left > right else f"{image.width - right + 1}:{image.width}"
        sections["overscan"] = f"[{span},{rows}]"
    if bottom or top:
        span = f"1:{bottom}" if bottom > top else f"{image.height - top + 1}:{image.height}"
        sections["parallel_overscan"] = f"[{columns},{span}]"
    return sections


def _dark_edges(profile: NDArray[np.float64]) -> tuple[int, int]:
    """Return how many pixels at both ends of a profile have no light; 0 for fewer than an overscan has."""
    middle, lowest = float(np.median(profile)), float(profile.min())
    if middle - lowest < 0.5 * middle:
        return 0, 0
    lit = np.flatnonzero(profile > lowest + 0.3 * (middle - lowest))
    before, after = int(lit[0]), len(profile) - 1 - int(lit[-1])
    return (before if before >= _FEWEST_OVERSCAN else 0), (after if after >= _FEWEST_OVERSCAN else 0)


def _is_inside(box: Box, image: Image) -> bool:
    return max(box[:2]) <= image.width and max(box[2:]) <= image.height


def _overlap(one: Box, other: Box) -> bool:
    return all(
        max(min(one[axis : axis + 2]), min(other[axis : axis + 2]))
        <= min(max(one[axis : axis + 2]), max(other[axis : axis + 2]))
        for axis in (0, 2)
    )


def _binned(target: str, data: str) -> str | None:
    """Return the place in the binned image of a section of the unbinned detector, or `None`."""
    (width, height), (columns, rows) = _size(target), _size(data)
    factor = (width + 1) // (columns + 1)
    section = section_of({"_": target}, "_")
    if (
        factor < 2
        or section is None
        or (columns + 1) * factor != width + 1
        or (rows + 1) * factor != height + 1
    ):
        return None
    x0, x1, y0, y1 = ((value - 1) // factor + 1 for value in section)
    return f"[{x0}:{x1},{y0}:{y1}]"


def _size(text: str) -> tuple[int, int]:
    section = section_of({"_": text}, "_")
    assert section is not None
    return abs(section[1] - section[0]), abs(section[3] - section[2])


def _written(box: Sequence[int]) -> str:
    return f"[{box[0]}:{box[1]},{box[2]}:{box[3]}]"
