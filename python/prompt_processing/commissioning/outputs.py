"""Sections of several outputs in one image, from ESO's numbers of their pixels."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from .frames import Image

__all__ = ["outputs_in_header"]

_MOST_OUTPUTS = 32
_FEWEST_OVERSCAN = 4


def outputs_in_header(header: Mapping[str, Any], image: Image) -> dict[int, dict[str, str]]:
    """Find the sections of the outputs that share an image.

    Parameters
    ----------
    header
        Keywords, of which ``ESO DET OUTi`` count. ``X`` and ``Y`` are the corner at which an output is read:
        its prescan is there, and its overscan at the other end of its pixels.
    image
        The image.

    Returns
    -------
    sections
        Sections by their names in the description, by the number of the output; empty unless there are
        several, whose pixels fill the image.
    """
    numbers = [number for number in range(1, _MOST_OUTPUTS + 1) if _value(header, number, "NX", 0) > 0]
    if len(numbers) < 2:
        return {}
    spans = []
    for axis, size in (("X", image.width), ("Y", image.height)):
        one = _spans(header, numbers, axis, size)
        if one is None:
            return {}
        spans.append(one)
    found = {}
    for number in numbers:
        (data_x, over_x, place_x), (data_y, over_y, place_y) = (one[number] for one in spans)
        sections = {"data": f"[{data_x},{data_y}]"}
        if over_x:
            sections["overscan"] = f"[{over_x},{data_y}]"
        if over_y:
            sections["parallel_overscan"] = f"[{data_x},{over_y}]"
        sections["detector_section"] = f"[{place_x},{place_y}]"
        found[number] = sections
    return found if len({one["data"] for one in found.values()}) == len(numbers) else {}


def _spans(
    header: Mapping[str, Any], numbers: Sequence[int], axis: str, size: int
) -> dict[int, tuple[str, str, str]] | None:
    """Return data, overscan and place of each output along an axis; `None` if they do not fill the image."""
    corners = {number: _value(header, number, axis, 1) for number in numbers}
    found, start, place = {}, 0, 0
    for index, (_, group) in enumerate(
        itertools.groupby(sorted(numbers, key=corners.__getitem__), corners.get)
    ):
        same = list(group)
        sizes = {
            tuple(_value(header, number, name.format(axis), 0) for name in ("PRSC{}", "N{}", "OVSC{}"))
            for number in same
        }
        if len(sizes) != 1:
            return None
        ((before, pixels, behind),) = sizes
        # The second output of a row is read from its far end.
        parts = (behind, before) if index % 2 else (before, behind)
        data = start + parts[0] + 1
        stop = start + before + pixels + behind
        over = (
            (f"{start + 1}:{data - 1}" if index % 2 else f"{data + pixels}:{stop}")
            if behind >= _FEWEST_OVERSCAN
            else ""
        )
        for number in same:
            found[number] = (f"{data}:{data + pixels - 1}", over, f"{place + 1}:{place + pixels}")
        start, place = stop, place + pixels
    return found if start == size else None


def _value(header: Mapping[str, Any], number: int, name: str, default: int) -> int:
    value = header.get(f"ESO DET OUT{number} {name}", default)
    return value if isinstance(value, int) and value >= 0 else default
