"""Pieces of one column or row that pass for sources: stripes too faint or too short to be marked before."""

from __future__ import annotations

import numpy as np
from astropy.table import Table, vstack
from numpy.typing import NDArray

ELONGATED = 3.0
"""Least ratio of a source's second moments along and across the line, in units of the PSF's ..."""
SAME_LINE = 2.0
"""... its largest distance from the others' line, pixels ..."""
FEWEST = 3
"""... and the fewest such sources that make a line."""

REASON = "bad line"


def reject_lines(kept: Table, rejected: Table) -> tuple[Table, Table]:
    """Move sources that lie on one column or row, and are all elongated along it, to the rejected ones.

    Parameters
    ----------
    kept, rejected : `~astropy.table.Table`
        Results of `~prompt_processing.imaging.measurement.dia_filters.filter_dia_sources`.
    """
    if len(kept) < FEWEST:
        return kept, rejected
    with np.errstate(invalid="ignore", divide="ignore"):
        wide = np.asarray(kept["ixx"] / kept["ixxPSF"], float)
        high = np.asarray(kept["iyy"] / kept["iyyPSF"], float)
        bad = _aligned(np.asarray(kept["x"], float), high > ELONGATED * wide)
        bad |= _aligned(np.asarray(kept["y"], float), wide > ELONGATED * high)
    if not bad.any():
        return kept, rejected
    pieces = kept[bad]
    pieces["reason"] = REASON
    return kept[~bad], vstack([rejected, pieces], metadata_conflicts="silent") if len(rejected) else pieces


def _aligned(places: NDArray[np.float64], elongated: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which elongated sources have enough others at about the same place along one axis."""
    near = np.abs(places[:, np.newaxis] - places) <= SAME_LINE
    return elongated & ((near & elongated).sum(axis=1) >= FEWEST)
