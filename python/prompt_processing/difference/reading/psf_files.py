"""A user's PSF files: positions of stars, or an image of the PSF itself."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from ..errors import DifferenceError
from .files import check_file, find_image, open_fits, split_extension
from .stored_pixels import pixels

_FORMATS = {".parquet": "parquet", ".parq": "parquet", ".fits": "fits", ".fit": "fits", ".ecsv": "ascii.ecsv"}
_REACH, _FAR = 30, 0.3
"""Distance, pixels, from the peak of a PSF, and the largest share of its light beyond."""
_EDGE = 0.1
"""Largest share of the peak at the edge; a PSF with more is truncated or includes sky."""


def read_star_positions(path: str | Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Read ``x`` and ``y`` of stars from a FITS, Parquet, CSV or plain text table.

    Returns
    -------
    x, y : `~numpy.ndarray`, shape (n,)
        Pixels; the first one's centre is (0, 0).

    Raises
    ------
    DifferenceError
        Raised if the file is missing or contains no such table.
    """
    check_file(str(path), str(path))
    table = _table(Path(path))
    names = {name.lower(): name for name in table.colnames}
    if not {"x", "y"} <= names.keys() or not len(table):
        raise DifferenceError(
            f"{path}: the stars of the PSF need columns x and y, pixels; it has {', '.join(table.colnames)}."
        )
    try:
        x, y = (np.asarray(table[names[name]], float) for name in ("x", "y"))
    except (TypeError, ValueError) as error:
        raise DifferenceError(f"{path}: x and y of the stars of the PSF are not all numbers.") from error
    usable = np.isfinite(x) & np.isfinite(y)
    return x[usable], y[usable]


def _table(path: Path) -> Table:
    """Return the first table with columns x and y that a reader finds, else any table."""
    kind = _FORMATS.get(path.suffix.lower())
    found = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in (kind,) if kind else ("ascii.csv", "ascii.basic", "ascii.commented_header", "fits"):
            try:
                table = Table.read(path, format=name)
            # Each format's reader has its own errors; it only matters whether one reader finds a table.
            except Exception:  # noqa: BLE001, S112
                continue
            if {"x", "y"} <= {column.lower() for column in table.colnames}:
                return table
            found = table if len(table.colnames) > 1 else found
    if found is not None:
        return found
    raise DifferenceError(f"{path} is not a table of stars: write columns x and y as CSV, FITS or Parquet.")


def read_psf_image(path: str | Path) -> NDArray[np.float64]:
    """Read the image of a PSF; shape (height, width).

    Raises
    ------
    DifferenceError
        Raised if the file has no such image.
    """
    file, extension = split_extension(str(path))
    with open_fits(file) as hdus:
        named = extension or ("PSF" if "PSF" in hdus else None)
        values = np.asarray(pixels(find_image(hdus, file, named), str(path)), float)
    check_psf_image(values, str(path))
    return values


def check_psf_image(values: NDArray[np.float64], name: str) -> None:
    """Refuse an image that is not a PSF.

    Raises
    ------
    DifferenceError
        Raised with the reason.
    """
    if values.ndim != 2 or min(values.shape) < 3 or not np.isfinite(values).all() or not values.sum() > 0:
        raise DifferenceError(f"{name}: a PSF is a finite two-dimensional image of a positive sum.")
    light = np.maximum(values, 0)
    peak = np.unravel_index(np.argmax(values), values.shape)
    rows, columns = np.indices(values.shape)
    far = float(light[np.hypot(rows - peak[0], columns - peak[1]) > _REACH].sum() / light.sum())
    if far > _FAR:
        raise DifferenceError(
            f"{name} is not a PSF's image: {far:.0%} of its light is more than {_REACH} pixels from the "
            "brightest pixel."
        )
    edge = np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])
    if np.median(edge) > _EDGE * values.max():
        raise DifferenceError(
            f"{name} is not a PSF's image: its edge has {np.median(edge) / values.max():.0%} of the peak's "
            "value. Subtract the sky and include the whole profile."
        )
