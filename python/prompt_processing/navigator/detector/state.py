"""State of the detector view, as its address has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .stretch import Curve, Scale

__all__ = ["DetectorState"]


@dataclass(frozen=True, slots=True)
class DetectorState:
    """State of the view.

    Attributes
    ----------
    instrument, visit, detector, collection
        What is shown; visit is an exposure id, or a group.
    x, y, size
        Centre and width of the view, pixels; `None` for the whole detector.
    scale, curve
        Limits and curve of the grey levels.
    masks
        Mask planes over the images.
    marks
        How DiaSources are coloured, or that they are hidden.
    mode
        Three images side by side, or one place where they blink.
    source
        Selected DiaSource.
    below
        Plots or log below the images.
    """

    instrument: str = ""
    visit: str = ""
    detector: int | None = None
    collection: str = ""
    x: float | None = None
    y: float | None = None
    size: float | None = None
    scale: Scale = "zscale"
    curve: Curve = "linear"
    masks: tuple[str, ...] = ()
    marks: Literal["reliability", "class", "none"] = "reliability"
    mode: Literal["side", "blink"] = "side"
    source: int | None = None
    below: Literal["", "plots", "log"] = ""

    @property
    def exposure(self) -> int | None:
        """The visit as the id of an exposure; `None` if it is a group."""
        text = self.visit
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None
