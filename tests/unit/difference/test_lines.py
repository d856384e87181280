"""Pieces of a stripe are rejected together; sources that only lie in one column stay."""

import numpy as np
from astropy.table import Table

from prompt_processing.difference.lines import reject_lines


def sources(x, y, iyy):
    n = len(x)
    table = {"x": np.array(x, float), "y": np.array(y, float), "iyy": np.array(iyy, float)}
    return Table(table | {"ixx": np.ones(n), "ixxPSF": np.ones(n), "iyyPSF": np.ones(n)})


def none_rejected():
    table = sources([], [], [])
    table["reason"] = np.zeros(0, "U14")
    return table


def test_pieces_of_a_stripe_are_rejected():
    kept = sources([356.5, 356.3, 357.5, 40, 356.9], [136, 71, 41, 90, 200], [6.8, 4.9, 4.9, 5.0, 1.1])
    kept, rejected = reject_lines(kept, none_rejected())
    assert list(kept["y"]) == [90, 200]
    assert set(rejected["reason"]) == {"bad line"}
    more = reject_lines(sources([5, 5, 6], [1, 2, 3], [4, 4, 4]), rejected)[1]
    assert len(more) == 6


def test_round_sources_of_one_column_and_pairs_stay():
    assert len(reject_lines(sources([50, 50, 51], [10, 90, 170], [1, 1.2, 0.9]), none_rejected())[0]) == 3
    assert len(reject_lines(sources([50, 50, 90], [10, 90, 170], [5, 5, 5]), none_rejected())[0]) == 3


def test_shapes_that_could_not_be_measured_do_not_matter():
    assert len(reject_lines(sources([50, 50, 51], [10, 90, 170], [np.nan] * 3), none_rejected())[0]) == 3
