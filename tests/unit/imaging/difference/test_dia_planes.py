"""Masks, filled images and variances of a difference, against what they are by definition."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from prompt_processing.images import UNUSABLE, Mask, Psf
from prompt_processing.imaging.difference.variance import filtered_variance
from prompt_processing.imaging.masked_pixels import CHUNK, filled_image, spread_plane

SHAPES = [(40, 2 * CHUNK), (41, CHUNK + 1), (7, 2 * CHUNK - 1), (5, 3)]
BAD, SAT, CR = int(Mask.BAD), int(Mask.SAT), int(Mask.CR)


@pytest.mark.parametrize("shape", SHAPES)
def test_holes_are_filled_with_their_neighbours_mean_and_nothing_else_changes(shape):
    rng = np.random.default_rng(3)
    image = rng.normal(10, 1, shape).astype(np.float32)
    mask = np.where(rng.random(shape) < 0.05, BAD, 0).astype(np.int32)
    mask[rng.random(shape) < 0.03] |= SAT
    image[rng.random(shape) < 0.03] = np.nan
    image[0, 0] = np.inf
    mask[-1, -1] = BAD | SAT
    filled = filled_image(image, mask, int(UNUSABLE), SAT)
    usable = (mask & int(UNUSABLE) == 0) & np.isfinite(image)
    kept = usable | ((mask & SAT != 0) & np.isfinite(image))
    assert_array_equal(filled[kept], image[kept])
    for row, column in np.argwhere(~kept):
        expected = 0.0
        for reach in (1, 2, 3):
            near = np.s_[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1]
            if usable[near].sum() >= 2:
                expected = image[near][usable[near]].mean(dtype=float)
                break
        assert filled[row, column] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_plane_spreads_from_each_flagged_pixel_wherever_it_is(shape):
    rng = np.random.default_rng(4)
    seeds = rng.random(shape) < 0.01
    seeds[0, 0] = seeds[-1, -1] = True
    mask = np.where(seeds, CR, 0).astype(np.int32)
    spread_plane(mask, CR, BAD, 2)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    expected = np.zeros(shape, bool)
    for row, column in np.argwhere(seeds):
        expected |= (rows - row) ** 2 + (columns - column) ** 2 <= 2.3**2
    assert_array_equal(mask & BAD != 0, expected)
    assert_array_equal(mask & CR != 0, seeds)


@pytest.mark.parametrize("shape", [(200, 240), (201, 239)])
def test_variance_through_a_filter_of_one_pixel_is_the_smoothed_sum_of_the_two(shape):
    # Of a uniform image nothing can be smoothed away; one pixel without variance counts for nothing.
    first, second = np.full(shape, 3.0, np.float32), np.full(shape, 2.0, np.float32)
    first[4, 4] = np.nan
    second[-1, -1] = -1.0
    one = np.zeros((1, 5, 5), np.float32)
    one[0, 2, 2] = 1.0
    centre = {"x_centre": shape[1] / 2, "y_centre": shape[0] / 2, "scale": float(max(shape))}
    out = np.full(shape, np.nan, np.float32)
    filtered_variance([first, second], [Psf(one, 0, **centre), Psf(2 * one, 0, **centre)], 2, out)
    inner = np.s_[4:-4, 4:-4]
    assert_allclose(out[inner], 3.0 + 2 * 2.0, rtol=1e-5)
    assert np.all(out > 0)
