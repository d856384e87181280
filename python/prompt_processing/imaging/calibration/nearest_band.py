"""The band of a reference catalogue that is nearest to a filter's."""

from __future__ import annotations

from collections.abc import Collection

__all__ = ["nearest_band"]

_NEAREST = {
    "u": ("U",),
    "g": ("B", "V"),
    "r": ("R", "V"),
    "i": ("I", "R"),
    "z": ("y", "I", "i"),
    "y": ("z", "I", "i"),
    "U": ("u",),
    "B": ("g",),
    "V": ("g", "r"),
    "R": ("r",),
    "I": ("i",),
}
"""Bands of neighbouring wavelength, the nearest first."""
_BROAD = ("gaia_G", "G", "r", "R", "V", "g", "i", "I", "gaia_RP", "gaia_BP", "z", "B")
"""For filters without a band of their own, such as a clear or a narrow one."""


def nearest_band(band: str, available: Collection[str]) -> str | None:
    """Return the nearest band of a catalogue, or `None`.

    Parameters
    ----------
    band
        Band of a filter.
    available
        Bands of the catalogue. Its own band is the nearest, where it is among them.
    """
    wanted = (band, *_NEAREST.get(band, ()), *_BROAD)
    return next((one for one in wanted if one in available), None)
