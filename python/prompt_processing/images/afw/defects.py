"""Defects that the stack's ``ip_isr`` wrote."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from ..damaged_files import naming_the_file
from ..defects import Defects
from .errors import StackFileError, UnreadableTypeError

__all__ = ["read_defects"]


@naming_the_file("a table of defects", StackFileError, UnreadableTypeError)
def read_defects(path: str | Path) -> Defects:
    """Read defects from a table of boxes, or of regions in FITS's own form.

    Parameters
    ----------
    path
        FITS or, for ``.ecsv``, text.

    Raises
    ------
    StackFileError
        Raised if the file has no such table, or a region that is not a box along the axes.
    """
    with warnings.catch_warnings():
        # Units such as "pixels".
        warnings.simplefilter("ignore")
        if Path(path).suffix.lower() == ".ecsv":
            table = Table.read(path, format="ascii.ecsv")
        else:
            try:
                table = Table.read(path, format="fits", hdu=1)
            except (IndexError, ValueError) as error:
                raise StackFileError(f"{path} has no table of defects: {error}") from error
    if {"x0", "y0", "width", "height"} <= set(table.colnames):
        boxes = [np.asarray(table[name], np.int32) for name in ("x0", "y0", "width", "height")]
        return Defects(np.stack(boxes, axis=-1).reshape(-1, 4))
    if {"SHAPE", "X", "Y", "R"} <= set(table.colnames):
        rows = [_box(row, str(path)) for row in table]
        return Defects(np.array(rows, np.int32).reshape(-1, 4))
    if not table.colnames:
        return Defects(np.zeros((0, 4), np.int32))
    raise StackFileError(
        f"{path} is not a table of defects: it has {', '.join(table.colnames)} instead of x0, y0, width, "
        "height or SHAPE, X, Y, R."
    )


def _box(row: Any, path: str) -> NDArray[np.int32]:
    """Return x0, y0, width and height; FITS counts pixels from 1, and gives centres."""
    shape = str(row["SHAPE"]).strip().upper()
    centre = np.array([_numbers(row["X"])[0], _numbers(row["Y"])[0]]) - 1.0
    if shape == "POINT":
        size = np.ones(2)
    elif shape in ("BOX", "ROTBOX"):
        size = _numbers(row["R"])[:2]
        angle = float(_numbers(row["ROTANG"])[0]) if shape == "ROTBOX" else 0.0
        if angle % 90 != 0:
            raise StackFileError(
                f"{path}: a box is rotated by {angle} degrees; only boxes along the axes are read."
            )
        if angle % 180 != 0:
            size = size[::-1]
    else:
        raise StackFileError(f"{path}: a region of the shape {shape} is not a box along the axes.")
    first = np.round(centre - (size - 1) / 2)
    return np.concatenate([first, np.round(size)]).astype(np.int32)


def _numbers(value: Any) -> NDArray[np.float64]:
    return np.atleast_1d(np.asarray(value, float))
