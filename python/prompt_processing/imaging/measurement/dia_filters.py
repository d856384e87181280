"""Reject DiaSources that cannot be real."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

Criterion = Callable[[Table, "FilterOptions"], NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class FilterOptions:
    """Limits of the filters.

    Attributes
    ----------
    minimum_snr : `float`
        Least signal-to-noise ratio of the fitted PSF flux, of either sign.
    misfit : `float`
        Chi squared above noise's, in units of the significance squared, above which
        a source does not resemble the PSF (0 for a perfect point source, about
        1 for a single pixel), unless it fits a trail.
    sharpness : `float`
        Largest second moment along a source's narrowest axis, in units of the PSF's, of a source that is
        sharper than the PSF ...
    sharp_misfit : `float`
        ... and its least misfit, which the noise of chi squared must not explain.
    contrast : `float`
        Changes smaller than this fraction of the light at their position are
        attributed to errors of the subtraction.
    halo : `float`
        Changes smaller than this fraction of a bright star's flux are
        attributed to its wings.
    """

    minimum_snr: float = 5.0
    misfit: float = 0.35
    sharpness: float = 0.6
    sharp_misfit: float = 0.12
    contrast: float = 0.015
    halo: float = 0.002


def _is_unlike_psf(table: Table, options: FilterOptions) -> NDArray[np.bool_]:
    """Return sources that fit neither a point source nor a trail: cosmic rays, residuals of bleeds."""
    excess = _excess(table, "psfChi2", "psfNdata")
    trail = _excess(table, "trailChi2", "trailNdata")
    best = np.fmin(excess, np.where(np.isfinite(trail), trail, np.inf))
    return np.asarray(best > options.misfit * _pixel_snr(table) ** 2)


SHARP_SIGNIFICANCE = 6.0
"""Least product of what the moment lacks and the signal-to-noise ratio: three times its standard error."""


CHI2_NOISE = 0.5
"""Least excess of chi squared of a source sharper than the PSF, in standard deviations of its noise."""


def _is_sharper_than_psf(table: Table, options: FilterOptions) -> NDArray[np.bool_]:
    """Return sources narrower than any star: cosmic rays wider than a pixel, along whatever track."""
    ratio = _narrowest(table, "") / np.maximum(_narrowest(table, "PSF"), np.finfo(float).tiny)
    measured = ~np.asarray(table["shape_flag"], bool) & np.isfinite(ratio)
    significance = (1 - ratio) * np.abs(np.asarray(table["snr"], float))
    sharp = (ratio < options.sharpness) & (significance > SHARP_SIGNIFICANCE)
    # Of a faint source, chi squared of the many pixels of a wide PSF is mostly noise.
    noise = CHI2_NOISE * np.sqrt(2 * np.asarray(table["psfNdata"], float))
    noise /= np.maximum(_pixel_snr(table) ** 2, 1)
    return np.asarray(measured & sharp & (np.asarray(table["misfit"], float) > options.sharp_misfit + noise))


def _narrowest(table: Table, of: str) -> NDArray[np.float64]:
    """Return the second moment along the narrower axis."""
    xx, yy, xy = (np.asarray(table[name + of], float) for name in ("ixx", "iyy", "ixy"))
    return np.asarray(0.5 * (xx + yy) - np.hypot(0.5 * (xx - yy), xy))


def _is_cosmic_ray(table: Table, options: FilterOptions) -> NDArray[np.bool_]:
    """Return sources at cosmic rays, unless they are fainter than before and resemble the PSF.

    Cosmic rays add light. A source that has vanished under one is measured on the pixels around it.
    """
    vanished = np.asarray(table["isNegative"], bool) & (
        np.asarray(table["misfit"], float) < options.sharp_misfit
    )
    return np.asarray(table["pixelFlags_crCenter"], bool) & ~vanished


def _pixel_snr(table: Table) -> NDArray[np.float64]:
    """Return the signal-to-noise ratio for white noise, which chi squared assumes too, if it is known."""
    return np.asarray(table["pixelSnr" if "pixelSnr" in table.colnames else "snr"], float)


def _excess(table: Table, chi2: str, n_data: str) -> NDArray[np.float64]:
    """Return the excess of chi squared over the range of noise."""
    n = np.asarray(table[n_data], float)
    return np.asarray(np.asarray(table[chi2], float) - n - 3 * np.sqrt(2 * n))


def _is_small_change(table: Table, options: FilterOptions) -> NDArray[np.bool_]:
    """Return changes smaller than the accuracy of the kernel."""
    light = np.fmax(np.asarray(table["templateFlux"], float), np.asarray(table["scienceFlux"], float))
    change = np.abs(np.asarray(table["psfFlux"], float))
    halo = options.halo * np.asarray(table["nearbyFlux"], float)
    return np.asarray((change < options.contrast * light) | (change < halo))


CRITERIA: dict[str, Criterion] = {
    "no flux": lambda table, _: ~np.isfinite(table["psfFlux"]) | ~(table["psfFluxErr"] > 0),
    "off the image": lambda table, _: np.asarray(table["pixelFlags_offimage"], bool),
    "edge": lambda table, _: np.asarray(table["pixelFlags_edgeCenter"], bool),
    "no data": lambda table, _: np.asarray(table["pixelFlags_nodataCenter"], bool),
    "saturated": lambda table, _: np.asarray(table["pixelFlags_saturatedCenter"], bool),
    "cosmic ray": _is_cosmic_ray,
    "unlike the PSF": _is_unlike_psf,
    "sharper than the PSF": _is_sharper_than_psf,
    "small change": _is_small_change,
    "streak": lambda table, _: np.asarray(table["pixelFlags_streakCenter"], bool),
    "dipole": lambda table, _: np.asarray(table["isDipole"], bool),
    "faint": lambda table, options: np.abs(np.asarray(table["snr"])) < options.minimum_snr,
}
"""Criteria of rejection in order; the first that holds is reported."""


def filter_dia_sources(sources: Table, options: FilterOptions | None = None) -> tuple[Table, Table]:
    """Split measured sources into kept and rejected ones.

    Parameters
    ----------
    sources : `~astropy.table.Table`
        Measurements, with the APDB's column names.
    options : `FilterOptions`, optional
        Limits.

    Returns
    -------
    kept : `~astropy.table.Table`
        Kept sources, with the columns of ``sources``.
    rejected : `~astropy.table.Table`
        Rejected sources, with the additional column ``reason``, one of the names of `CRITERIA`.
    """
    options = options or FilterOptions()
    reason = np.full(len(sources), "", dtype=f"U{max(map(len, CRITERIA))}")
    for name, criterion in CRITERIA.items():
        reason[(reason == "") & criterion(sources, options)] = name
    bad = reason != ""
    rejected = sources[bad]
    rejected["reason"] = reason[bad]
    return sources[~bad], rejected
