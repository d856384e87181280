"""Match DiaSources to DiaObjects by position."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import KDTree

from prompt_processing.domain.sky_vectors import ARCSEC, unit_vectors


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


def match_one_to_one(
    ra_first: ArrayLike, dec_first: ArrayLike, ra_second: ArrayLike, dec_second: ArrayLike, radius: float
) -> Matches:
    """Pair the rows of two catalogues by position, each row at most once.

    All pairs within the radius are examined, closest first; a pair is kept
    if neither of its members is already matched. A row whose nearest neighbour
    has a closer match is therefore matched to its next nearest neighbour within
    the radius, or not at all. This does not minimise the sum of distances, and
    positional errors, fluxes and times are not used.

    Parameters
    ----------
    ra_first, dec_first, ra_second, dec_second : array_like
        ICRS, degrees.
    radius
        Largest separation, arcsec.

    Returns
    -------
    matches : `Matches`
    """
    first, second = unit_vectors(ra_first, dec_first), unit_vectors(ra_second, dec_second)
    if not len(first) or not len(second):
        return Matches(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    chord = 2 * np.sin(radius * ARCSEC / 2)
    pairs = KDTree(first).sparse_distance_matrix(KDTree(second), chord, output_type="coo_matrix")
    # Ties are resolved in favour of lower rows, so that the result does not depend on the tree.
    order = np.lexsort((pairs.col, pairs.row, pairs.data))
    taken_first, taken_second = np.zeros(len(first), bool), np.zeros(len(second), bool)
    kept = []
    for k in order:
        i, j = pairs.row[k], pairs.col[k]
        if not taken_first[i] and not taken_second[j]:
            taken_first[i] = taken_second[j] = True
            kept.append(k)
    rows = np.array(kept, np.int64)
    return Matches(
        pairs.row[rows].astype(np.int64),
        pairs.col[rows].astype(np.int64),
        2 * np.arcsin(pairs.data[rows] / 2) / ARCSEC,
    )


def associate_dia_sources(sources: pd.DataFrame, objects: pd.DataFrame, radius: float) -> Association:
    """Assign a DiaObject to every DiaSource that is not a solar-system object.

    DiaSources without an ``ssObjectId`` are matched one-to-one, nearest
    first (`match_one_to_one`), to the preloaded DiaObjects' mean positions.
    A source without an object within the radius starts a new DiaObject with
    the source's id. Two new sources close together therefore start two
    objects, and an object that moved by more than the radius since its last
    observation becomes a new one.

    Parameters
    ----------
    sources : `~pandas.DataFrame`
        Columns ``diaSourceId``, ``ra``, ``dec`` (degrees), ``ssObjectId``; not changed.
    objects : `~pandas.DataFrame`
        Columns ``diaObjectId``, ``ra``, ``dec`` (degrees).
    radius
        Largest distance between a source and its object, arcsec.

    Returns
    -------
    association : `Association`
    """
    sources = sources.copy()
    candidates = np.flatnonzero(sources["ssObjectId"].isna().to_numpy())
    matches = match_one_to_one(
        sources["ra"].to_numpy(np.float64)[candidates],
        sources["dec"].to_numpy(np.float64)[candidates],
        objects["ra"].to_numpy(np.float64),
        objects["dec"].to_numpy(np.float64),
        radius,
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
