"""Guess detectors and amplifiers from headers, and overscans from pixels."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from .amplifiers import FoundAmplifier, find_amplifiers, is_apart, is_overscan, targets
from .frames import Frame, Image
from .guess import Guess
from .own_files import distinguishing_keywords, in_own_files
from .positions import mosaic_position, section_of
from .sections import sections_of_pixels, tiles

__all__ = ["FoundAmplifier", "FoundDetector", "Structure", "find_structure"]

_DETECTOR_NUMBERS = ("CCDNUM", "CHIPNUM", "DETNUM", "DET-ID", "DETID", "CHIPID", "CCDID", "IMAGEID", "EXTVER")
_DETECTOR_NAMES = ("DETPOS", "EXTNAME", "CCDNAME", "DETNAME", "CHIPNAME", "CCD_NAME")
_SHARED_NAMES = (
    "CCDNAME",
    "CCD_NAME",
    "CHIPNAME",
    "DETNAME",
    "CCDNUM",
    "CCDID",
    "CHIPID",
    "ESO DET CHIP1 ID",
)
"""Keywords that the amplifiers of one detector share."""
_MOST_AMPLIFIERS = 16


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
    frames
        The frames that hold it.
    """

    id: int
    name: str
    width: int
    height: int
    amplifiers: tuple[FoundAmplifier, ...]
    images: tuple[Image, ...]
    frames: tuple[Frame, ...]

    @property
    def data_width(self) -> int:
        """Width of the assembled image, pixels, as far as sections tell."""
        boxes = [
            section_of(one.sections, "detector_section") or section_of(one.sections, "data")
            for one in self.amplifiers
        ]
        ends = [end for box in boxes if box is not None for end in box[:2]]
        return max(ends) - min(ends) + 1 if ends else self.width


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
    has_own_files
        Whether each detector has files of its own.
    """

    detectors: tuple[FoundDetector, ...]
    rule: Guess
    section_keywords: Mapping[str, str]
    doubts: Mapping[str, str]
    has_own_files: bool = False


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
    own_files = in_own_files(frames)
    rule, groups = _of_files(*own_files) if own_files is not None else _by_detector(frame, frames)
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
        holding = frames if own_files is None else list(own_files[1].values())[number]
        amplifiers, found = find_amplifiers(frame if own_files is None else holding[0], images, doubts)
        keywords = keywords or found
        if (number == 0 or own_files) and not amplifiers[0].sections and len(amplifiers) == 1:
            guessed = sections_of_pixels(holding)
            if guessed:
                amplifiers = (replace(amplifiers[0], sections=guessed),)
                doubts["amplifier_kinds"] = (
                    "the sections: they are guessed from the levels of a bright frame; the camera's manual "
                    "has them"
                )
        detectors.append(
            FoundDetector(
                id_, name, images[0].width, images[0].height, amplifiers, tuple(images), tuple(holding)
            )
        )
    if any(is_overscan(image, frame) for image in frame.images):
        doubts["amplifier_kinds"] = (
            "whether the overscans are needed: those in images of their own are not read"
        )
    if len(detectors) > 1:
        doubts["detectors"] = (
            "the position of each detector in the focal plane (x_mm, y_mm, yaw_deg): a drawing"
        )
        if any(mosaic_position(one.images[0].header) is not None for one in detectors):
            doubts["detectors"] += (
                "; these are from DETSEC or a WCS, which may leave out the gaps between detectors"
            )
    return Structure(tuple(detectors), rule, keywords, doubts, own_files is not None)


Group = tuple[int, str, list[Image]]


def _of_files(keyword: str, frames: Mapping[str, Sequence[Frame]]) -> tuple[Guess, list[Group]]:
    """Return rule and groups of detectors that have files of their own."""
    images = [list(own[0].images) for own in frames.values()]
    return _by_names(keyword, list(frames), images, f"whether each {keyword} is a detector")


def _by_detector(frame: Frame, frames: Sequence[Frame]) -> tuple[Guess, list[Group]]:
    """Return the rule that tells detectors apart, and id, name and images of each."""
    images = [image for image in frame.images if not is_apart(image, frame)]
    one = Guess({"constant": 0}, "one detector")
    if len(images) == 1:
        return one, [(0, "CCD", images)]
    if (shared := _by_shared_name(images)) is not None:
        return shared
    for keyword in _DETECTOR_NUMBERS:
        values = [image.header.get(keyword) for image in images]
        if not all(isinstance(value, int) for value in values) or len(set(values)) == 1:
            continue
        # Few images that tile one another are the amplifiers of one detector.
        if len(set(values)) == len(images) <= _MOST_AMPLIFIERS and tiles(targets(images)):
            break
        groups: dict[int, list[Image]] = {}
        for image in images:
            groups.setdefault(int(image.header[keyword]), []).append(image)
        return Guess({"keyword": keyword}), [
            (id_, _name(of_it[0], id_), of_it) for id_, of_it in groups.items()
        ]
    if tiles(targets(images)) or _are_amplifiers(images):
        return one, [(0, "CCD", images)]
    for keyword in _DETECTOR_NAMES:
        names = [str(image.header.get(keyword, "")).strip() for image in images]
        if all(names) and len(set(names)) == len(names):
            doubt = f"whether each {keyword} is a detector, not an amplifier of one"
            return _by_names(keyword, names, [[image] for image in images], doubt)
    for keyword in distinguishing_keywords(frame, images, frames):
        names = [str(image.header[keyword]).strip() for image in images]
        return _by_names(
            keyword, names, [[image] for image in images], f"whether each {keyword} is a detector"
        )
    return one, [(0, "CCD", images)]


def _by_shared_name(images: Sequence[Image]) -> tuple[Guess, list[Group]] | None:
    """Return the detectors if several images of each name one detector, and tile it."""
    for keyword in _SHARED_NAMES:
        groups: dict[str, list[Image]] = {}
        for image in images:
            groups.setdefault(str(image.header.get(keyword, "")).strip(), []).append(image)
        if "" in groups or not 1 < len(groups) < len(images):
            continue
        if all(len(group) == 1 or tiles(targets(group)) for group in groups.values()):
            return _by_names(keyword, list(groups), list(groups.values()), "")
    return None


def _by_names(
    keyword: str, names: Sequence[str], groups: Sequence[list[Image]], doubt: str
) -> tuple[Guess, list[Group]]:
    if all(re.fullmatch(r"\d{1,2}", name) for name in names):
        found = [(int(name), f"D{int(name):02d}", group) for name, group in zip(names, groups, strict=True)]
        return Guess({"keyword": keyword}, "", doubt), found
    if all(re.fullmatch(r"[A-Za-z0-9_-]+", name) for name in names):
        return Guess({"keyword": keyword}, "", doubt), [
            (number, name, group) for number, (name, group) in enumerate(zip(names, groups, strict=True))
        ]
    # Names with other characters than the description allows are entered by number.
    rule = {"keyword": keyword, "values": {name: number for number, name in enumerate(names)}}
    return Guess(rule, "", doubt), [(number, f"D{number:02d}", group) for number, group in enumerate(groups)]


def _are_amplifiers(images: Sequence[Image]) -> bool:
    """Return whether images without sections on the detector are called amplifiers."""
    return len(images) <= _MOST_AMPLIFIERS and all(
        re.search(r"AMP|CHAN|QUAD|OUT", f"{image.header.get('EXTNAME', '')}".upper())
        or any(key in image.header for key in ("AMPNAME", "AMP_ID", "AMPID", "AMPNUM"))
        for image in images
    )


def _name(image: Image, id_: int) -> str:
    for keyword in _DETECTOR_NAMES:
        text = str(image.header.get(keyword, "")).strip()
        if text and re.fullmatch(r"[A-Za-z0-9_-]+", text):
            return text
    return f"D{id_:02d}"
