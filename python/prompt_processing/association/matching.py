"""Match DiaSources to DiaObjects by position."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.spatial import KDTree

from prompt_processing.domain.sky_vectors import ARCSEC, unit_vectors

LEAST_ERROR = 0.05
"""Least error of the offset between two positions along one axis, arcsec."""
UNKNOWN_ERROR = 0.2
"""Error along one axis of a position without one, arcsec."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Pairs of rows of two catalogues.

    Attributes
    ----------
    first, second : `~numpy.ndarray` of int64, shape (n,)
        Row numbers, in order of increasing separation; no row occurs twice in an array.
    separation : `~numpy.ndarray` of float64, shape (n,)
        Great-circle distance, arcsec.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    separation: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Association:
    """Association of the DiaSources of a visit.

    Attributes
    ----------
    sources : `~pandas.DataFrame`
        DiaSources, each with a ``diaObjectId`` or an ``ssObjectId``.
    known_objects, new_objects : `~numpy.ndarray` of int64
        Ids of the DiaObjects with a source, without repetition.
    """

    sources: pd.DataFrame
    known_objects: NDArray[np.int64]
    new_objects: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Positions:
    """Positions with their uncertainties.

    Attributes
    ----------
    ra, dec : array_like, shape (n,)
        ICRS, degrees.
    east_error, north_error : array_like, shape (n,), optional
        Standard deviations of the offset to the east (``raErr``, which includes cos(dec)) and to the north,
        degrees. Where one is null or not positive, `UNKNOWN_ERROR` holds.
    """

    ra: ArrayLike
    dec: ArrayLike
    east_error: ArrayLike | None = None
    north_error: ArrayLike | None = None

    @classmethod
    def of_frame(cls, frame: pd.DataFrame) -> Positions:
        """Return the positions in ``ra``, ``dec``, and their errors in ``raErr``, ``decErr`` if present."""

        def column(name: str) -> NDArray[np.float64] | None:
            return frame[name].to_numpy(np.float64, na_value=np.nan) if name in frame else None

        return cls(
            frame["ra"].to_numpy(np.float64),
            frame["dec"].to_numpy(np.float64),
            column("raErr"),
            column("decErr"),
        )


def match_one_to_one(first: Positions, second: Positions, radius: float) -> Matches:
    """Pair the rows of two catalogues by position, each row at most once, as is most likely.

    Any two rows within the radius may be a pair. The pairs are chosen together, so that the sum of their
    costs is least (a bipartite matching). The cost of a pair is the negative logarithm of the likelihood of
    its offset, half of chi squared plus the logarithm of the errors' area; fluxes and times are not used.
    A row without a partner costs slightly more than the worst pair: a source near an object begins a new one
    only if there are more sources than objects.

    Parameters
    ----------
    first, second
        The catalogues.
    radius
        Largest separation, arcsec.

    Returns
    -------
    matches : `Matches`
    """
    vectors_first, vectors_second = unit_vectors(first.ra, first.dec), unit_vectors(second.ra, second.dec)
    if not len(vectors_first) or not len(vectors_second):
        return Matches(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    chord = 2 * np.sin(radius * ARCSEC / 2)
    pairs = KDTree(vectors_first).sparse_distance_matrix(
        KDTree(vectors_second), chord, output_type="coo_matrix"
    )
    # In the order of rows, so that the result does not depend on the tree.
    order = np.lexsort((pairs.col, pairs.row))
    rows, columns = pairs.row[order].astype(np.int64), pairs.col[order].astype(np.int64)
    chosen = _cheapest_matching(rows, columns, _costs(first, second, rows, columns))
    separation = 2 * np.arcsin(pairs.data[order][chosen] / 2) / ARCSEC
    nearest = np.lexsort((rows[chosen], separation))
    return Matches(rows[chosen][nearest], columns[chosen][nearest], separation[nearest])


def _costs(
    first: Positions, second: Positions, rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the negative logarithm of each pair's likelihood, without its constant."""
    ra_first, dec_first = np.asarray(first.ra, float)[rows], np.asarray(first.dec, float)[rows]
    ra_second, dec_second = np.asarray(second.ra, float)[columns], np.asarray(second.dec, float)[columns]
    cos_dec = np.cos(np.radians(0.5 * (dec_first + dec_second)))
    east = ((ra_first - ra_second + 180) % 360 - 180) * cos_dec * 3600
    north = (dec_first - dec_second) * 3600
    east_variance, north_variance = (
        np.maximum(_variance(one, rows) + _variance(other, columns), LEAST_ERROR**2)
        for one, other in (
            (first.east_error, second.east_error),
            (first.north_error, second.north_error),
        )
    )
    return np.asarray(
        0.5 * (east**2 / east_variance + north**2 / north_variance + np.log(east_variance * north_variance))
    )


def _variance(error: ArrayLike | None, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the squared errors of rows, arcsec squared."""
    if error is None:
        return np.full(len(rows), UNKNOWN_ERROR**2)
    arcsec = np.asarray(error, float)[rows] * 3600
    return np.where(np.isfinite(arcsec) & (arcsec > 0), arcsec, UNKNOWN_ERROR) ** 2


def _cheapest_matching(
    rows: NDArray[np.int64], columns: NDArray[np.int64], costs: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return the indices of the pairs that are kept."""
    if not len(rows):
        return np.empty(0, np.int64)
    rivals_of_row, rivals_of_column = np.bincount(rows), np.bincount(columns)
    alone = (rivals_of_row[rows] == 1) & (rivals_of_column[columns] == 1)
    contested = np.flatnonzero(~alone)
    if not len(contested):
        return np.flatnonzero(alone)
    # Imported late, with the solvers of linear equations that come along.
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    row_ids, row = np.unique(rows[contested], return_inverse=True)
    column_ids, column = np.unique(columns[contested], return_inverse=True)
    n, m = len(row_ids), len(column_ids)
    # Every row gets a column of its own, for no partner. The solver drops edges that cost 0.
    price = costs[contested] - costs.min() + 1.0
    graph = csr_array(
        (
            np.concatenate([price, np.full(n, costs.max() - costs.min() + 2.0)]),
            (np.concatenate([row, np.arange(n)]), np.concatenate([column, m + np.arange(n)])),
        ),
        shape=(n, m + n),
    )
    matched_row, matched_column = min_weight_full_bipartite_matching(graph)
    partner = np.full(n, -1)
    partner[matched_row] = matched_column
    return np.sort(np.concatenate([np.flatnonzero(alone), contested[partner[row] == column]]))


def associate_dia_sources(sources: pd.DataFrame, objects: pd.DataFrame, radius: float) -> Association:
    """Assign a DiaObject to every DiaSource that is not a solar-system object.

    DiaSources without an ``ssObjectId`` are matched one-to-one, as is most likely
    (`match_one_to_one`), to the preloaded DiaObjects' mean positions.
    A source without an object within the radius starts a new DiaObject with
    the source's id. Two new sources close together therefore start two
    objects, and an object that moved by more than the radius since its last
    observation becomes a new one.

    Parameters
    ----------
    sources : `~pandas.DataFrame`
        Columns ``diaSourceId``, ``ra``, ``dec`` (degrees), ``ssObjectId``, optionally ``raErr``, ``decErr``;
        not changed.
    objects : `~pandas.DataFrame`
        Columns ``diaObjectId``, ``ra``, ``dec`` (degrees), optionally ``raErr``, ``decErr``.
    radius
        Largest distance between a source and its object, arcsec.

    Returns
    -------
    association : `Association`
    """
    sources = sources.copy()
    candidates = np.flatnonzero(sources["ssObjectId"].isna().to_numpy())
    matches = match_one_to_one(
        Positions.of_frame(sources.iloc[candidates]), Positions.of_frame(objects), radius
    )
    object_ids = objects["diaObjectId"].to_numpy(np.int64)
    source_ids = sources["diaSourceId"].to_numpy(np.int64)
    assigned = source_ids[candidates].copy()
    assigned[matches.first] = object_ids[matches.second]
    is_new = np.ones(len(candidates), bool)
    is_new[matches.first] = False

    column = pd.Series(pd.NA, index=sources.index, dtype="Int64")
    column.iloc[candidates] = assigned
    sources["diaObjectId"] = column
    return Association(sources, np.sort(assigned[~is_new]), np.sort(assigned[is_new]))
