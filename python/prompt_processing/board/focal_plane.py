"""Where detectors are in a camera."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

from prompt_processing.instruments.camera import described_camera

__all__ = ["positions"]

Place = tuple[float, float, str]
"""Position (mm, or columns and rows of a grid) and name."""


def positions(instrument: str, detectors: Sequence[int]) -> dict[int, Place]:
    """Return the place of each detector of the camera.

    Parameters
    ----------
    instrument
        Short name. Without a description of it, or of one of the detectors, they are in a grid by id.
    detectors
        Ids that must have a place.
    """
    known = _camera(instrument)
    if known and all(one in known for one in detectors):
        return dict(known)
    columns = max(1, math.ceil(math.sqrt(len(detectors))))
    return {
        one: (float(number % columns), -float(number // columns), f"detector {one}")
        for number, one in enumerate(sorted(detectors))
    }


@lru_cache(maxsize=16)
def _camera(instrument: str) -> Mapping[int, Place]:
    camera = described_camera(instrument)
    if camera is None:
        return {}
    return {one.id: (one.x_mm, one.y_mm, f"{one.name} ({one.id})") for one in camera.detectors.values()}
