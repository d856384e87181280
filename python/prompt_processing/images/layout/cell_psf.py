"""The PSF of a ``CellCoadd`` of ``lsst-images``: one image for each cell, or none where a cell is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.io import fits

from prompt_processing.images.psf import Psf, polynomial_terms

__all__ = ["is_cell_psf", "psf_of_cells"]

_ORDER = 2
"""Degree of the polynomials that follow the PSF from cell to cell, as for other coadds."""


def is_cell_psf(model: Mapping[str, Any]) -> bool:
    """Return whether the description of a PSF is that of cells."""
    return isinstance(model.get("array"), dict) and "grid" in (model.get("bounds") or {})


def psf_of_cells(model: Mapping[str, Any], path: str, shape: tuple[int, int], x0: int, y0: int) -> Psf | None:
    """Return polynomials through the images of the cells.

    Parameters
    ----------
    model
        Description of the PSF.
    path
        The file, which holds the images.
    shape
        Height and width of the image.
    x0, y0
        Its lower left pixel in the coordinates of the description.

    Returns
    -------
    psf
        `None` if no cell has one.
    """
    name, _, version = str(model["array"]["source"]).removeprefix("fits:").partition("[")[0].partition(",")
    with fits.open(path) as hdus:
        images = np.asarray(hdus[name, int(version or 1)].data, np.float64)
    side = images.shape[-1]
    if images.ndim != 4 or images.shape[-2] != side or side % 2 == 0:
        return None
    bounds = model["bounds"]
    cell = bounds["grid"]["cell_shape"]
    start = bounds["bbox"]
    rows, columns = np.mgrid[: images.shape[0], : images.shape[1]].reshape(2, -1)
    x = start["x"]["start"] + (columns + 0.5) * cell["x"] - 0.5 - x0
    y = start["y"]["start"] + (rows + 0.5) * cell["y"] - 0.5 - y0
    flat = images.reshape(-1, side * side)
    used = np.isfinite(flat).all(axis=1) & (flat.sum(axis=1) > 0)
    if not used.any():
        return None
    flat = flat[used] / flat[used].sum(axis=1, keepdims=True)
    order = _ORDER
    while order > 0 and len(flat) < 2 * (order + 1) * (order + 2) // 2:
        order -= 1
    height, width = shape
    x_centre, y_centre, scale = (width - 1) / 2, (height - 1) / 2, max(shape) / 2
    terms = polynomial_terms((x[used] - x_centre) / scale, (y[used] - y_centre) / scale, order)
    coefficients = np.linalg.lstsq(terms, flat, rcond=None)[0]
    return Psf(
        coefficients.reshape(-1, side, side).astype(np.float32), order, x_centre, y_centre, float(scale)
    )
