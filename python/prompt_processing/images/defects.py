"""Rectangles of bad pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from .mask import Mask


@dataclass(frozen=True, slots=True, eq=False)
class Defects:
    """Rectangles of unusable pixels.

    Attributes
    ----------
    boxes : `~numpy.ndarray` of int32, shape (n, 4)
        ``x0, y0, width, height``, pixels of the assembled detector.
    """

    boxes: NDArray[np.int32]

    def apply(self, mask: NDArray[np.int32], plane: Mask = Mask.BAD) -> None:
        """Set a plane of ``mask``, shape (height, width), in place."""
        for x0, y0, width, height in self.boxes:
            mask[max(y0, 0) : max(y0 + height, 0), max(x0, 0) : max(x0 + width, 0)] |= int(plane)

    def write_fits(self, path: str | Path) -> None:
        """Write a binary table of x0, y0, width, height, with the keywords of the Rubin stack's defects."""
        meta = {
            "OBSTYPE": "defects",
            "CALIBCLS": "lsst.ip.isr.defects.Defects",
            "HIERARCH DEFECTS_SCHEMA": "Simple",
            "HIERARCH DEFECTS_SCHEMA_VERSION": 1,
        }
        table = Table(self.boxes, names=["x0", "y0", "width", "height"], meta=meta)
        table.write(path, format="fits", overwrite=True)

    @classmethod
    def read_fits(cls, path: str | Path) -> Defects:
        """Read the table of `write_fits`, or any table with the same columns."""
        table = Table.read(path, format="fits", hdu=1)
        columns = [np.asarray(table[name], np.int32) for name in ("x0", "y0", "width", "height")]
        return cls(np.stack(columns, axis=-1).reshape(-1, 4))
