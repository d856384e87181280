"""Gain, read noise, linearity, defects and crosstalk of simulated frames with known truth."""

from __future__ import annotations

import numpy as np
import pytest

from prompt_processing.images import Defects
from prompt_processing.imaging.characterization.bad_pixels import boxes_of, find_defects
from prompt_processing.imaging.characterization.combine import combine_frames
from prompt_processing.imaging.characterization.crosstalk import measure_crosstalk
from prompt_processing.imaging.characterization.fringes import combine_fringes
from prompt_processing.imaging.characterization.linearity import fit_linearity
from prompt_processing.imaging.characterization.photon_transfer import (
    fit_photon_transfer,
    measure_read_noise,
    pair_noise,
)
from prompt_processing.imaging.errors import UnusableCalibrationError
from prompt_processing.instruments import RawFrame, Segment

SHAPE = (200, 240)
GAIN, NOISE = 2.3, 5.5


def flat(level: float, rng: np.random.Generator, bend: float = 0.0) -> np.ndarray:
    """Return a flat in ADU above bias, with rows and columns of unequal response, and a wild pixel."""
    response = 1 + 0.02 * np.sin(np.arange(SHAPE[1]) / 5) + 0.01 * np.cos(np.arange(SHAPE[0]) / 7)[:, None]
    expected = level * response * (1 + 0.004 * rng.normal())
    variance = expected / GAIN * (1 - bend * expected) + NOISE**2
    image = expected + rng.normal(size=SHAPE) * np.sqrt(variance)
    # The fields of an interlaced detector see the shutter at different times.
    image[::2] *= 1 + 0.01 * rng.normal()
    image[20, 30] += 20_000
    return image.astype(np.float32)


def test_gain_and_read_noise_are_those_of_the_frames() -> None:
    rng = np.random.default_rng(2)
    biases = [rng.normal(0, NOISE, SHAPE).astype(np.float32) for _ in range(6)]
    noise = measure_read_noise(biases)
    pairs = [pair_noise(flat(level, rng), flat(level, rng)) for level in (1e3, 4e3, 1e4, 2e4, 3e4) * 2]
    found = fit_photon_transfer(pairs, noise, 1.0, 1.0)
    assert found.method == "photon transfer"
    assert found.gain == pytest.approx(GAIN, rel=0.02)
    assert found.read_noise == pytest.approx(NOISE * GAIN, rel=0.05)
    assert abs(found.gain - GAIN) < 4 * found.gain_err


def test_the_brighter_fatter_effect_does_not_change_the_gain() -> None:
    rng = np.random.default_rng(3)
    pairs = [
        pair_noise(flat(level, rng, 4e-6), flat(level, rng, 4e-6)) for level in np.geomspace(1e3, 4e4, 16)
    ]
    found = fit_photon_transfer(pairs, (NOISE, 0.05), 1.0, 1.0)
    assert found.gain == pytest.approx(GAIN, rel=0.03)
    assert found.brighter_fatter == pytest.approx(4e-6, rel=0.3)


def test_flats_above_the_full_well_are_left_out() -> None:
    rng = np.random.default_rng(4)
    pairs = [pair_noise(flat(level, rng), flat(level, rng)) for level in (2e3, 5e3, 1e4, 2e4)]
    full = [pair_noise(*(rng.normal(6e4, 9.0, SHAPE).astype(np.float32) for _ in range(2)))] * 2
    found = fit_photon_transfer([*pairs, *full], (NOISE, 0.05), 1.0, 1.0)
    assert found.gain == pytest.approx(GAIN, rel=0.03)
    assert 1.9e4 < found.full_well < 2.2e4


def test_without_pairs_the_nominal_gain_is_named_as_such() -> None:
    found = fit_photon_transfer([], (float("nan"),) * 2, 1.9, 7.0)
    assert (found.gain, found.read_noise, found.method) == (1.9, 7.0, "nominal")


def test_one_level_gives_a_gain_that_is_named_as_such() -> None:
    rng = np.random.default_rng(5)
    found = fit_photon_transfer([pair_noise(flat(1e4, rng), flat(1e4, rng))], (NOISE, 0.05), 1.0, 1.0)
    assert found.method == "one level"
    assert found.gain == pytest.approx(GAIN, rel=0.03)


def test_combined_frames_have_the_noise_that_their_variance_says_and_no_outliers() -> None:
    rng = np.random.default_rng(6)
    frames = [rng.normal(100, 5, SHAPE).astype(np.float32) for _ in range(9)]
    frames[3][50:60, 50] += 4000  # a cosmic ray
    frames[4][0, 0] = np.nan
    combined = combine_frames(frames, noise=5.0)
    assert np.abs(combined.image - 100).max() < 12
    assert np.std(combined.image) == pytest.approx(5 / 3, rel=0.05)
    assert np.sqrt(np.median(combined.variance)) == pytest.approx(5 / 3, rel=0.05)
    assert combined.kept[55, 50] == 8
    assert combined.rejected[3] * combined.image.size == pytest.approx(10, abs=8)
    assert combined.rejected[0] < 1e-3


def test_flats_are_scaled_before_they_are_combined() -> None:
    rng = np.random.default_rng(7)
    levels = [1000.0, 1500.0, 700.0, 1200.0]
    pattern = rng.normal(1, 0.02, SHAPE)
    combined = combine_frames([(level * pattern).astype(np.float32) for level in levels], levels)
    np.testing.assert_allclose(combined.image, pattern, rtol=1e-5)


@pytest.mark.parametrize(
    ("frames", "scales"),
    [
        ([], None),
        ([np.ones((3, 4), np.float32), np.ones((4, 3), np.float32)], None),
        ([np.ones((3, 3), np.float32)], [0.0]),
    ],
)
def test_frames_that_cannot_be_combined_are_refused(
    frames: list[np.ndarray], scales: list[float] | None
) -> None:
    with pytest.raises(UnusableCalibrationError):
        combine_frames(frames, scales)


def test_linearity_is_recovered() -> None:
    rng = np.random.default_rng(8)
    times = np.repeat([1, 2, 4, 8, 12, 16, 20, 24], 2).astype(float)
    true = 2000 * times
    fit = fit_linearity(times, (true - 1.5e-6 * true**2) * rng.normal(1, 2e-4, len(times)))
    assert fit.before > 0.02
    assert fit.residual < 0.003
    measured = true - 1.5e-6 * true**2
    corrected = measured + fit.quadratic * measured**2 + fit.cubic * measured**3
    np.testing.assert_allclose(corrected / corrected[0] * true[0], true, rtol=0.004)


@pytest.mark.parametrize(
    ("times", "scatter", "reason"),
    [
        ([1, 2, 3], 0, "exposure times"),
        ([5, 5.1, 5.2, 5.3, 5.4], 0, "factor"),
        ([1, 1, 2, 2, 4, 4, 6, 6, 8, 8], 0.05, "lamp"),
    ],
)
def test_linearity_that_cannot_be_measured_has_a_reason(
    times: list[float], scatter: float, reason: str
) -> None:
    rng = np.random.default_rng(9)
    signals = 1000 * np.asarray(times) * (1 + scatter * rng.normal(size=len(times)))
    fit = fit_linearity(times, signals)
    assert reason in fit.reason
    assert (fit.quadratic, fit.cubic, fit.n_levels) == (0, 0, 0)


def test_hot_dead_and_bad_columns_are_found_and_little_else() -> None:
    rng = np.random.default_rng(10)
    dark = rng.normal(0.05, 0.02, SHAPE).astype(np.float32)
    response = rng.normal(1, 0.01, SHAPE).astype(np.float32)
    dark[40, 60] = 30.0
    response[10, 20] = 0.2
    response[80:190, 100] = np.where(rng.random(110) < 0.7, 0.3, 1.0)
    found = find_defects({"A": (slice(0, 200), slice(0, 240))}, SHAPE, None, dark, [response])
    mask = np.zeros(SHAPE, np.int32)
    found.defects.apply(mask)
    assert mask[40, 60]
    assert mask[10, 20]
    assert mask[85:185, 100].all()
    assert np.count_nonzero(mask) < 125
    assert found.counts["hot"] == 1


def test_boxes_cover_exactly_the_bad_pixels() -> None:
    bad = np.random.default_rng(11).random((60, 50)) < 0.2
    bad[5:20, 30:34] = True
    mask = np.zeros(bad.shape, np.int32)
    Defects(boxes_of(bad)).apply(mask)
    np.testing.assert_array_equal(mask != 0, bad)
    assert len(boxes_of(np.zeros((4, 4), np.bool_))) == 0


def test_crosstalk_between_amplifiers_is_measured() -> None:
    rng = np.random.default_rng(12)
    frames = []
    for _ in range(3):
        data = {name: rng.normal(1500, 8, (100, 80)) for name in "AB"}
        x, y = rng.integers(10, 70, 2)
        data["A"][y : y + 12, x : x + 8] += 40_000
        data["B"] = data["B"] + 3e-4 * (data["A"] - 1500)
        segments = tuple(
            Segment(
                name, np.rint(pixels).astype(np.int32), (slice(0, 100), slice(0, 80)),
                (slice(0, 100), slice(80, 80)), (slice(100, 100), slice(0, 80)), False, False, 80 * n, 0,
            )
            for n, (name, pixels) in enumerate(data.items())
        )  # fmt: skip
        frames.append(RawFrame({}, "any", 0, segments))
    found = measure_crosstalk(frames)
    assert found is not None
    assert found.ratios[1, 0] == pytest.approx(3e-4, rel=0.1)
    assert abs(found.ratios[1, 0]) > 5 * found.errors[1, 0]
    assert np.isnan(found.errors[0, 1])


def test_fringes_are_combined_relative_to_the_sky() -> None:
    rng = np.random.default_rng(13)
    pattern = 0.02 * np.sin(np.hypot(*np.mgrid[:200, :240]) / 3)
    images, sources = [], []
    for level in (800.0, 1000.0, 1300.0, 900.0, 1100.0):
        image = level * (1 + pattern) + rng.normal(0, np.sqrt(level), SHAPE)
        covered = np.zeros(SHAPE, np.bool_)
        y, x = rng.integers(20, 180, 2)
        image[y - 5 : y + 5, x - 5 : x + 5] += 5000
        covered[y - 8 : y + 8, x - 8 : x + 8] = True
        images.append(image.astype(np.float32))
        sources.append(covered)
    found = combine_fringes(images, sources).image
    assert np.std(found - pattern) < 0.02
    assert np.corrcoef(found.ravel(), pattern.ravel())[0, 1] > 0.65
