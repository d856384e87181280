from __future__ import annotations

import numpy as np

from prompt_processing.images import Mask
from prompt_processing.imaging.row_bands import copy_plane, pixels_with


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
