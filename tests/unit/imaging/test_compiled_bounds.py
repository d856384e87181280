"""Compiled loops stay within their arrays whatever the data say: no exception would tell."""

import numpy as np
import pytest

from prompt_processing.images import Psf
from prompt_processing.imaging.isr.assembly import SegmentPlace, SegmentScales, reduce_segment
from prompt_processing.imaging.measurement.dia_fits import fit_point
from prompt_processing.imaging.psf_stamps import SplinePsf
from prompt_processing.imaging.templates.warp_pixels import CELL, begin_planes, warp_patch
from prompt_processing.instruments.rice import decode_rows


def gaussian(size: int, sigma: float) -> np.ndarray:
    half = size // 2
    rows, columns = np.mgrid[-half : half + 1, -half : half + 1]
    return np.exp(-0.5 * (rows**2 + columns**2) / sigma**2)


def test_psf_narrower_than_the_fit_counts_as_zero_beyond():
    narrow, padded = gaussian(15, 1.8), np.zeros((29, 29))
    padded[7:22, 7:22] = narrow
    data = 100 * gaussian(29, 1.8)
    variance = np.ones((29, 29))
    results = []
    for image in (narrow, padded):
        spline = SplinePsf.of(Psf((image / image.sum())[np.newaxis].astype(np.float32)))
        result = np.empty(8)
        assert fit_point(data, variance, spline.splines[0], result)
        results.append(result)
    assert np.hypot(*results[0][:2]) < 0.01
    assert results[0][2] == pytest.approx(results[1][2], rel=2e-3)
    assert np.isfinite(results[0]).all()


@pytest.mark.parametrize("corner", [np.nan, np.inf, 1e30, -1e30])
def test_positions_beyond_all_pixels_are_not_read_when_warping(corner):
    n = 40
    planes = np.empty((CELL, CELL), np.float32), np.empty((CELL, CELL), np.float32)
    mask = np.empty((CELL, CELL), np.int32)
    begin_planes(*planes, mask, 0, CELL)
    px = np.array([[2.0, 34.0], [2.0, corner]])
    py = np.array([[2.0, 2.0], [34.0, 34.0]])
    patch = np.ones((n, n), np.float32), np.ones((n, n), np.float32), np.zeros((n, n), np.int32)
    unfilled = np.full((1, 1), CELL * CELL, np.int16)
    warp_patch(*patch, 0, 0, px, py, 1.0, np.int32(256), unfilled, *planes, mask, 0, 1)
    covered = planes[1] >= 0
    assert unfilled[0, 0] == np.count_nonzero(~covered)
    assert not covered[-1, -1]
    assert np.isnan(planes[0][~covered]).all()


def test_segment_beyond_its_readout_or_detector_is_refused():
    scales = SegmentScales(1.0, 5.0, 6e4)
    detector = [np.zeros((20, 20), np.float32), np.zeros((20, 20), np.float32), np.zeros((20, 20), np.int32)]
    raw, level = np.zeros((12, 15), np.int32), np.zeros(10, np.float32)
    good = {"row": 0, "column": 3, "height": 10, "width": 10, "x0": 0, "y0": 10}
    reduce_segment(raw, SegmentPlace(**good, flip_x=False, flip_y=False), level, scales, *detector)
    for change in ({"row": 3}, {"column": 6}, {"x0": 11}, {"y0": -1}, {"height": 11}):
        place = SegmentPlace(**(good | change), flip_x=False, flip_y=False)
        with pytest.raises(ValueError, match="does not fit"):
            reduce_segment(raw, place, level, scales, *detector)


def test_rows_of_zero_bytes_are_refused_at_their_own_end():
    # Low bits 0, then a count of zeros without end: not looked for in the rows behind.
    content = np.zeros(4_000_000, np.uint8)
    rows = 3000
    content[4 :: 4000000 // rows][:rows] = 0b00001000
    places = np.stack([np.full(rows, 16), np.arange(rows) * (4000000 // rows)], axis=-1)
    image = np.zeros((rows, 64), np.int32)
    assert not decode_rows(content, places, image)
    damaged = np.random.default_rng(5).integers(0, 256, 4000, dtype=np.uint8)
    decode_rows(
        damaged, np.stack([np.full(40, 90), np.arange(40) * 100], axis=-1), np.zeros((40, 64), np.int32)
    )
