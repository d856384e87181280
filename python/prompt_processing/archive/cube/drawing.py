"""Write the pictures of a cube beside it."""

from __future__ import annotations

from pathlib import Path

from .figures import map_figure, trend_figure
from .periods import LEVELS, Period, parents
from .store import Cube

__all__ = ["draw_cube"]

_MOST_PERIODS = 400
"""Periods of a trend; the latest are drawn."""


def draw_cube(cube: Cube, night: str, instrument: str) -> Path:
    """Draw maps of the periods that a night belongs to, and trends over all periods of each level.

    Parameters
    ----------
    cube
        The statistics.
    night
        ``YYYY-MM-DD``.
    instrument
        Camera, for the headings.

    Returns
    -------
    folder
        Folder with ``map-<level>-<period>.png`` and ``trend-<level>.png``.
    """
    folder = cube.root / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    first = Period("night", night)
    second = parents(first)
    for period in (first, *second, *(one for shorter in second for one in parents(shorter))):
        title = f"{instrument}, {period.level} {period.name}"
        figure = map_figure(cube.read(period), cube.order, title)
        figure.savefig(folder / f"map-{period.level}-{period.name}.png", dpi=90)
    for level in LEVELS:
        tables = {period: cube.read(period) for period in cube.periods(level)[-_MOST_PERIODS:]}
        figure = trend_figure(tables, f"{instrument} by {level}")
        figure.savefig(folder / f"trend-{level}.png", dpi=90)
    return folder
