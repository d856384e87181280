"""Directions on the sky as vectors."""

from __future__ import annotations

import numpy as np
import pytest

from prompt_processing.domain.sky_vectors import unit_vectors


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
