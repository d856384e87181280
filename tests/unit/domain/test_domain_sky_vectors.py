"""Directions on the sky as vectors."""

from __future__ import annotations

import numpy as np
import pytest

from prompt_processing.domain.sky_vectors import positions, unit_vectors


@pytest.mark.parametrize(
    ("ra", "dec", "expected"),
    [
        (0.0, 0.0, (1.0, 0.0, 0.0)),
        (90.0, 0.0, (0.0, 1.0, 0.0)),
        (180.0, 0.0, (-1.0, 0.0, 0.0)),
        (123.0, 90.0, (0.0, 0.0, 1.0)),
        (270.0, -60.0, (0.0, -0.5, -np.sqrt(0.75))),
    ],
)
def test_vector_points_where_the_coordinates_do(ra: float, dec: float, expected: tuple[float, ...]) -> None:
    assert np.allclose(unit_vectors(np.array([ra]), np.array([dec]))[0], expected, atol=1e-15)


def test_all_vectors_have_unit_length() -> None:
    rng = np.random.default_rng(1)
    vectors = unit_vectors(rng.uniform(0, 360, 100), rng.uniform(-90, 90, 100))
    assert vectors.shape == (100, 3)
    assert np.allclose(np.linalg.norm(vectors, axis=-1), 1.0, atol=1e-14)


def test_positions_are_those_of_the_vectors_whatever_their_length() -> None:
    ra, dec = np.array([0.0, 90.0, 359.9, 123.0]), np.array([0.0, -60.0, 89.999, -90.0])
    found = positions(unit_vectors(ra, dec) * np.array([[1.0], [2.0], [0.5], [3.0]]))
    assert np.allclose(found[1], dec, atol=1e-12)
    assert np.allclose(found[0][:3], ra[:3], atol=1e-9)
    # Just below 0 h is not negative.
    assert 359.999 < positions(np.array([[1.0, -1e-9, 0.0]]))[0][0] < 360.0
