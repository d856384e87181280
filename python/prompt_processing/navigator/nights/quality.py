"""The metrics of an image that people look at first."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["QUALITY", "quality_first"]

QUALITY = {
    "calibrateImage.seeing_fwhm_arcsec": "seeing (″)",
    "calibrateImage.zero_point_mag": "zero point (mag)",
    "calibrateImage.limiting_magnitude_5sigma": "5σ depth (mag)",
    "calibrateImage.background_electrons": "sky (e⁻)",
    "calibrateImage.astrometric_rms_mas": "astrometry (mas)",
    "buildTemplate.coverage": "template coverage",
}
"""Labels by metric of the outcome."""


def quality_first(names: Iterable[str]) -> list[str]:
    """Return names of metrics, those of `QUALITY` first, then by name."""
    order = {name: number for number, name in enumerate(QUALITY)}
    return sorted(names, key=lambda name: (order.get(name, len(order)), name))
