"""Where detectors are in a camera."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

from prompt_processing.instruments.camera import camera_names, load_camera

__all__ = ["positions"]

_LOG = logging.getLogger("lsst.prompt_processing.board")

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
    # The name comes from a message: only those that are described are looked up.
    known = _camera(instrument) if instrument in camera_names() else {}
    if known and all(one in known for one in detectors):
        return dict(known)
    columns = max(1, math.ceil(math.sqrt(len(detectors))))
    return {
        one: (float(number % columns), -float(number // columns), f"detector {one}")
        for number, one in enumerate(sorted(detectors))
    }


@lru_cache(maxsize=16)
def _camera(instrument: str) -> Mapping[int, Place]:
    try:
        camera = load_camera(instrument)
    except LookupError as error:
        # A description that cannot be used hides no visit.
        _LOG.warning("Detectors are shown in a grid: %s", error)
        return {}
    return {one.id: (one.x_mm, one.y_mm, f"{one.name} ({one.id})") for one in camera.detectors.values()}
