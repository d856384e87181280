"""Compare the pipeline's catalogues with the simulated sky."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from prompt_processing.domain.sky_vectors import unit_vectors
from prompt_processing.images.photo_calib import NJY_ZERO_POINT

__all__ = [
    "CHANGED_SNR",
    "MATCH_RADIUS_ARCSEC",
    "MATCH_RADIUS_FWHM",
    "SNR_THRESHOLD",
    "StarScore",
    "TransientScore",
    "magnitude",
    "magnitude_histogram",
    "match_positions",
    "match_radius",
    "score_stars",
    "score_transients",
]

MATCH_RADIUS_ARCSEC = 0.5
"""Largest distance of a detection from its source ..."""

MATCH_RADIUS_FWHM = 0.3
"""... or this share of the seeing, if it is more: five standard deviations along an axis at `SNR_THRESHOLD`,
where noise moves a source by 0.6 FWHM / (S/N)."""

SNR_THRESHOLD = 10.0
"""Signal-to-noise ratio above which injected sources should be found, and spurious ones are counted."""

CHANGED_SNR = 3.0
"""Expected signal-to-noise ratio above which a detection of a source is not spurious."""

_GOOD_STAR_SNR = 50.0
_OWN_LIGHT = 0.5
"""Least share of the light measured at a star's position that must be the star's own."""


@dataclass(frozen=True, slots=True, eq=False)
class TransientScore:
    """Which changed sources of one detector in one visit were recovered, and which detections are spurious.

    Attributes
    ----------
    injected : `~pandas.DataFrame`
        One row for each that had changed: ``id``, ``kind``, ``ra``, ``dec`` (degrees), ``mag`` (AB, of the
        change), ``snr`` (expected, absolute), ``clear`` (on usable pixels), ``recovered``, ``separation``
        (arcsec, NaN if missed), ``diaSourceId`` (-1 if missed), ``measured_snr``, ``unresolved`` (another
        source closer than the seeing counts for both).
    spurious : `~pandas.DataFrame`
        The DiaSources above the threshold where nothing had changed.
    n_dia_sources : `int`
        All DiaSources.
    n_above : `int`
        DiaSources above the threshold.
    """

    injected: pd.DataFrame
    spurious: pd.DataFrame
    n_dia_sources: int
    n_above: int

    @property
    def n_spurious(self) -> int:
        """Number of spurious DiaSources above the threshold."""
        return len(self.spurious)

    @property
    def missed(self) -> pd.DataFrame:
        """Injected sources that should have been found and were not."""
        return self.expected[~self.expected["recovered"]]

    @property
    def expected(self) -> pd.DataFrame:
        """Injected sources that should have been found."""
        counts = (self.injected["snr"] > SNR_THRESHOLD) & self.injected["clear"]
        return self.injected[counts & ~self.injected["unresolved"]]

    @property
    def n_expected(self) -> int:
        """Number of sources that should have been found."""
        return len(self.expected)

    @property
    def n_recovered(self) -> int:
        """Number of these that were found."""
        return int(self.expected["recovered"].sum())


@dataclass(frozen=True, slots=True)
class StarScore:
    """Errors of the stars' positions and magnitudes on one detector in one visit.

    Attributes
    ----------
    n_stars : `int`
        Unflagged stars of high signal-to-noise ratio that were compared.
    astrometry_mas : `float`
        Root mean square error of their positions along one axis, milliarcseconds; NaN without stars.
    zero_point_error : `float`
        Median of measured minus true magnitude; NaN without stars.
    """

    n_stars: int
    astrometry_mas: float
    zero_point_error: float


def magnitude(flux_njy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the AB magnitude of the absolute value of fluxes (nJy)."""
    with np.errstate(divide="ignore"):
        return NJY_ZERO_POINT - 2.5 * np.log10(np.abs(flux_njy))


def match_radius(fwhm_arcsec: float) -> float:
    """Return the largest distance of a detection from its source (arcsec), given the seeing (arcsec)."""
    return max(MATCH_RADIUS_ARCSEC, MATCH_RADIUS_FWHM * fwhm_arcsec)


def match_positions(
    ra: NDArray[np.float64],
    dec: NDArray[np.float64],
    other_ra: NDArray[np.float64],
    other_dec: NDArray[np.float64],
    radius_arcsec: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Pair the entries of two catalogues, each with at most one, the closest pairs first.

    Parameters
    ----------
    ra, dec : `~numpy.ndarray`, shape (n,)
        Positions, degrees.
    other_ra, other_dec : `~numpy.ndarray`, shape (m,)
        Positions of the other catalogue, degrees.
    radius_arcsec : `float`
        Greatest distance.

    Returns
    -------
    index, other_index : `~numpy.ndarray` of int, shape (k,)
        The pairs.
    separation : `~numpy.ndarray`, shape (k,)
        Their distances, arcsec.
    """
    nothing = np.zeros(0, np.int64)
    if len(ra) == 0 or len(other_ra) == 0:
        return nothing, nothing, np.zeros(0)
    chord = 2 * np.sin(np.radians(radius_arcsec / 3600) / 2)
    tree, other_tree = cKDTree(unit_vectors(ra, dec)), cKDTree(unit_vectors(other_ra, other_dec))
    near = tree.sparse_distance_matrix(other_tree, chord, output_type="coo_matrix")
    order = np.argsort(near.data, kind="stable")
    used, other_used = np.zeros(len(ra), bool), np.zeros(len(other_ra), bool)
    pairs = []
    for entry in order:
        first, second = near.row[entry], near.col[entry]
        if not used[first] and not other_used[second]:
            used[first] = other_used[second] = True
            pairs.append(entry)
    chosen = np.asarray(pairs, np.int64)
    separation = np.degrees(2 * np.arcsin(near.data[chosen] / 2)) * 3600
    return near.row[chosen].astype(np.int64), near.col[chosen].astype(np.int64), separation


def score_transients(
    truth: pd.DataFrame, dia_sources: pd.DataFrame, fwhm_arcsec: float = 0.0
) -> TransientScore:
    """Compare the DiaSources of one detector in one visit with the truth.

    Parameters
    ----------
    truth : `~pandas.DataFrame`
        ``id``, ``kind``, ``ra``, ``dec`` (degrees), ``delta_flux`` (nJy), ``snr`` (expected for the
        difference; 0 off the detector) and ``clear``.
    dia_sources : `~pandas.DataFrame`
        ``diaSourceId``, ``ra``, ``dec``, ``snr``.
    fwhm_arcsec : `float`
        Seeing, for `match_radius`. Changed sources closer than this are one source to the telescope: together
        they count once, and a detection of any of them, or at their common centre of light, recovers them.
    """
    changed = truth[np.abs(truth["snr"]) > CHANGED_SNR].reset_index(drop=True)
    found = dia_sources.reset_index(drop=True)
    index, other, separation = match_positions(
        changed["ra"].to_numpy(float),
        changed["dec"].to_numpy(float),
        found["ra"].to_numpy(float),
        found["dec"].to_numpy(float),
        match_radius(fwhm_arcsec),
    )
    injected = pd.DataFrame(
        {
            "id": changed["id"],
            "kind": changed["kind"].astype(str),
            "ra": changed["ra"].to_numpy(float),
            "dec": changed["dec"].to_numpy(float),
            "mag": magnitude(changed["delta_flux"].to_numpy(float)),
            "snr": np.abs(changed["snr"].to_numpy(float)),
            "clear": changed["clear"].to_numpy(bool),
            "recovered": False,
            "separation": np.nan,
            "diaSourceId": np.int64(-1),
            "measured_snr": np.nan,
            "unresolved": False,
        }
    )
    unmatched = np.ones(len(found), bool)
    _assign(injected, index, found.iloc[other], separation)
    unmatched[other] = False
    for members in _unresolved_groups(injected, fwhm_arcsec):
        if not injected.loc[members, "recovered"].any():
            _recover_together(injected, members, found, unmatched, match_radius(fwhm_arcsec))
        _count_once(injected, members)
    above = np.abs(found["snr"].to_numpy(float)) > SNR_THRESHOLD
    return TransientScore(injected, found[above & unmatched], len(found), int(above.sum()))


def _assign(
    injected: pd.DataFrame,
    rows: NDArray[np.int64],
    detections: pd.DataFrame,
    separation: NDArray[np.float64],
) -> None:
    """Mark sources as recovered by detections, one each."""
    injected.loc[rows, "recovered"] = True
    injected.loc[rows, "separation"] = separation
    injected.loc[rows, "diaSourceId"] = detections["diaSourceId"].to_numpy(np.int64)
    injected.loc[rows, "measured_snr"] = np.abs(detections["snr"].to_numpy(float))


def _unresolved_groups(injected: pd.DataFrame, fwhm_arcsec: float) -> list[NDArray[np.int64]]:
    """Return the rows of each group of sources that the seeing does not separate."""
    if fwhm_arcsec <= 0 or len(injected) < 2:
        return []
    tree = cKDTree(unit_vectors(injected["ra"].to_numpy(), injected["dec"].to_numpy()))
    chord = 2 * np.sin(np.radians(fwhm_arcsec / 3600) / 2)
    pairs = tree.query_pairs(chord, output_type="ndarray")
    links = coo_matrix((np.ones(len(pairs)), pairs.T), shape=(len(injected),) * 2)
    _, group = connected_components(links, directed=False)
    return [np.flatnonzero(group == one) for one in np.flatnonzero(np.bincount(group) > 1)]


def _recover_together(
    injected: pd.DataFrame,
    members: NDArray[np.int64],
    found: pd.DataFrame,
    unmatched: NDArray[np.bool_],
    radius_arcsec: float,
) -> None:
    """Look for a detection at a group's centre of light, and assign it to the brightest member."""
    group = injected.loc[members]
    weight = group["snr"].to_numpy() / group["snr"].sum()
    first = float(group["ra"].iloc[0])
    offsets = (group["ra"].to_numpy() - first + 180) % 360 - 180
    ra, dec = first + offsets @ weight, group["dec"].to_numpy() @ weight
    free = np.flatnonzero(unmatched)
    _, other, separation = match_positions(
        np.array([ra]),
        np.array([dec]),
        found["ra"].to_numpy(float)[free],
        found["dec"].to_numpy(float)[free],
        radius_arcsec,
    )
    if len(other):
        _assign(injected, members[[np.argmax(weight)]], found.iloc[free[other]], separation)
        unmatched[free[other]] = False


def _count_once(injected: pd.DataFrame, members: NDArray[np.int64]) -> None:
    """Let one source count for its group: the brightest recovered one, or else the brightest."""
    group = injected.loc[members]
    counts = (group["snr"] > SNR_THRESHOLD) & group["clear"]
    best = group.assign(counts=counts).sort_values(["counts", "recovered", "snr"], ascending=False).index[0]
    if group["recovered"].any() and not group["recovered"][best]:
        detected = group[group["recovered"]].sort_values("snr").index[-1]
        columns = ["recovered", "separation", "diaSourceId", "measured_snr"]
        injected.loc[best, columns] = injected.loc[detected, columns]
    injected.loc[[row for row in members if row != best], "unresolved"] = True


def score_stars(truth: pd.DataFrame, stars: pd.DataFrame) -> StarScore:
    """Compare the measured stars of one detector in one visit with the truth.

    Parameters
    ----------
    truth : `~pandas.DataFrame`
        ``kind``, ``ra``, ``dec`` (degrees), ``flux`` (nJy).
    stars : `~pandas.DataFrame`
        ``ra``, ``dec``, ``psfFlux`` (nJy), ``snr``, ``extendedness`` and any flags: boolean columns that mark
        unusable rows.
    """
    flags = [name for name in stars.columns if stars[name].dtype == bool and not name.endswith("_used")]
    # A source wider than a star is a galaxy or a blend; its centroid is not that of the star in it.
    point_like = stars["extendedness"] < 0.5
    good = (stars["snr"] > _GOOD_STAR_SNR) & point_like & ~stars[flags].any(axis=1)
    measured = stars[good].reset_index(drop=True)
    points = truth[truth["kind"].isin(["star", "variable"])].reset_index(drop=True)
    index, other, _ = match_positions(
        measured["ra"].to_numpy(float),
        measured["dec"].to_numpy(float),
        points["ra"].to_numpy(float),
        points["dec"].to_numpy(float),
        MATCH_RADIUS_ARCSEC,
    )
    # A faint star in the light of a bright galaxy is not what was measured there.
    share = points["flux"].to_numpy(float)[other] / measured["psfFlux"].to_numpy(float)[index]
    own = share > _OWN_LIGHT
    index, other = index[own], other[own]
    if len(index) == 0:
        return StarScore(0, np.nan, np.nan)
    ra, dec = points["ra"].to_numpy(float)[other], points["dec"].to_numpy(float)[other]
    east = (measured["ra"].to_numpy(float)[index] - ra) * np.cos(np.radians(dec)) * 3.6e6
    north = (measured["dec"].to_numpy(float)[index] - dec) * 3.6e6
    ratio = measured["psfFlux"].to_numpy(float)[index] / points["flux"].to_numpy(float)[other]
    return StarScore(
        n_stars=len(index),
        astrometry_mas=float(np.sqrt(np.mean((east**2 + north**2) / 2))),
        zero_point_error=float(np.median(-2.5 * np.log10(ratio[ratio > 0]))),
    )


def magnitude_histogram(injected: pd.DataFrame, width: float = 0.5) -> pd.DataFrame:
    """Count the injected sources by magnitude.

    Parameters
    ----------
    injected : `~pandas.DataFrame`
        As in `TransientScore`, of any number of detectors.
    width : `float`
        Of a bin, magnitudes.

    Returns
    -------
    histogram : `~pandas.DataFrame`
        ``mag`` (lower edge), ``injected``, ``recovered``, ``missed``, ``snr`` (median), brightest first.
    """
    edge = np.floor(injected["mag"].to_numpy(float) / width) * width
    grouped = injected.assign(mag=edge).groupby("mag", sort=True)
    counted = grouped.agg(injected=("id", "size"), recovered=("recovered", "sum"), snr=("snr", "median"))
    counted = counted.reset_index()
    counted["missed"] = counted["injected"] - counted["recovered"]
    return counted[["mag", "injected", "recovered", "missed", "snr"]]
