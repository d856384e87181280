"""Compute the summary columns of DiaObjects from their history."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from astropy.time import Time
from numpy.typing import NDArray

from prompt_processing.apdb.tables import ApdbTable

BANDS = "ugrizy"

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Fluxes:
    """Finite fluxes with the index of their object, sorted by object and time."""

    group: NDArray[np.int64]
    flux: Floats
    err: Floats
    time: Floats
    n_groups: int

    def sum_by_object(self, values: Floats) -> Floats:
        return np.bincount(self.group, values, self.n_groups).astype(np.float64)

    @property
    def count(self) -> NDArray[np.int64]:
        return np.bincount(self.group, minlength=self.n_groups).astype(np.int64)


def summarize_dia_objects(
    objects: pd.DataFrame,
    sources: pd.DataFrame,
    forced_sources: pd.DataFrame,
    n_new_sources: pd.Series[int],
    table: ApdbTable,
    processed: Time,
) -> pd.DataFrame:
    """Compute new versions of DiaObjects from their history and this visit.

    Parameters
    ----------
    objects : `~pandas.DataFrame`
        The last version of each known object, and for each new object a row with
        its ``diaObjectId`` (other columns null).
    sources, forced_sources : `~pandas.DataFrame`
        All DiaSources and DiaForcedSources of these objects, including this
        visit's; rows of other objects are ignored.
    n_new_sources
        Number of this visit's DiaSources by ``diaObjectId``.
    table : `ApdbTable`
        The DiaObject table.
    processed
        Start of the new versions' validity.

    Returns
    -------
    objects : `~pandas.DataFrame`
        Rows of the DiaObject table, in the order of ``objects``.

    Notes
    -----
    The APDB returns a limited history (a year by default). The position and the
    statistics of fluxes cover that history; ``nDiaSources`` and
    ``firstDiaSourceMjdTai`` continue from the last version and cover all time.

    By band: means are weighted with inverse variances, ``psfFluxSigma`` is
    the sample standard deviation (null for one point), ``psfFluxMaxSlope``
    the steepest rise between consecutive observations, nJy / day. Fluxes that
    are null or flagged (``psfFlux_flag``) are excluded.
    """
    ids = objects["diaObjectId"].to_numpy(np.int64)
    values: dict[str, object] = {
        name: objects[name].array for name in table.dtypes if name in objects and name != "validityEndMjdTai"
    }
    values["validityStartMjdTai"] = np.full(len(ids), float(processed.tai.mjd))

    of_source = _group_of(sources["diaObjectId"], ids)
    of_forced = _group_of(forced_sources["diaObjectId"], ids)
    values |= _positions(sources, of_source, len(ids))
    values |= _times_and_count(objects, sources, of_source, n_new_sources)
    for band in BANDS:
        values |= _band_summary(sources, of_source, forced_sources, of_forced, band, len(ids))
    return table.conform(pd.DataFrame(values, index=pd.RangeIndex(len(ids))))


def _group_of(column: pd.Series[int], ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the index of each row's object in ``ids``, or -1."""
    of_row = column.to_numpy(dtype=np.int64, na_value=-1)
    return pd.Index(ids).get_indexer(pd.Index(of_row)).astype(np.int64)


def _real(frame: pd.DataFrame, name: str) -> Floats:
    if name not in frame:
        return np.full(len(frame), np.nan)
    return frame[name].to_numpy(dtype=np.float64, na_value=np.nan)


def _fluxes(
    frame: pd.DataFrame, group: NDArray[np.int64], band: str, column: str, n_groups: int, flag: str | None
) -> _Fluxes:
    flux, err, time = _real(frame, column), _real(frame, f"{column}Err"), _real(frame, "midpointMjdTai")
    good = (group >= 0) & (frame["band"] == band).to_numpy(dtype=bool, na_value=False)
    good &= np.isfinite(flux) & np.isfinite(err) & (err > 0)
    if flag is not None and flag in frame:
        good &= ~frame[flag].to_numpy(dtype=bool, na_value=False)
    rows = np.flatnonzero(good)
    rows = rows[np.lexsort((time[rows], group[rows]))]
    return _Fluxes(group[rows], flux[rows], err[rows], time[rows], n_groups)


def _weighted_mean(fluxes: _Fluxes) -> tuple[Floats, Floats]:
    weight = 1 / fluxes.err**2
    total = fluxes.sum_by_object(weight)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = fluxes.sum_by_object(weight * fluxes.flux) / total
        err = 1 / np.sqrt(total)
    return mean, np.where(total > 0, err, np.nan)


def _band_summary(
    sources: pd.DataFrame,
    of_source: NDArray[np.int64],
    forced: pd.DataFrame,
    of_forced: NDArray[np.int64],
    band: str,
    n: int,
) -> dict[str, object]:
    psf = _fluxes(sources, of_source, band, "psfFlux", n, "psfFlux_flag")
    science = _fluxes(sources, of_source, band, "scienceFlux", n, "forced_PsfFlux_flag")
    point = _fluxes(forced, of_forced, band, "psfFlux", n, None)
    mean, mean_err = _weighted_mean(psf)
    count = psf.count
    low, high = np.full(n, np.inf), np.full(n, -np.inf)
    np.minimum.at(low, psf.group, psf.flux)
    np.maximum.at(high, psf.group, psf.flux)
    with np.errstate(divide="ignore", invalid="ignore"):
        plain_mean = psf.sum_by_object(psf.flux) / count
        squares = psf.sum_by_object((psf.flux - plain_mean[psf.group]) ** 2)
        sigma = np.where(count > 1, np.sqrt(squares / (count - 1)), np.nan)
        mean_of_err = psf.sum_by_object(psf.err) / count
    science_mean, science_err = _weighted_mean(science)
    point_mean, point_err = _weighted_mean(point)
    return {
        f"{band}_psfFluxMean": mean,
        f"{band}_psfFluxMeanErr": mean_err,
        f"{band}_psfFluxSigma": sigma,
        f"{band}_psfFluxNdata": count,
        f"{band}_psfFluxMin": np.where(count > 0, low, np.nan),
        f"{band}_psfFluxMax": np.where(count > 0, high, np.nan),
        f"{band}_psfFluxMaxSlope": _steepest_rise(psf),
        f"{band}_psfFluxErrMean": mean_of_err,
        f"{band}_scienceFluxMean": science_mean,
        f"{band}_scienceFluxMeanErr": science_err,
        f"{band}_fpFluxMean": point_mean,
        f"{band}_fpFluxMeanErr": point_err,
    }


def _steepest_rise(fluxes: _Fluxes) -> Floats:
    steepest = np.full(fluxes.n_groups, -np.inf)
    interval = np.diff(fluxes.time)
    # Sources of the same time, such as two in one visit, have no slope.
    follows = (np.diff(fluxes.group) == 0) & (interval > 0)
    slope = np.diff(fluxes.flux)[follows] / interval[follows]
    np.maximum.at(steepest, fluxes.group[1:][follows], slope)
    return np.where(np.isfinite(steepest), steepest, np.nan)


def _positions(sources: pd.DataFrame, group: NDArray[np.int64], n: int) -> dict[str, object]:
    """Average positions on the tangent plane at each object's first row, so that RA may wrap."""
    rows = np.flatnonzero(group >= 0)
    of_row = group[rows]
    ra, dec = _real(sources, "ra")[rows], _real(sources, "dec")[rows]
    ra_err, dec_err = _real(sources, "raErr")[rows], _real(sources, "decErr")[rows]
    ra0, dec0 = np.full(n, np.nan), np.full(n, np.nan)
    ra0[of_row[::-1]], dec0[of_row[::-1]] = ra[::-1], dec[::-1]
    cos_dec = np.cos(np.radians(dec0))
    east = ((ra - ra0[of_row] + 180) % 360 - 180) * cos_dec[of_row]
    north = dec - dec0[of_row]

    def mean_offset(offset: Floats, err: Floats) -> tuple[Floats, Floats]:
        # If any source lacks an error, all weights of the object are equal.
        known = np.isfinite(err) & (err > 0)
        all_known = np.bincount(of_row, ~known, n) == 0
        weight = np.where(all_known[of_row], 1 / np.where(known, err, 1.0) ** 2, 1.0)
        total = np.bincount(of_row, weight, n)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.bincount(of_row, weight * offset, n) / total
            return mean, np.where(all_known & (total > 0), 1 / np.sqrt(total), np.nan)

    mean_east, east_err = mean_offset(east, ra_err)
    mean_north, north_err = mean_offset(north, dec_err)
    mean_ra = (ra0 + mean_east / cos_dec) % 360
    return {
        # The remainder of a tiny negative angle rounds to exactly 360.
        "ra": np.where(mean_ra >= 360, 0.0, mean_ra),
        "raErr": east_err,
        "dec": dec0 + mean_north,
        "decErr": north_err,
        "ra_dec_Cov": np.full(n, np.nan),
    }


def _times_and_count(
    objects: pd.DataFrame,
    sources: pd.DataFrame,
    group: NDArray[np.int64],
    n_new_sources: pd.Series[int],
) -> dict[str, object]:
    n = len(objects)
    rows = np.flatnonzero(group >= 0)
    time = _real(sources, "midpointMjdTai")[rows]
    first, last = _real(objects, "firstDiaSourceMjdTai"), _real(objects, "lastDiaSourceMjdTai")
    first, last = np.where(np.isnan(first), np.inf, first), np.where(np.isnan(last), -np.inf, last)
    np.minimum.at(first, group[rows], time)
    np.maximum.at(last, group[rows], time)
    before = np.zeros(n, np.int64)
    if "nDiaSources" in objects:
        before = objects["nDiaSources"].to_numpy(dtype=np.int64, na_value=0)
    added = n_new_sources.reindex(objects["diaObjectId"].to_numpy(np.int64), fill_value=0)
    return {
        "firstDiaSourceMjdTai": np.where(np.isfinite(first), first, np.nan),
        "lastDiaSourceMjdTai": np.where(np.isfinite(last), last, np.nan),
        "nDiaSources": before + added.to_numpy(np.int64),
    }
