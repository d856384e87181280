"""Two lists of stars are laid on each other however their images lie, and never where only chance does."""

import numpy as np
import pytest

from prompt_processing.imaging.calibration.star_patterns import match_patterns

AREA = 1000.0 * 1000.0


def mapped(points, angle, scale, mirrored, offset):
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    matrix = scale * np.array([[cosine, -sine], [sine, cosine]]) @ np.diag([-1.0 if mirrored else 1.0, 1.0])
    return (points - offset) @ np.linalg.inv(matrix).T, matrix


@pytest.mark.parametrize(
    ("angle", "scale", "mirrored", "offset"),
    [
        (0, 1, False, (100, -70)),
        (137, 1, False, (700, 300)),
        (90, 1, True, (0, 0)),
        (12, 1.8, False, (40, 90)),
    ],
)
def test_turned_mirrored_scaled_and_shifted_stars_are_matched(angle, scale, mirrored, offset):
    rng = np.random.default_rng(int(angle))
    stars = rng.uniform(0, 1000, (120, 2))
    other, matrix = mapped(stars, angle, scale, mirrored, np.array(offset, float))
    other += rng.normal(0, 0.1, other.shape)
    # A fifth of the stars of each image is not in the other, and their order is another.
    order = np.argsort(np.arange(100) + rng.normal(0, 8, 100))
    match = match_patterns(stars[:100], other[20:][order], AREA)
    assert match is not None
    assert match.matrix == pytest.approx(matrix, abs=0.003)
    assert match.mirrored == mirrored
    assert match.scale == pytest.approx(scale, rel=0.003)
    assert len(match.first) >= 50


def test_unrelated_stars_are_not_matched():
    rng = np.random.default_rng(9)
    for n in (6, 20, 200):
        assert match_patterns(rng.uniform(0, 1000, (n, 2)), rng.uniform(0, 1000, (n, 2)), AREA) is None


def test_six_common_stars_are_enough():
    stars = np.random.default_rng(10).uniform(0, 1000, (6, 2))
    other, _ = mapped(stars, 40, 1, False, np.array([10.0, 20]))
    match = match_patterns(stars, other, AREA)
    assert match is not None
    assert len(match.first) == 6
