"""Guess the amplifiers of a detector from headers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prompt_processing.instruments.description.rules import defined

from .frames import Frame, Image
from .outputs import outputs_in_header
from .positions import section_of
from .sections import FoundSections, packed, sections_in_header, suffixes_in_header, tiles

__all__ = ["FoundAmplifier", "find_amplifiers", "is_apart", "is_overscan", "targets"]

_GAINS = ("EGAIN", "GAIN", "EPERDN", "CCDGAIN", "DETGAIN", "GTGAIN", "ESO DET OUT1 CONAD", "GAIN1")
_READ_NOISES = (
    *("RDNOISE", "READNOIS", "READNOI", "RON", "CCDNOISE", "ENOISE", "READNOISE", "GTRON"),
    *("ESO DET OUT1 RON", "RDNOISE1"),
)
_SATURATIONS = ("SATURATE", "SATURAT", "SATLEVEL", "DATAMAX", "MAXLIN")


@dataclass(frozen=True, slots=True)
class FoundAmplifier:
    """One amplifier.

    Attributes
    ----------
    name, hdu
        As in the description.
    place
        Index of its image among all images of a frame.
    sections
        Sections by their names in the description, in FITS notation.
    gain, read_noise, saturation_adu
        From the header; `None` if it does not say.
    """

    name: str
    hdu: int
    place: int
    sections: Mapping[str, str] = field(default_factory=dict)
    gain: float | None = None
    read_noise: float | None = None
    saturation_adu: float | None = None

    def centre(self, frame: Frame, size: int) -> NDArray[np.float64]:
        """Read the middle of its data from a frame of the same structure, ADU.

        Parameters
        ----------
        frame
            The frame.
        size
            Greatest width and height, pixels.

        Raises
        ------
        RawFileError
            Raised if the file is truncated.
        """
        image = frame.images[min(self.place, len(frame.images) - 1)]
        x0, x1, y0, y1 = section_of(self.sections, "data") or (1, image.width, 1, image.height)
        columns, rows = (
            slice(
                max((low + high) // 2 - size // 2, low) - 1, min((low + high) // 2 - size // 2 + size, high)
            )
            for low, high in (sorted((x0, x1)), sorted((y0, y1)))
        )
        return frame.pixels(image, (rows, columns))


def find_amplifiers(
    frame: Frame, images: Sequence[Image], doubts: dict[str, str]
) -> tuple[tuple[FoundAmplifier, ...], dict[str, str]]:
    """Return a detector's amplifiers, and the keywords of their sections."""
    if len(images) > 1:
        return _amplifiers_in_images(frame, images, doubts)
    (image,) = images
    header = {**frame.primary, **image.header}
    place = list(frame.images).index(image)
    outputs = outputs_in_header(header, image)
    if outputs:
        return tuple(
            _amplifier(f"OUT{number}", 0, place, _of_output(header, number), "", sections)
            for number, sections in outputs.items()
        ), {}
    suffixes = suffixes_in_header(header)
    if len(suffixes) < 2:
        found = sections_in_header(header, "", image)
        return (_amplifier("A", 0, place, header, "", found.sections),), dict(found.keywords)
    each = [sections_in_header(header, suffix, image) for suffix in suffixes]
    complete = _with_targets(each)
    made = [
        _amplifier(suffix.strip("_-"), 0, place, header, suffix, one.sections)
        for suffix, one in zip(suffixes, complete, strict=True)
    ]
    forms = {
        name: keyword.removesuffix(suffixes[-1]) + suffixes[-1].rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
        for name, keyword in complete[-1].keywords.items()
    }
    return tuple(made), {name: form + "{amplifier}" for name, form in forms.items()}


def _of_output(header: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Return a header in which the first output has the values of another."""
    values = {name: header.get(f"ESO DET OUT{number} {name}") for name in ("CONAD", "RON")}
    return {**header, **{f"ESO DET OUT1 {name}": value for name, value in values.items()}}


def _amplifiers_in_images(
    frame: Frame, images: Sequence[Image], doubts: dict[str, str]
) -> tuple[tuple[FoundAmplifier, ...], dict[str, str]]:
    names = _amplifier_names(frame, images)
    each = [sections_in_header(image.header, "", image) for image in images]
    places = targets(images)
    if not tiles([section_of(one.sections, "detector_section") for one in each]):
        each = [_whole(one, image) for one, image in zip(each, images, strict=True)]
        sizes = [section_of(one.sections, "data") for one in each]
        if not tiles(places) or any(
            target is None or size is None or _extent(target) != _extent(size)
            for target, size in zip(places, sizes, strict=True)
        ):
            places = _side_by_side([size for size in sizes if size is not None])
            doubts["amplifier_kinds"] = (
                "the place of each amplifier on the detector (detector_section): no header has it; look at "
                "the pictures of `prompt instrument check`"
            )
        each = [
            FoundSections(
                {**one.sections, "detector_section": _text(target)},
                {name: keyword for name, keyword in one.keywords.items() if name != "detector_section"},
            )
            for one, target in zip(each, places, strict=True)
            if target is not None
        ]
    # Where no keyword tells detectors apart, the reader counts guiders and overscans too.
    own = _images_of_reader(frame, images)
    made = [
        _amplifier(
            name,
            own.index(image),
            list(frame.images).index(image),
            {**frame.primary, **image.header},
            "",
            one.sections,
        )
        for image, name, one in zip(images, names, each, strict=True)
    ]
    return tuple(made), dict(each[0].keywords)


def _images_of_reader(frame: Frame, images: Sequence[Image]) -> list[Image]:
    others = [image for image in frame.images if not is_apart(image, frame)]
    return list(frame.images) if len(others) == len(images) else list(images)


def _with_targets(each: Sequence[FoundSections]) -> list[FoundSections]:
    """Add places in the assembled image, unless all amplifiers have one and they fill it."""
    if tiles([section_of(one.sections, "detector_section") for one in each]):
        return list(each)
    boxes = [section_of(one.sections, "data") for one in each]
    known = [box for box in boxes if box is not None]
    if len(known) < len(boxes):
        return list(each)
    return [
        FoundSections(
            {**one.sections, "detector_section": target},
            {name: keyword for name, keyword in one.keywords.items() if name != "detector_section"},
        )
        for one, target in zip(each, packed(known), strict=True)
    ]


def _whole(one: FoundSections, image: Image) -> FoundSections:
    """Return sections with that of the data, by default the whole image."""
    return FoundSections({"data": f"[1:{image.width},1:{image.height}]", **one.sections}, one.keywords)


def _side_by_side(sizes: Sequence[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int] | None]:
    """Return places of amplifiers about which nothing is known: four in a square, others in a row."""
    width, height = (extent + 1 for extent in _extent(sizes[0]))
    columns = 2 if len(sizes) == 4 else len(sizes)
    return [
        (
            number % columns * width + 1,
            (number % columns + 1) * width,
            number // columns * height + 1,
            (number // columns + 1) * height,
        )
        for number in range(len(sizes))
    ]


def _extent(box: tuple[int, int, int, int]) -> tuple[int, int]:
    return abs(box[1] - box[0]), abs(box[3] - box[2])


def _text(box: tuple[int, int, int, int]) -> str:
    return f"[{box[0]}:{box[1]},{box[2]}:{box[3]}]"


def _amplifier_names(frame: Frame, images: Sequence[Image]) -> list[str]:
    names = [re.sub(r"[^A-Za-z0-9_]", "_", str(image.header.get("EXTNAME", "")).strip()) for image in images]
    # Names of a whole mosaic would give each of its detectors a kind of its own.
    is_one_detector = sum(not is_apart(image, frame) for image in frame.images) == len(images)
    if is_one_detector and all(names) and len(set(names)) == len(names):
        return names
    return [f"A{number + 1}" for number in range(len(names))]


def _amplifier(
    name: str, hdu: int, place: int, header: Mapping[str, Any], suffix: str, sections: Mapping[str, str]
) -> FoundAmplifier:
    gain = _number(header, _GAINS, suffix)
    if "EGAIN" not in header and gain is not None and gain >= 10 and gain.is_integer():
        gain = None  # A setting of a CMOS camera, not electrons per ADU.
    return FoundAmplifier(
        name,
        hdu,
        place,
        sections,
        gain,
        _number(header, _READ_NOISES, suffix),
        _number(header, _SATURATIONS, suffix),
    )


def _number(header: Mapping[str, Any], stems: Sequence[str], suffix: str) -> float | None:
    for stem in stems:
        value = header.get(stem + suffix)
        if defined(header, stem + suffix) and isinstance(value, int | float) and value > 0:
            return float(value)
    return None


def is_apart(image: Image, frame: Frame) -> bool:
    """Return whether an image is of a guider, or has an overscan only."""
    text = f"{image.header.get('EXTNAME', '')} {image.header.get('DETPOS', '')}".upper()
    if re.search(r"\b(GUIDE|FOCUS|FN|FS|GN|GS)\w*", text):
        return True
    return is_overscan(image, frame)


def is_overscan(image: Image, frame: Frame) -> bool:
    """Return whether an image has the overscan of others."""
    name = str(image.header.get("EXTNAME", "")).upper()
    widest = max(other.width for other in frame.images)
    return bool(re.search(r"BIAS|OVERSCAN|OVSC|PRESCAN", name)) and image.width < widest


def targets(images: Sequence[Image]) -> list[tuple[int, int, int, int] | None]:
    """Return the sections of images on the detector; `None` where a header has none."""
    return [section_of(image.header, "DETSEC") or section_of(image.header, "CCDSEC") for image in images]
