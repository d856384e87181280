"""Photometric calibration of an image."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass

NJY_ZERO_POINT = 31.4
"""AB magnitude of 1 nJy."""

AB_ZERO_POINT_NJY = 10 ** (0.4 * NJY_ZERO_POINT)
"""Flux density of AB magnitude 0, nJy."""


@dataclass(frozen=True, slots=True)
class PhotoCalib:
    """Factor from an image's unit to nJy.

    Attributes
    ----------
    njy_per_unit, njy_per_unit_err
        Mean factor and its standard error; 1 for an image already in nJy.
    """

    njy_per_unit: float = 1.0
    njy_per_unit_err: float = 0.0

    @property
    def zero_point(self) -> float:
        """AB magnitude of one unit of flux."""
        return NJY_ZERO_POINT - 2.5 * math.log10(self.njy_per_unit)

    @classmethod
    def from_zero_point(cls, zero_point: float, zero_point_err: float = 0.0) -> PhotoCalib:
        """Make a calibration from the AB magnitude of one unit of flux."""
        factor = 10 ** (-0.4 * (zero_point - NJY_ZERO_POINT))
        return cls(factor, factor * zero_point_err * 0.4 * math.log(10))

    def to_json(self) -> str:
        """Serialise to JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> PhotoCalib:
        """Read the document of `to_json`."""
        return cls(**json.loads(text))
