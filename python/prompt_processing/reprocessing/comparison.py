"""Compare two processings of the same images: DiaSources and metrics."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from prompt_processing.domain.sky_vectors import ARCSEC, unit_vectors

__all__ = ["CHANGED_COLUMNS", "MATCHED_COLUMNS", "Comparison", "compare", "compare_metrics"]

_KEY = ["visit", "detector"]
_VALUES = ("ra", "dec", "psfFlux", "psfFluxErr", "reliability", "snr")
MATCHED_COLUMNS = (
    "visit", "detector", "diaSourceId_first", "diaSourceId_second", "ra", "dec", "psfFlux", "psfFluxErr",
    "separation_mas", "flux_difference", "flux_pull", "reliability_first", "reliability_second",
    "reliability_difference",
)  # fmt: skip
"""Columns of the pairs. Positions and fluxes are those of the first processing; differences are second minus
first; ``flux_pull`` is the difference of fluxes in units of the first error."""
_NOT_COMPARED = frozenset({"timeProcessedMjdTai", "timeWithdrawnMjdTai", "ssObjectReassocTimeMjdTai"})
"""Columns that say when a source was processed."""
ROUNDING = 1e-5
"""Relative difference up to which numbers count as the same. Sources are measured in single precision, and
whether a patch of the template was read whole or in part may change the last bit of a pixel."""
_ROUNDING_OF_POSITIONS = {"ra": 1e-9, "dec": 1e-9, "trailRa": 1e-9, "trailDec": 1e-9}
"""Degrees: four microarcseconds."""
CHANGED_COLUMNS = ("column", "pairs", "largest")
"""Columns of the table of changed columns."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two processings, source by source.

    Attributes
    ----------
    pairs
        Sources that both have, with `MATCHED_COLUMNS`.
    only_first, only_second
        Sources that one has, with the columns of its table.
    by_detector
        One row for each visit and detector: numbers, medians and extremes.
    changed
        One row for each column of the sources that is not the same in all pairs, with `CHANGED_COLUMNS`: the
        number of pairs that differ, and the largest difference (NaN if it is not a number). A value that only
        one processing has differs; numbers differ if they do by more than `ROUNDING`. Only the columns with
        the time of the processing are left out.
    """

    pairs: pd.DataFrame
    only_first: pd.DataFrame
    only_second: pd.DataFrame
    by_detector: pd.DataFrame
    changed: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(CHANGED_COLUMNS)))

    @property
    def identical(self) -> bool:
        """Whether both have the same sources with the same values in all columns, but for rounding."""
        return self.only_first.empty and self.only_second.empty and self.changed.empty


def compare(first: pd.DataFrame, second: pd.DataFrame, radius_arcsec: float = 1.0) -> Comparison:
    """Match the DiaSources of two processings, and list their differences.

    Within each visit and detector, two sources are a pair if each is the nearest of the other and they are
    not farther apart than the radius.

    Parameters
    ----------
    first, second
        DiaSources of any visits, with the APDB's columns ``diaSourceId``, ``visit``, ``detector``, ``ra``,
        ``dec`` (degrees), ``psfFlux``, ``psfFluxErr`` (nJy), ``reliability`` and ``snr``.
    radius_arcsec
        Largest separation of a pair, arcsec.

    Returns
    -------
    comparison
        Pairs, sources without a partner, and a summary for each visit and detector that either table has.
    """
    first, second = (table.reset_index(drop=True) for table in (first, second))
    left, right = _partners(first, second, radius_arcsec)
    ours, theirs = first.iloc[left].reset_index(drop=True), second.iloc[right].reset_index(drop=True)
    pairs = _pairs(ours, theirs)
    only_first = first.drop(index=first.index[left]).reset_index(drop=True)
    only_second = second.drop(index=second.index[right]).reset_index(drop=True)
    return Comparison(
        pairs, only_first, only_second, _summary(pairs, only_first, only_second), _changed(ours, theirs)
    )


def compare_metrics(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Put the metrics of two processings side by side.

    Parameters
    ----------
    first, second
        Metrics with the columns ``visit``, ``detector``, ``metric``, ``value`` and ``unit``.

    Returns
    -------
    table
        One row for each metric of a visit and detector: ``first``, ``second`` and their ``difference``; NaN
        where one processing has none.
    """
    key = [*_KEY, "metric"]
    both = first.merge(second, how="outer", on=key, suffixes=("_first", "_second"), sort=True)
    table = both[key].copy()
    table["unit"] = both["unit_first"].fillna(both["unit_second"])
    table["first"], table["second"] = both["value_first"], both["value_second"]
    table["difference"] = table["second"] - table["first"]
    return table


def _partners(
    first: pd.DataFrame, second: pd.DataFrame, radius_arcsec: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows of the pairs in both tables."""
    lefts, rights = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    groups = _rows(second)
    for key, left in _rows(first).items():
        right = groups.get(key)
        if right is None:
            continue
        ours, theirs = _vectors(first.iloc[left]), _vectors(second.iloc[right])
        chord = 2.0 * np.sin(0.5 * radius_arcsec * ARCSEC)
        distance, partner = (np.asarray(one) for one in cKDTree(theirs).query(ours))
        back = np.asarray(cKDTree(ours).query(theirs)[1])
        good = (distance <= chord) & (back[partner] == np.arange(len(left)))
        lefts.append(left[good])
        rights.append(right[partner[good]])
    return np.concatenate(lefts), np.concatenate(rights)


def _rows(table: pd.DataFrame) -> dict[Any, NDArray[np.int64]]:
    """Return the rows of each visit and detector."""
    return {key: np.asarray(rows, np.int64) for key, rows in table.groupby(_KEY).indices.items()}


def _vectors(table: pd.DataFrame) -> NDArray[np.float64]:
    return unit_vectors(table["ra"].to_numpy(np.float64), table["dec"].to_numpy(np.float64))


def _pairs(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    one = {name: first[name].to_numpy(np.float64, na_value=np.nan) for name in _VALUES}
    two = {name: second[name].to_numpy(np.float64, na_value=np.nan) for name in _VALUES}
    east = (two["ra"] - one["ra"] + 180.0) % 360.0 - 180.0
    north = two["dec"] - one["dec"]
    difference = two["psfFlux"] - one["psfFlux"]
    columns = {
        "visit": first["visit"].to_numpy(np.int64),
        "detector": first["detector"].to_numpy(np.int64),
        "diaSourceId_first": first["diaSourceId"].to_numpy(np.int64),
        "diaSourceId_second": second["diaSourceId"].to_numpy(np.int64),
        "ra": one["ra"],
        "dec": one["dec"],
        "psfFlux": one["psfFlux"],
        "psfFluxErr": one["psfFluxErr"],
        "separation_mas": np.hypot(east * np.cos(np.radians(one["dec"])), north) * 3.6e6,
        "flux_difference": difference,
        "flux_pull": difference / one["psfFluxErr"],
        "reliability_first": one["reliability"],
        "reliability_second": two["reliability"],
        "reliability_difference": two["reliability"] - one["reliability"],
    }
    return pd.DataFrame(columns, columns=list(MATCHED_COLUMNS))


def _rounding(name: str, first: pd.Series, second: pd.Series) -> pd.Series | float:
    """Return the difference up to which numbers of a column are the same, for each pair."""
    if name.endswith("MjdTai"):
        return 0.0
    if name in _ROUNDING_OF_POSITIONS:
        return _ROUNDING_OF_POSITIONS[name]
    # Small values of a column, such as moments near zero, have the rounding of the others.
    sizes = pd.concat([first.abs(), second.abs()], axis=1).max(axis=1)
    return ROUNDING * sizes.clip(lower=first.abs().median())


def _changed(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Return the columns in which pairs differ; a column that one table lacks has no value there."""
    rows = []
    for name in [*first.columns, *second.columns.difference(first.columns)]:
        if name in _NOT_COMPARED:
            continue
        one, two = (
            table[name] if name in table else pd.Series(pd.NA, table.index) for table in (first, second)
        )
        missing, both = one.isna() != two.isna(), one.notna() & two.notna()
        differs = both & (one != two).fillna(False)
        if pd.api.types.is_float_dtype(one) and pd.api.types.is_float_dtype(two):
            differs &= (two - one).abs() > _rounding(name, one, two)
        if not (missing | differs).any():
            continue
        numbers = [
            pd.to_numeric(values[differs], errors="coerce").astype(np.float64) for values in (one, two)
        ]
        largest = (numbers[1] - numbers[0]).abs().max()
        rows.append({"column": name, "pairs": int((missing | differs).sum()), "largest": largest})
    return pd.DataFrame(rows, columns=list(CHANGED_COLUMNS))


def _summary(pairs: pd.DataFrame, only_first: pd.DataFrame, only_second: pd.DataFrame) -> pd.DataFrame:
    groups = pairs.groupby(_KEY)
    table = pd.DataFrame(
        {
            "both": groups.size(),
            "median_separation_mas": groups["separation_mas"].median(),
            "largest_separation_mas": groups["separation_mas"].max(),
            "median_flux_pull": groups["flux_pull"].median(),
            "largest_flux_pull": groups["flux_pull"].agg(lambda pull: pull.abs().max()),
            "largest_reliability_difference": groups["reliability_difference"].agg(
                lambda difference: difference.abs().max()
            ),
        }
    )
    alone = {"only_first": only_first.groupby(_KEY).size(), "only_second": only_second.groupby(_KEY).size()}
    table = table.join(pd.DataFrame(alone), how="outer")
    counts = ["both", "only_first", "only_second"]
    table[counts] = table[counts].fillna(0).astype("int64")
    values = [name for name in table.columns if name not in counts]
    return table[[*counts, *values]].rename_axis(_KEY).reset_index()
