"""Periodic patterns on the sky are found, and stars and noise are not mistaken for any."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from prompt_processing.imaging.blemishes.patterns import find_pattern

SHAPE = (300, 260)


def sky_with_stars(width: tuple[float, float], seed: int = 4) -> NDArray[np.float32]:
    """Return noise of 1 and stars from below the noise to 500 times above it."""
    rng = np.random.default_rng(seed)
    points = np.zeros(SHAPE)
    points[rng.integers(0, SHAPE[0], 600), rng.integers(0, SHAPE[1], 600)] = 20 * rng.pareto(1.0, 600)
    stars = ndimage.gaussian_filter(np.minimum(points, 2e4), width)
    return np.asarray(stars + rng.normal(0, 1, SHAPE), np.float32)


ROWS, COLUMNS = np.indices(SHAPE)


@pytest.mark.parametrize(
    "pattern",
    [
        1.5 * np.sin(COLUMNS / 3 + ROWS / 5),
        1.0 * np.sin((COLUMNS + 0.3 * ROWS) / 5 + 3 * np.sin(ROWS / 60)),
        np.where(ROWS % 2, 1.0, -1.0),
        np.where((ROWS + COLUMNS) % 2, 1.0, -1.0),
        np.tile([2.0, -1.0, -1.5, 0.5], (SHAPE[0], SHAPE[1] // 4)),
    ],
    ids=["fringes", "bent fringes", "odd and even rows", "chequers", "four readouts"],
)
def test_pattern_is_followed_below_stars(pattern: NDArray[np.float64]) -> None:
    found = find_pattern(sky_with_stars((2.0, 2.0)) + pattern.astype(np.float32), np.ones(SHAPE, bool))
    assert found is not None
    assert np.std(found - pattern) < 0.35 * np.std(pattern)


@pytest.mark.parametrize("width", [(1.5, 1.5), (1.2, 2.6), (0.6, 0.6)])
def test_stars_are_no_pattern(width: tuple[float, float]) -> None:
    assert find_pattern(sky_with_stars(width), np.ones(SHAPE, bool)) is None


def test_small_and_unusable_images_have_no_pattern() -> None:
    assert find_pattern(sky_with_stars((2.0, 2.0))[:100], np.ones((100, SHAPE[1]), bool)) is None
    assert find_pattern(sky_with_stars((2.0, 2.0)), np.zeros(SHAPE, bool)) is None
