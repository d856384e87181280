"""The sheet of cutouts and the table of missed and spurious sources."""

from __future__ import annotations

import csv
import textwrap
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .discrepancies import CUTOUT_PIXELS, Discrepancy
from .results import DetectorVisit, NightResult

__all__ = ["draw_discrepancies", "save_discrepancies"]

_MOST_DRAWN = 150
_COLUMNS = 3
_CAPTION_WIDTH = 52
_GAP_PIXELS = 2


def save_discrepancies(result: NightResult, path: Path) -> None:
    """Save all missed and spurious sources as CSV; a night without any leaves the header.

    Parameters
    ----------
    result : `NightResult`
        The night.
    path : `~pathlib.Path`
        The file.
    """
    names = [one.name for one in fields(Discrepancy) if one.name != "cutouts"]
    with path.open("w", newline="") as text:
        writer = csv.DictWriter(text, ["visit", "detector", "detector_name", *names])
        writer.writeheader()
        for visit, one in result.discrepancies:
            place = {"visit": visit.visit, "detector": visit.detector, "detector_name": visit.detector_name}
            writer.writerow(place | one.row())


def draw_discrepancies(discrepancies: Sequence[tuple[DetectorVisit, Discrepancy]]) -> Figure | None:
    """Draw science, template and difference of each missed and spurious source, with the reason below.

    Parameters
    ----------
    discrepancies : sequence of (`DetectorVisit`, `Discrepancy`)
        As in `NightResult.discrepancies`; of more than 150, those of the highest S/N are drawn.

    Returns
    -------
    figure : `~matplotlib.figure.Figure` or `None`
        None if there is nothing to draw.
    """
    drawable = [item for item in discrepancies if item[1].cutouts]
    if not drawable:
        return None
    strongest = sorted(drawable, key=lambda item: -item[1].snr)[:_MOST_DRAWN]
    chosen = sorted(strongest, key=lambda item: (item[1].what, -item[1].snr))
    n_rows = -(-len(chosen) // _COLUMNS)
    figure = Figure(figsize=(4.6 * _COLUMNS, 2.45 * n_rows + 0.4), layout="constrained")
    grid = figure.subplots(n_rows, _COLUMNS, squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    for axes, (visit, one) in zip(grid.ravel(), chosen, strict=False):
        axes.imshow(_strip(one.cutouts), vmin=-1.5, vmax=5.0, cmap="gray", origin="lower")
        middle = CUTOUT_PIXELS // 2
        colour = "#ff5555" if one.what == "missed" else "#ffcc33"
        for number in range(3):
            x = number * (CUTOUT_PIXELS + _GAP_PIXELS) + middle
            axes.plot(x, middle, "o", ms=18, mec=colour, mfc="none", mew=1.0)
        axes.set_title(_caption(visit, one), fontsize=7.5, loc="left")
    more = f", the {len(chosen)} brightest of {len(drawable)}" if len(chosen) < len(drawable) else ""
    figure.suptitle(f"Missed (red) and spurious (yellow) sources: science, template, difference{more}")
    return figure


def _caption(visit: DetectorVisit, one: Discrepancy) -> str:
    head = f"{one.what} {one.kind if one.what == 'missed' else 'DiaSource'} {one.id}"
    place = f"visit {visit.number}, {visit.detector_name}, ({one.x:.0f}, {one.y:.0f})"
    text = f"{one.reason}: {one.detail}" if one.detail else one.reason
    lines = textwrap.wrap(text, _CAPTION_WIDTH, max_lines=4, placeholder=" ...")
    return "\n".join([f"{head}, {one.mag:.1f} mag, S/N {one.snr:.0f}", place, *lines])


def _strip(cutouts: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    """Lay the cutouts side by side, in units of the difference's noise, compressed like a logarithm."""
    difference = np.asarray(cutouts[-1], float)
    noise = (
        1.48 * float(np.nanmedian(np.abs(difference - np.nanmedian(difference)))) if _has(difference) else 1
    )
    gap = np.full((CUTOUT_PIXELS, _GAP_PIXELS), np.nan)
    parts: list[NDArray[np.float64]] = []
    for image in cutouts:
        parts += [np.arcsinh(np.asarray(image, float) / (3 * (noise or 1))), gap]
    return np.hstack(parts[:-1])


def _has(image: NDArray[np.float64]) -> bool:
    return bool(np.isfinite(image).any())
