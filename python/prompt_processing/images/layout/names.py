"""Names of mask planes in files of ``lsst.images``, and which of its types holds which dataset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from prompt_processing.images.mask import Mask

__all__ = ["DIFFERENCES", "FIELD_PLANES", "VISIT_IMAGES", "bits_of_planes"]

FIELD_PLANES: Mapping[Mask, tuple[str, str]] = {
    Mask.BAD: ("BAD", "Defect of the detector, or no measurement."),
    Mask.SAT: ("SATURATED", "Saturated pixel, or its charge spilled here."),
    Mask.INTRP: ("INTERPOLATED", "Replaced by interpolation."),
    Mask.CR: ("COSMIC_RAY", "Hit by a cosmic ray."),
    Mask.EDGE: ("DETECTION_EDGE", "Too near the edge for detection."),
    Mask.DETECTED: ("DETECTED", "Part of a source."),
    Mask.DETECTED_NEGATIVE: ("DETECTED_NEGATIVE", "Part of a source of negative flux."),
    Mask.SUSPECT: ("SUSPECT", "Near saturation."),
    Mask.NO_DATA: ("NO_DATA", "Without data."),
    Mask.CROSSTALK: ("CROSSTALK", "Corrected for crosstalk."),
    Mask.STREAK: ("STREAK", "Crossed by a satellite."),
    Mask.SAT_TEMPLATE: ("SAT_TEMPLATE", "Saturated in the template."),
    Mask.INJECTED: ("INJECTED", "Has a synthetic source."),
    Mask.INJECTED_TEMPLATE: ("INJECTED_TEMPLATE", "Has a synthetic source in the template."),
}
"""Name and meaning of each plane, in order of the bits."""

VISIT_IMAGES = frozenset({"preliminary_visit_image"})
"""Dataset types that are a ``VisitImage``."""

DIFFERENCES = frozenset(
    {"difference_image", "difference_image_predetection", "template_detector", "template_matched"}
)
"""Dataset types that are a ``DifferenceImage``, which also holds the template of a difference."""

_BITS = {name: plane for plane, (name, _) in FIELD_PLANES.items()} | dict(Mask.__members__)


def bits_of_planes(planes: Iterable[Mapping[str, Any] | None]) -> dict[int, int]:
    """Return our bits of planes in a file.

    Parameters
    ----------
    planes
        Planes as a file describes them, `None` for a reserved bit.

    Returns
    -------
    bits
        Value of our bit, by the number of the bit in the file's first integer; planes that we lack are left
        out.
    """
    named = [plane["name"] for plane in planes if plane is not None]
    return {n: int(_BITS[name]) for n, name in enumerate(named[:31]) if name in _BITS}
