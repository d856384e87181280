"""Sections and positions of detectors, from headers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .structure import FoundDetector

__all__ = ["mosaic_position", "positions", "section_of"]

_SECTION = re.compile(r"\[\s*(\d+)\s*:\s*(\d+)\s*,\s*(\d+)\s*:\s*(\d+)\s*\]")


def section_of(header: Mapping[str, Any], keyword: str) -> tuple[int, int, int, int] | None:
    """Return a section of a header: first and last column, first and last row; `None` without one."""
    match = _SECTION.fullmatch(str(header.get(keyword, "")).strip())
    if match is None:
        return None
    a, b, c, d = map(int, match.groups())
    return (a, b, c, d) if min(a, b, c, d) > 0 else None


def mosaic_position(header: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the centre of a detector in pixels of the mosaic, from the WCS or DETSEC."""
    if all(isinstance(header.get(f"CRPIX{i}"), int | float) for i in (1, 2)):
        return -float(header["CRPIX1"]), -float(header["CRPIX2"])
    section = section_of(header, "DETSEC")
    if section is None:
        return None
    return (section[0] + section[1]) / 2, (section[2] + section[3]) / 2


def positions(detectors: Sequence[FoundDetector], pixel_mm: float) -> list[tuple[float, float]]:
    """Return the centre of each detector in the focal plane, mm, as far as headers tell.

    The reference pixels of the WCS of all detectors are one point of the focal plane: the boresight. Without
    them, DETSEC places the detectors, with the origin at the centre of all.
    """
    headers = [one.images[0].header for one in detectors]
    if len(detectors) == 1:
        return [(0.0, 0.0)]
    if (
        all(isinstance(header.get(f"CRPIX{i}"), int | float) for header in headers for i in (1, 2))
        and len({(header.get("CRVAL1"), header.get("CRVAL2")) for header in headers}) == 1
    ):
        places = []
        for header, one in zip(headers, detectors, strict=True):
            x0, x1, y0, y1 = section_of(header, "DATASEC") or (1, one.width, 1, one.height)
            places.append(((x0 + x1) / 2 - float(header["CRPIX1"]), (y0 + y1) / 2 - float(header["CRPIX2"])))
        return [(round(x * pixel_mm, 4), round(y * pixel_mm, 4)) for x, y in places]
    centres = [mosaic_position(header) for header in headers]
    if not all(centres):
        # In a row, as nothing says where they are.
        return [
            (round((number - (len(detectors) - 1) / 2) * one.data_width * pixel_mm, 4), 0.0)
            for number, one in enumerate(detectors)
        ]
    found = np.array([centre for centre in centres if centre is not None])
    found -= (found.min(axis=0) + found.max(axis=0)) / 2
    return [(round(float(x) * pixel_mm, 4), round(float(y) * pixel_mm, 4)) for x, y in found]
