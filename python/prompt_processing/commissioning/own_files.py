"""Find keywords that tell detectors apart, in one file or in files of their own."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from prompt_processing.instruments.description.rules import defined

from .frames import Frame, Image

__all__ = ["distinguishing_keywords", "in_own_files"]

_NUMBERS = ("CCDNUM", "CHIPNUM", "DETNUM", "DET-ID", "DETID", "DET_ID", "CHIPID", "CCDID", "CCD_ID", "CCD-ID")
_NAMES = (
    "CCDNAME",
    "CCD_NAME",
    "CHIPNAME",
    "DETNAME",
    "DETPOS",
    "CHIP",
    "CCD",
    "SENSOR",
    "DETECTOR",
    "EXTNAME",
)
_OF_DETECTORS = re.compile(r"CCD|CHIP|DET|SENS|SERIAL|DEVICE|CHAN|ARM|EXTNAME")
_MOST_DETECTORS = 256


def in_own_files(frames: Sequence[Frame]) -> tuple[str, Mapping[str, Sequence[Frame]]] | None:
    """Return the keyword that tells the detectors of frames of one image apart, and the frames of each.

    Each detector must have as many frames of each kind as the others, and several of some kind: otherwise the
    keyword may as well count frames. `None` without such a keyword.
    """
    if any(len(frame.images) != 1 for frame in frames):
        return None
    for keyword in (*_NUMBERS, *_NAMES):
        if not all(defined(frame.header, keyword) for frame in frames):
            continue
        own: dict[str, list[Frame]] = {}
        for frame in frames:
            own.setdefault(str(frame.header[keyword]).strip(), []).append(frame)
        counts = [Counter(frame.kind for frame in each) for each in own.values()]
        if (
            1 < len(own) <= _MOST_DETECTORS
            and all(count == counts[0] for count in counts)
            and max(counts[0].values()) > 1
        ):
            return keyword, dict(sorted(own.items(), key=lambda item: (len(item[0]), item[0])))
    return None


def distinguishing_keywords(frame: Frame, images: Sequence[Image], frames: Sequence[Frame]) -> Sequence[str]:
    """Return the keywords that have another value in each image, and the same values in all frames."""
    found = []
    for keyword in images[0].header:
        values = [image.header.get(keyword) for image in images]
        if (
            _OF_DETECTORS.search(keyword)
            and not keyword.endswith("SEC")
            and all(isinstance(value, str | int) and not isinstance(value, bool) for value in values)
            and len({str(value).strip() for value in values} - {""}) == len(images)
            and all(
                [image.header.get(keyword) for image in other.images]
                == [image.header.get(keyword) for image in frame.images]
                for other in frames
                if len(other.images) == len(frame.images)
            )
        ):
            found.append(keyword)
    return found
