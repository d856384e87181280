"""Percentiles by counting are those of NumPy, to the last digit."""

from __future__ import annotations

import numpy as np
import pytest

from prompt_processing.imaging.percentiles import percentiles, percentiles_of_sorted

RANDOM = np.random.default_rng(7)


@pytest.mark.parametrize("n", [1, 2, 3, 10, 1001, 20000])
@pytest.mark.parametrize(
    "draw",
    [
        lambda n: RANDOM.normal(size=n),
        lambda n: RANDOM.normal(1000, 3, n),
        lambda n: RANDOM.integers(-3, 3, n),
        lambda n: RANDOM.normal(size=n) * 10.0 ** RANDOM.integers(-40, 38, n),
        np.zeros,
    ],
    ids=["centred", "on a pedestal", "ties", "of all sizes", "zeros"],
)
def test_percentiles_are_those_of_numpy(n, draw):
    values = np.asarray(draw(n), np.float32)
    for percent in ((15.865, 50, 84.135), (0, 100), (68.27,), (99.9, 0.1)):
        expected = np.percentile(values, percent).tolist()
        assert percentiles(values, percent) == expected
        assert percentiles_of_sorted(np.sort(values), percent) == expected


def test_infinite_numbers_have_ranks_too():
    values = np.array([np.inf, 1, -np.inf, 2, np.inf], np.float32)
    assert percentiles(values, (0, 25, 50, 100)) == [-np.inf, 1, 2, np.inf]


def test_one_nan_makes_all_percentiles_nan():
    assert np.isnan(percentiles(np.array([1, np.nan, 2], np.float32), (0, 50))).all()


def test_percentiles_of_a_strided_view_are_those_of_its_numbers():
    values = RANDOM.normal(size=(60, 60)).astype(np.float32)
    part = values[::3, ::3]
    assert percentiles(part, (15.865, 84.135)) == np.percentile(part, (15.865, 84.135)).tolist()


def test_no_numbers_have_no_percentiles():
    with pytest.raises(ValueError, match="no numbers"):
        percentiles(np.zeros(0, np.float32), (50,))
