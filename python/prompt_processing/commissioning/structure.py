"""Guess detectors and amplifiers from headers, and overscans from pixels."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prompt_processing.instruments.description.rules import defined

from .frames import Frame, Image
from .guess import Guess
from .positions import mosaic_position, section_of

__all__ = ["FoundAmplifier", "FoundDetector", "Structure", "find_structure"]

_DETECTOR_NUMBERS = ("CCDNUM", "CHIPNUM", "DETNUM", "DET-ID", "DETID", "CHIPID", "CCDID", "IMAGEID", "EXTVER")
_DETECTOR_NAMES = ("DETPOS", "EXTNAME", "CCDNAME", "DETNAME", "CHIPNAME", "CCD_NAME")
_SECTION_KEYWORDS = {
    "data": ("DATASEC", "TRIMSEC"),
    "overscan": ("BIASSEC", "OVERSEC"),
    "parallel_overscan": ("POSTSEC", "PARSEC"),
    "detector_section": ("CCDSEC", "DETSEC"),
}
_GAINS = ("EGAIN", "GAIN", "EPERDN", "CCDGAIN", "DETGAIN", "GAIN1")
_READ_NOISES = ("RDNOISE", "READNOIS", "RON", "CCDNOISE", "ENOISE", "READNOISE")
_SATURATIONS = ("SATURATE", "SATURAT", "SATLEVEL", "DATAMAX", "MAXLIN")
_MOST_AMPLIFIERS = 16
_FEWEST_OVERSCAN = 4


@dataclass(frozen=True, slots=True)
class FoundAmplifier:
    """One amplifier.

    Attributes
    ----------
    name, hdu
        As in the description.
    sections
        Sections by their names in the description, in FITS notation.
    gain, read_noise, saturation_adu
        From the header; `None` if it does not say.
    """

    name: str
    hdu: int
    sections: Mapping[str, str] = field(default_factory=dict)
    gain: float | None = None
    read_noise: float | None = None
    saturation_adu: float | None = None


@dataclass(frozen=True, slots=True)
class FoundDetector:
    """One detector.

    Attributes
    ----------
    id, name
        As in the description.
    width, height
        Size of an image, pixels.
    amplifiers
        In the order of the file.
    images
        Its images in the first frame.
    """

    id: int
    name: str
    width: int
    height: int
    amplifiers: tuple[FoundAmplifier, ...]
    images: tuple[Image, ...]


@dataclass(frozen=True, slots=True)
class Structure:
    """Detectors and amplifiers.

    Attributes
    ----------
    detectors
        Detectors, in the order of the file.
    rule
        Rule that finds the detector.
    section_keywords
        Keywords with the sections, by their names in the description.
    doubts
        What was only guessed, by the path in the description.
    """

    detectors: tuple[FoundDetector, ...]
    rule: Guess
    section_keywords: Mapping[str, str]
    doubts: Mapping[str, str]


def find_structure(frames: Sequence[Frame]) -> Structure:
    """Find detectors and amplifiers.

    Parameters
    ----------
    frames
        Frames of one camera, best of several kinds; the first image of most pixels decides.

    Raises
    ------
    RawFileError
        Raised if a frame is truncated.
    """
    frame = max(frames, key=lambda one: len(one.images))
    keyword, groups = _by_detector(frame)
    doubts: dict[str, str] = {}
    others = sorted(
        {(image.width, image.height) for one in frames for image in one.images}
        - {(image.width, image.height) for image in frame.images}
    )
    if others:
        sizes = ", ".join(f"{width} x {height}" for width, height in others)
        doubts["amplifier_kinds"] = (
            f"why some frames have {sizes} pixels: binned frames and parts of the detector cannot be read "
            "with this description"
        )
    detectors = []
    keywords: dict[str, str] = {}
    for number, (id_, name, images) in enumerate(groups):
        amplifiers, found = _amplifiers(frame, images)
        keywords = keywords or found
        if number == 0 and not found and len(amplifiers) == 1:
            guessed = _sections_of_pixels(frames)
            if guessed:
                amplifiers = (FoundAmplifier(**{**_fields(amplifiers[0]), "sections": guessed}),)
                doubts["amplifier_kinds"] = (
                    "the sections: they are guessed from the levels of a bright frame; the camera's manual "
                    "has them"
                )
        detectors.append(
            FoundDetector(id_, name, images[0].width, images[0].height, amplifiers, tuple(images))
        )
    if len(detectors) > 1:
        rule = (
            Guess({"keyword": keyword})
            if keyword
            else Guess({"constant": 0}, "", "how to tell the detectors")
        )
        doubts["detectors"] = (
            "the position of each detector in the focal plane (x_mm, y_mm, yaw_deg): a drawing"
        )
        if any(mosaic_position(one.images[0].header) is not None for one in detectors):
            doubts["detectors"] += (
                "; these are from DETSEC or a WCS, which may leave out the gaps between detectors"
            )
    else:
        rule = Guess({"constant": 0}, "one detector")
    return Structure(tuple(detectors), rule, keywords, doubts)


def _fields(amplifier: FoundAmplifier) -> dict[str, Any]:
    return {name: getattr(amplifier, name) for name in FoundAmplifier.__slots__}


def _by_detector(frame: Frame) -> tuple[str | None, list[tuple[int, str, list[Image]]]]:
    """Return the keyword that tells detectors apart, and id, name and images of each."""
    images = [image for image in frame.images if not _is_guider(image)]
    if len(images) == 1:
        return None, [(0, "CCD", images)]
    for keyword in _DETECTOR_NUMBERS:
        values = [image.header.get(keyword) for image in images]
        if not all(isinstance(value, int) for value in values) or len(set(values)) == 1:
            continue
        # Few images that tile one another are the amplifiers of one detector.
        if keyword == "EXTVER" and len(images) <= _MOST_AMPLIFIERS and _tile(images):
            break
        groups: dict[int, list[Image]] = {}
        for image in images:
            groups.setdefault(int(image.header[keyword]), []).append(image)
        return keyword, [(id_, _name(of_it[0], id_), of_it) for id_, of_it in groups.items()]
    return None, [(0, "CCD", images)]


def _is_guider(image: Image) -> bool:
    text = f"{image.header.get('EXTNAME', '')} {image.header.get('DETPOS', '')}".upper()
    return bool(re.search(r"\b(GUIDE|FOCUS|FN|FS|GN|GS)\w*", text))


def _tile(images: Sequence[Image]) -> bool:
    sections = [section_of(image.header, "DETSEC") or section_of(image.header, "CCDSEC") for image in images]
    if not all(sections) or len({section for section in sections if section}) < len(images):
        return False
    starts = np.array([[min(s[0], s[1]), min(s[2], s[3])] for s in sections if s])
    ends = np.array([[max(s[0], s[1]), max(s[2], s[3])] for s in sections if s])
    area = float(np.prod(ends - starts + 1, axis=1).sum())
    return bool(area == float(np.prod(ends.max(axis=0) - starts.min(axis=0) + 1)))


def _name(image: Image, id_: int) -> str:
    for keyword in _DETECTOR_NAMES:
        text = str(image.header.get(keyword, "")).strip()
        if text and re.fullmatch(r"[A-Za-z0-9_-]+", text):
            return text
    return f"D{id_:02d}"


def _amplifiers(frame: Frame, images: Sequence[Image]) -> tuple[tuple[FoundAmplifier, ...], dict[str, str]]:
    """Return a detector's amplifiers, and the keywords of their sections."""
    if len(images) > 1:
        names = _distinct([str(image.header.get("EXTNAME", "")).strip() for image in images])
        made: list[FoundAmplifier] = []
        keywords: dict[str, str] = {}
        for number, (image, name) in enumerate(zip(images, names, strict=True)):
            sections, keywords = _sections(image.header, "")
            made.append(_amplifier(name, number, image.header, frame.primary, "", sections))
        return tuple(made), keywords
    header = images[0].header
    letters = [letter for letter in "ABCDEFGH" if f"DATASEC{letter}" in header]
    if letters:
        made = []
        keywords = {}
        for letter in letters:
            sections, keywords = _sections(header, letter)
            made.append(_amplifier(letter, 0, header, frame.primary, letter, sections))
        return tuple(made), {name: keyword[:-1] + "{amplifier}" for name, keyword in keywords.items()}
    merged = {**frame.primary, **header}
    sections, keywords = _sections(merged, "")
    image = images[0]
    if not _fits(sections, image):
        # Sections that are left over from before the frame was trimmed.
        sections, keywords = {}, {}
    return (_amplifier("A", 0, header, frame.primary, "", sections),), keywords


def _fits(sections: Mapping[str, str], image: Image) -> bool:
    for name, text in sections.items():
        section = section_of({"_": text}, "_")
        if section is None or name == "detector_section":
            continue
        if max(section[:2]) > image.width or max(section[2:]) > image.height:
            return False
    return True


def _distinct(names: Sequence[str]) -> list[str]:
    usable = [re.sub(r"[^A-Za-z0-9_]", "_", name) for name in names]
    if all(usable) and len(set(usable)) == len(usable):
        return usable
    return [f"A{number + 1}" for number in range(len(names))]


def _sections(header: Mapping[str, Any], letter: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return sections and their keywords, by the names in the description."""
    sections, keywords = {}, {}
    for name, stems in _SECTION_KEYWORDS.items():
        for stem in stems:
            if (section := section_of(header, stem + letter)) is not None:
                first_column, last_column, first_row, last_row = section
                sections[name] = f"[{first_column}:{last_column},{first_row}:{last_row}]"
                keywords[name] = stem + letter
                break
    if "data" not in sections:
        return {}, {}
    target = sections.get("detector_section")
    if target is not None and _size(target) != _size(sections["data"]):
        # That of the whole detector, or of an unbinned one.
        sections.pop("detector_section")
        keywords.pop("detector_section")
        if (binned := _binned(target, sections["data"])) is not None:
            sections["detector_section"] = binned
    return sections, keywords


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


def _amplifier(
    name: str,
    hdu: int,
    header: Mapping[str, Any],
    primary: Mapping[str, Any],
    letter: str,
    sections: Mapping[str, str],
) -> FoundAmplifier:
    merged = {**primary, **header}
    gain = _number(merged, _GAINS, letter)
    if "EGAIN" not in merged and gain is not None and gain >= 10 and gain.is_integer():
        gain = None  # A setting of a CMOS camera, not electrons per ADU.
    return FoundAmplifier(
        name,
        hdu,
        sections,
        gain,
        _number(merged, _READ_NOISES, letter),
        _number(merged, _SATURATIONS, letter),
    )


def _number(header: Mapping[str, Any], stems: Sequence[str], letter: str) -> float | None:
    for stem in stems:
        value = header.get(stem + letter)
        if defined(header, stem + letter) and isinstance(value, int | float) and value > 0:
            return float(value)
    return None


def _sections_of_pixels(frames: Sequence[Frame]) -> dict[str, str]:
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
        span = f"1:{left}" if left >= right else f"{image.width - right + 1}:{image.width}"
        sections["overscan"] = f"[{span},{rows}]"
    if bottom or top:
        span = f"1:{bottom}" if bottom >= top else f"{image.height - top + 1}:{image.height}"
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
