"""Maps and trends of the statistics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from astropy import units
from astropy_healpix import HEALPix
from numpy.typing import NDArray

from .periods import Period
from .statistics import DERIVED, derived, merged

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["map_figure", "trend_figure"]

_MAPPED = ("visits", "mean_seeing", "total_depth", "spurious_rate")
# Visits of several cells, and depths of images of different places, do not add up.
_TRENDS = ("images", "failed_rate", "mean_seeing", "mean_depth", "sources_per_image", "spurious_rate")
_MOST_TICKS = 5
# Distinguishable with any kind of colour vision; markers repeat what colours say.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
_MARKERS = ("o", "s", "^", "v", "D", "P")
_PANEL = 3.1


def map_figure(statistics: pd.DataFrame, order: int, title: str) -> Figure:
    """Draw visits, seeing, depth and spurious rate over the sky, one row of maps for each band.

    Parameters
    ----------
    statistics
        Those of a period.
    order
        Order of their cells.
    title
        Heading.
    """
    from matplotlib.figure import Figure

    values = derived(statistics)
    bands = sorted(values["band"].unique(), key=lambda one: ("ugrizy".find(one), one))
    shape = (max(len(bands), 1), len(_MAPPED))
    figure = Figure(figsize=(_PANEL * shape[1] + 1.0, _PANEL * shape[0] + 0.6), layout="constrained")
    panels = figure.subplots(*shape, squeeze=False)
    figure.suptitle(title)
    for row, band in enumerate(bands):
        here = values[values["band"] == band]
        corners, middle = _corners(here["cell"].to_numpy(np.int64), order)
        for panel, name in zip(panels[row], _MAPPED, strict=True):
            _draw_map(panel, corners, middle, here[name].to_numpy(float), counts=name == "visits")
            panel.set_title(f"{band}: {DERIVED[name]}", fontsize=9)
    if not bands:
        for panel in panels.flat:
            panel.set_axis_off()
        panels[0, 0].text(0.5, 0.5, "no data", ha="center")
    return figure


def trend_figure(periods: Mapping[Period, pd.DataFrame], title: str) -> Figure:
    """Draw each quantity over the periods, by band and over the whole sky.

    Parameters
    ----------
    periods
        Statistics by period, in time order.
    title
        Heading.
    """
    from matplotlib.figure import Figure

    totals = pd.concat(
        [_whole_sky(table).assign(place=place) for place, table in enumerate(periods.values())]
        or [derived(merged([])).assign(place=0)]
    )
    figure = Figure(figsize=(11, 6), layout="constrained")
    panels = figure.subplots(2, 3, squeeze=False)
    figure.suptitle(title)
    names = [period.name for period in periods]
    ticks = np.unique(np.linspace(0, max(len(names) - 1, 0), min(_MOST_TICKS, max(len(names), 1))).round())
    for panel, name in zip(panels.flat, _TRENDS, strict=True):
        for number, (band, rows) in enumerate(totals.groupby("band")):
            panel.plot(
                rows["place"],
                rows[name],
                "-" + _MARKERS[number % len(_MARKERS)],
                color=_COLOURS[number % len(_COLOURS)],
                ms=5,
                label=str(band),
            )
        panel.set_xticks(ticks, [names[int(tick)] for tick in ticks] if names else [""])
        panel.tick_params(axis="x", rotation=25, labelsize=8)
        panel.set(ylabel=DERIVED[name], xlim=(-0.5, max(len(names), 1) - 0.5))
        if name == "mean_depth" and len(totals):
            panel.legend(title="band", fontsize=8)
    return figure


def _whole_sky(table: pd.DataFrame) -> pd.DataFrame:
    """Return what the images of a whole period have, by band."""
    return derived(merged([table.assign(cell=0)]))


def _corners(cells: NDArray[np.int64], order: int) -> tuple[NDArray[np.float64], float]:
    """Return the corners of cells, degrees, with right ascensions about their middle; and that middle."""
    grid = HEALPix(nside=2**order, order="nested")
    longitude, latitude = grid.boundaries_lonlat(cells, step=1)
    ra, dec = longitude.to_value(units.deg), latitude.to_value(units.deg)
    angles = np.radians(ra)
    middle = float(np.degrees(np.arctan2(np.sin(angles).mean(), np.cos(angles).mean())) % 360.0)
    turned = (ra - middle + 180.0) % 360.0 - 180.0
    # A cell at the far side has corners on both edges of the map.
    wide = np.ptp(turned, axis=1) > 180.0
    turned[wide] = np.where(turned[wide] < 0.0, turned[wide] + 360.0, turned[wide])
    return np.stack([turned, dec], axis=-1), middle


def _draw_map(panel: Axes, corners: NDArray[np.float64], middle: float, values: Any, *, counts: bool) -> None:
    from matplotlib.collections import PolyCollection
    from matplotlib.ticker import MaxNLocator

    known = np.isfinite(values)
    cells = PolyCollection(list(corners[known]), array=values[known], cmap="cividis", edgecolors="none")
    panel.add_collection(PolyCollection(list(corners[~known]), facecolors="none", edgecolors="0.7", lw=0.3))
    panel.add_collection(cells)
    panel.autoscale_view()
    # East is left, and a degree is as long in both directions.
    panel.invert_xaxis()
    panel.set_aspect(1.0 / max(np.cos(np.radians(corners[..., 1].mean())), 0.1), adjustable="datalim")
    panel.set(xlabel=f"RA - {middle:.1f}° (deg)", ylabel="Dec (deg)")
    panel.tick_params(labelsize=8)
    if known.any():
        bar = panel.figure.colorbar(cells, ax=panel, shrink=0.8)
        bar.ax.tick_params(labelsize=8)
        if counts:
            bar.locator = MaxNLocator(integer=True)
            bar.update_ticks()
        # Narrow ranges would otherwise be written as offsets from a number.
        bar.ax.ticklabel_format(axis="y", useOffset=False)
