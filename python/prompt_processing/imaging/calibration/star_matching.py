"""Match two sets of stars that differ by a small shift and rotation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree


@dataclass(frozen=True, slots=True, eq=False)
class OffsetVote:
    """The shift and rotation that most pairs agree on.

    Attributes
    ----------
    shift : `~numpy.ndarray`, shape (2,)
        Shift to add to the rotated first set.
    rotation : `float`
        Rotation about the origin, radians, anticlockwise; applied first.
    votes : `int`
        Pairs within the winning cell.
    expected : `float`
        Pairs expected in a cell by chance.
    """

    shift: NDArray[np.float64]
    rotation: float
    votes: int
    expected: float

    @property
    def significance(self) -> float:
        """Excess of votes over chance in its standard deviations."""
        return float((self.votes - self.expected) / np.sqrt(max(self.expected, 1.0)))


def vote_offset(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    max_shift: float,
    max_rotation: float,
    cell: float,
) -> OffsetVote:
    """Find the rigid motion that brings most of the first set onto the second.

    Parameters
    ----------
    first, second : `~numpy.ndarray`, shape (n, 2) and (m, 2)
        Positions in the same unit, the brightest stars of each.
    max_shift : `float`
        Largest shift on either axis.
    max_rotation : `float`
        Largest rotation, radians.
    cell : `float`
        Width of a cell of the vote.

    Returns
    -------
    vote : `OffsetVote`

    Notes
    -----
    For each rotation of a grid, fine enough to move no star by more than half a
    cell, all differences second minus first are counted in cells. Stars
    without a partner spread evenly; true pairs accumulate in one cell.
    """
    radius = float(np.max(np.hypot(first[:, 0], first[:, 1]), initial=cell))
    n_turns = int(np.ceil(max_rotation * radius / cell))
    turns = np.linspace(-max_rotation, max_rotation, 2 * n_turns + 1) if n_turns else np.zeros(1)
    n_cells = int(np.ceil(2 * max_shift / cell))
    best = OffsetVote(np.zeros(2), 0.0, 0, 1.0)
    for turn in sorted(turns, key=abs):
        turned = first @ rotation_matrix(float(turn)).T
        difference = (second[np.newaxis] - turned[:, np.newaxis]).reshape(-1, 2)
        place = np.floor((difference + max_shift) / cell).astype(np.int64)
        inside = np.all((place >= 0) & (place < n_cells), axis=1)
        place = place[inside]
        counts = np.bincount(place[:, 1] * n_cells + place[:, 0], minlength=n_cells * n_cells)
        grid = counts.reshape(n_cells, n_cells)
        # Sums of 2 x 2 cells, so that no peak is split by a border.
        heaps = grid[:-1, :-1] + grid[1:, :-1] + grid[:-1, 1:] + grid[1:, 1:]
        votes = int(heaps.max(initial=0))
        if votes > best.votes:
            row, column = np.unravel_index(int(heaps.argmax()), heaps.shape)
            members = (
                (place[:, 0] >= column) & (place[:, 0] <= column + 1)
                & (place[:, 1] >= row) & (place[:, 1] <= row + 1)
            )  # fmt: skip
            shift = np.median(difference[inside][members], axis=0)
            best = OffsetVote(shift, float(turn), votes, float(4 * counts.mean()))
    return best


def rotation_matrix(angle: float) -> NDArray[np.float64]:
    """Return the matrix of an anticlockwise rotation, radians."""
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def match_nearest(
    first: NDArray[np.float64], second: NDArray[np.float64], radius: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pair points that are each other's nearest, within a radius; return rows of both."""
    if len(first) == 0 or len(second) == 0:
        nothing = np.zeros(0, np.intp)
        return nothing, nothing
    distance, partner = cKDTree(second).query(first, distance_upper_bound=radius)
    nearest = np.asarray(partner, np.intp)
    back = np.asarray(cKDTree(first).query(second)[1], np.intp)
    found = np.flatnonzero(np.isfinite(distance))
    mutual = found[back[nearest[found]] == found]
    return mutual, nearest[mutual]
