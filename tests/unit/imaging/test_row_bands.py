from __future__ import annotations

import numpy as np
import pytest

from prompt_processing.images import Background, Mask
from prompt_processing.imaging.calibration.detection import detect
from prompt_processing.imaging.row_bands import background_plane, copy_plane, pixels_with


def a_mask() -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.integers(0, 2**12, (37, 53)).astype(np.int32)


def test_pixels_are_found_by_some_planes_and_none_of_others() -> None:
    mask = a_mask()
    some, none = int(Mask.BAD | Mask.SAT), int(Mask.INTRP)
    np.testing.assert_array_equal(pixels_with(mask, some), (mask & some) != 0)
    np.testing.assert_array_equal(pixels_with(mask, some, none), ((mask & some) != 0) & ((mask & none) == 0))


def test_copied_plane_is_another_array_of_the_same_values() -> None:
    mask = a_mask()
    copied = copy_plane(mask)
    np.testing.assert_array_equal(copied, mask)
    assert not np.shares_memory(copied, mask)


@pytest.mark.parametrize("grid", [(3, 4), (1, 1)])
def test_background_is_the_same_at_points_by_rows_and_as_a_plane(grid: tuple[int, int]) -> None:
    values = np.random.default_rng(1).normal(100, 10, grid).astype(np.float32)
    background = Background(values, 32, (90, 120))
    plane = background.image()
    np.testing.assert_array_equal(background_plane(background), plane)
    np.testing.assert_array_equal(background.by_rows()(17, 60), plane[17:60])
    rows, columns = np.array([0, 17, 89]), np.array([119, 3, 60])
    np.testing.assert_allclose(background.at_points(rows, columns), plane[rows, columns], rtol=1e-6)


def test_detections_are_the_same_with_the_noise_as_a_grid_and_as_a_plane() -> None:
    rng = np.random.default_rng(2)
    noise = Background(np.array([[1, 2, 1], [2, 3, 2], [1, 1, 1]], np.float32), 32, (90, 90))
    image = (rng.normal(0, 1, (90, 90)) * noise.image()).astype(np.float32)
    image[40:44, 50:54] += 40
    image[10:13, 20:23] += 25
    grid, plane = detect(image, noise, 3.0), detect(image, noise.image(), 3.0)
    assert len(plane) >= 2
    np.testing.assert_array_equal(grid.catalogue, plane.catalogue)
    np.testing.assert_array_equal(grid.segmentation, plane.segmentation)
    np.testing.assert_allclose(grid.flux, plane.flux, rtol=1e-6)
