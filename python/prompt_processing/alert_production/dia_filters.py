"""Set apart the DiaSources that cannot be what they seem."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

Criterion = Callable[[Table, "FilterOptions"], NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class FilterOptions:
    """Limits of what is kept.

    Attributes
    ----------
    minimum_snr : `float`
        Of the fitted PSF flux, either sign.
    """

    minimum_snr: float = 5.0


CRITERIA: dict[str, Criterion] = {
    "no flux": lambda table, _: ~np.isfinite(table["psfFlux"]) | ~(table["psfFluxErr"] > 0),
    "off the image": lambda table, _: np.asarray(table["pixelFlags_offimage"], bool),
    "edge": lambda table, _: np.asarray(table["pixelFlags_edge"], bool),
    "no data": lambda table, _: np.asarray(table["pixelFlags_nodataCenter"], bool),
    "saturated": lambda table, _: np.asarray(table["pixelFlags_saturatedCenter"], bool),
    "cosmic ray": lambda table, _: np.asarray(table["pixelFlags_crCenter"], bool),
    "streak": lambda table, _: np.asarray(table["pixelFlags_streakCenter"], bool),
    "dipole": lambda table, _: np.asarray(table["isDipole"], bool),
    "faint": lambda table, options: np.abs(np.asarray(table["snr"])) < options.minimum_snr,
}
"""Reasons for rejection in the order in which they are asked; the first that holds is told."""


def filter_dia_sources(sources: Table, options: FilterOptions | None = None) -> tuple[Table, Table]:
    """Split measured sources into those that go on and those that do not.

    Parameters
    ----------
    sources : `~astropy.table.Table`
        Measurements, by the APDB's column names.
    options : `FilterOptions`, optional
        Limits.

    Returns
    -------
    kept : `~astropy.table.Table`
        With the columns of ``sources``.
    rejected : `~astropy.table.Table`
        The same and ``reason``, one of the names of `CRITERIA`.
    """
    options = options or FilterOptions()
    reason = np.full(len(sources), "", dtype=f"U{max(map(len, CRITERIA))}")
    for name, criterion in CRITERIA.items():
        reason[(reason == "") & criterion(sources, options)] = name
    bad = reason != ""
    rejected = sources[bad]
    rejected["reason"] = reason[bad]
    return sources[~bad], rejected
