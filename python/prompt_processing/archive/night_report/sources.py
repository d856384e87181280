"""Sort a night's DiaSources: classes, movers and the brightest transients."""

from __future__ import annotations

import numpy as np
import pandas as pd

from prompt_processing.images.photo_calib import NJY_ZERO_POINT

__all__ = ["CLASSES", "brightest", "classify", "movers"]

CLASSES = ("solar system", "trail", "dipole", "doubtful", "negative", "seen before", "new")
"""Classes of alerts, in the order in which they are tried."""

_TRAIL_SNR = 5.0
_TRAIL_ARCSEC = 1.0


def classify(sources: pd.DataFrame, previous: pd.Series | None = None, reliable: float = 0.5) -> pd.Series:
    """Return the class of each DiaSource.

    Parameters
    ----------
    sources
        DiaSources, with the APDB's columns.
    previous
        Number of earlier DiaSources of each source's object; by default those of the same table count.
    reliable
        Smallest reliability of a source that is not doubtful.

    Returns
    -------
    classes
        One of `CLASSES` for each source: ``solar system`` has an ``ssObjectId``; ``trail`` is longer than
        1 arcsec by 5 sigma; ``dipole`` is flagged; ``doubtful`` has a low reliability; ``negative`` is
        fainter than its template; ``seen before`` has earlier sources; ``new`` has none.
    """
    if previous is None:
        order = sources.sort_values("midpointMjdTai")
        previous = order.groupby("diaObjectId").cumcount().reindex(sources.index).fillna(0)
    length, error = _values(sources, "trailLength"), _values(sources, "trailLengthErr")
    with np.errstate(invalid="ignore"):
        trail = (length > _TRAIL_ARCSEC) & (length > _TRAIL_SNR * error)
    conditions = [
        _values(sources, "ssObjectId") > 0,
        trail,
        _flags(sources, "isDipole"),
        _values(sources, "reliability") < reliable,
        _flags(sources, "isNegative"),
        previous.to_numpy(float) > 0,
    ]
    return pd.Series(np.select(conditions, CLASSES[:-1], CLASSES[-1]), index=sources.index, dtype=object)


def movers(sources: pd.DataFrame) -> pd.DataFrame:
    """Return the objects of the solar system that were seen, brightest first.

    Parameters
    ----------
    sources
        DiaSources of a night.

    Returns
    -------
    table
        ``ssObjectId``, number of sources, position of the first (degrees), largest flux as AB magnitude, and
        the rate between the first and the last source (arcsec per hour; NaN for one source).
    """
    rows = []
    seen = sources[_values(sources, "ssObjectId") > 0]
    for identity, group in seen.sort_values("midpointMjdTai").groupby("ssObjectId"):
        first, last = group.iloc[0], group.iloc[-1]
        hours = 24.0 * (last["midpointMjdTai"] - first["midpointMjdTai"])
        east = ((last["ra"] - first["ra"] + 180.0) % 360.0 - 180.0) * np.cos(np.radians(first["dec"]))
        moved = 3600.0 * np.hypot(east, last["dec"] - first["dec"])
        rows.append(
            {
                "ssObjectId": identity,
                "sources": len(group),
                "ra": first["ra"],
                "dec": first["dec"],
                "magnitude": magnitude(group["psfFlux"].max()),
                "rate (arcsec/h)": moved / hours if hours > 0.0 else np.nan,
            }
        )
    columns = ["ssObjectId", "sources", "ra", "dec", "magnitude", "rate (arcsec/h)"]
    return pd.DataFrame(rows, columns=columns).sort_values("magnitude", ignore_index=True)


def brightest(sources: pd.DataFrame, classes: pd.Series, number: int) -> pd.DataFrame:
    """Return the brightest transients: for each object its brightest source that is new or was seen before.

    Parameters
    ----------
    sources
        DiaSources.
    classes
        Their classes, as from `classify`.
    number
        Most rows.
    """
    chosen = sources[classes.isin(["new", "seen before"])].assign(class_=classes)
    chosen = chosen.assign(magnitude=[magnitude(flux) for flux in chosen["psfFlux"]])
    order = chosen.sort_values("psfFlux", ascending=False).drop_duplicates("diaObjectId")
    return order.head(number).reset_index(drop=True)


def magnitude(flux: float) -> float:
    """Return the AB magnitude of a flux in nJy; NaN if it is not positive."""
    return float(NJY_ZERO_POINT - 2.5 * np.log10(flux)) if flux > 0.0 else float("nan")


def _values(table: pd.DataFrame, name: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    if name not in table:
        return np.full(len(table), np.nan)
    return np.asarray(table[name].to_numpy(dtype=np.float64, na_value=np.nan))


def _flags(table: pd.DataFrame, name: str) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    if name not in table:
        return np.zeros(len(table), bool)
    return np.asarray(table[name].to_numpy(dtype=bool, na_value=False))
