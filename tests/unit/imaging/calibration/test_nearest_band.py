"""A filter without magnitudes of its own in the catalogue uses those of the nearest band."""

import pytest

from prompt_processing.imaging.calibration.nearest_band import nearest_band


@pytest.mark.parametrize(
    ("band", "available", "nearest"),
    [
        ("r", {"g", "r", "i"}, "r"),
        ("R", {"g", "r", "i"}, "r"),
        ("V", {"g", "r", "i"}, "g"),
        ("i", {"V", "R", "I"}, "I"),
        ("white", {"gaia_G", "gaia_RP", "g", "r"}, "gaia_G"),
        ("Ha", {"g", "r", "i"}, "r"),
        ("unknown", {"z"}, "z"),
        ("r", {"K"}, None),
    ],
)
def test_nearest_band(band, available, nearest):
    assert nearest_band(band, available) == nearest
