"""Columns, rows and pixels that stand out are marked and filled, and stars are not."""

import numpy as np
import pytest
from tests.support.gaussian_stars import NOISE, grid, sky

from prompt_processing.images import Exposure, Mask
from prompt_processing.imaging.blemishes.bad_lines import mark_bad_lines
from prompt_processing.imaging.blemishes.dark_pieces import dark_pieces
from prompt_processing.imaging.blemishes.fill import fill_scattered_holes


def test_columns_that_stand_out_are_marked_and_stars_are_not():
    image = sky(grid(6, 2000))
    image[:, 77] += 2 * NOISE
    image[:, 140:142] -= 15 * NOISE
    exposure = Exposure(image, np.zeros(image.shape, np.int32), np.full(image.shape, NOISE**2, np.float32))
    mark_bad_lines(exposure, NOISE)
    bad = exposure.has(Mask.BAD)
    assert list(np.flatnonzero(bad.mean(axis=0) > 0.9)) == [77, 140, 141]
    assert bad.sum() < 3.2 * 300
    assert abs(np.median(exposure.image[:, 140])) < NOISE


def test_short_columns_and_rows_are_marked_and_bright_stars_are_not():
    image = sky([(60.0, 60.0, 40_000.0), (180.0, 133.0, 8000.0), (250.0, 70.0, 2000.0)])
    stars = image.copy()
    image[100:190, 77] -= 6 * NOISE
    image[210, 40:130] += 5 * NOISE
    exposure = Exposure(image, np.zeros(image.shape, np.int32), np.full(image.shape, NOISE**2, np.float32))
    mark_bad_lines(exposure, NOISE)
    bad = exposure.has(Mask.BAD)
    assert bad[105:185, 77].mean() > 0.8
    assert bad[210, 45:125].mean() > 0.8
    assert not bad[stars > 10 * NOISE].any()
    assert bad.sum() < 260


def test_dark_pieces_of_columns_are_marked_and_gaps_between_stars_are_not():
    image = sky([*grid(6, 20_000), (150.0, 31.0, 9e3), (158.0, 31.0, 9e3)], (6.0, 6.0, 0.0))
    image[100:122, 98] -= 4 * NOISE
    exposure = Exposure(image, np.zeros(image.shape, np.int32), np.full(image.shape, NOISE**2, np.float32))
    mark_bad_lines(exposure, NOISE)
    bad = exposure.has(Mask.BAD)
    assert bad[102:120, 98].mean() > 0.8
    assert bad.sum() < 40


def test_scattered_holes_are_filled_as_the_light_around_them_is():
    clean = sky([(50.0, 50.0, 300.0)], (6.0, 6.0, 0.0), (100, 100))
    image, mask = clean.copy(), np.zeros(clean.shape, np.int32)
    holes = np.random.default_rng(8).uniform(size=clean.shape) < 0.02
    holes[10:20, 10:20] = True
    image[holes], mask[holes] = 0, int(Mask.NO_DATA)
    exposure = Exposure(image, mask, np.full(clean.shape, NOISE**2, np.float32))
    fill_scattered_holes(exposure, NOISE)
    filled = holes & ~exposure.has(Mask.NO_DATA)
    assert exposure.has(Mask.NO_DATA)[12:18, 12:18].all()
    assert filled.sum() > 0.6 * (holes.sum() - 100)
    assert np.std(image[filled] - clean[filled]) < 2 * NOISE


def test_rows_are_judged_as_columns_are():
    image = sky([])
    image[:, 77] += 2 * NOISE
    image[130:180, 200] -= 6 * NOISE
    upright, turned = (
        Exposure(pixels.copy(), np.zeros(pixels.shape, np.int32), np.full(pixels.shape, NOISE**2, np.float32))
        for pixels in (image, np.ascontiguousarray(image.T))
    )
    assert mark_bad_lines(upright, NOISE) == mark_bad_lines(turned, NOISE) > 300
    assert np.array_equal(upright.mask, turned.mask.T)


@pytest.mark.parametrize("level", [-30.0, 100.0])
def test_level_of_the_sky_does_not_matter(level):
    image = sky(grid(6, 2000))
    image[:, 77] += 2 * NOISE
    counts = []
    for offset in (0.0, level):
        pixels = image + np.float32(offset)
        mask = np.zeros(image.shape, np.int32)
        counts.append(mark_bad_lines(Exposure(pixels, mask, np.ones_like(pixels)), NOISE))
    assert counts[0] == counts[1] > 250


def test_depth_is_below_both_sides_and_its_mean_is_mirrored_at_the_ends():
    """A plain search over all windows finds the same pieces, at edges and beside unusable pixels too."""
    rng = np.random.default_rng(3)
    image = rng.normal(0, NOISE, (90, 70)).astype(np.float32)
    usable = rng.random(image.shape) > 0.03
    for row, column, length in ((0, 20, 12), (75, 40, 15), (30, 0, 20), (40, 69, 18), (20, 50, 9)):
        image[row : row + length, column] -= 5 * NOISE
    seen = np.where(usable, image, 0)
    sides = np.pad(seen, ((0, 0), (3, 3)), mode="edge")
    width = image.shape[1]
    left, right = (sides[:, k : k + width] + sides[:, k + 1 : k + 1 + width] for k in (0, 5))
    depth = np.where(usable, seen - 0.5 * np.minimum(left, right), 0)
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(depth, ((7, 7), (0, 0)), mode="symmetric"), 15, axis=0
    )
    mean = windows.mean(axis=-1)
    pieces = (mean < -1.8 * NOISE) & (windows.min(axis=-1) > 2 * mean - 3 * NOISE)
    pieces &= (windows < 0).mean(axis=-1) > 0.85
    expected = np.zeros(image.shape, bool)
    for row, column in np.argwhere(pieces):
        expected[max(row - 7, 0) : row + 8, column] = True
    expected &= (depth < -0.5 * NOISE) & usable
    assert expected.sum() > 20
    assert np.array_equal(dark_pieces(image, usable, 0, NOISE), expected)
    turned = (np.ascontiguousarray(plane.T) for plane in (image, usable))
    assert np.array_equal(dark_pieces(*turned, 1, NOISE), expected.T)
