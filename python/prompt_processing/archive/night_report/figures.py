"""Figures of a night's report."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from prompt_processing.alerts.reading import CUTOUTS

from .data import GOAL_S, METRICS, STAGES, NightReport
from .sources import CLASSES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["classes_figure", "coverage_figure", "cutouts_figure", "latency_figure", "weather_figure"]

# Distinguishable with any kind of colour vision; markers and hatches repeat what colours say.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
_MARKERS = ("o", "s", "^", "v", "D", "P")
_COLUMNS = 4
_HOUR = 1 / 24
"""On an axis of days."""


def weather_figure(report: NightReport) -> Figure:
    """Draw seeing, zero point, depth and sky over the night: medians of visits, and their range."""
    figure, axes = _figure(2, 2, (11, 6.5))
    detectors = report.detectors
    names = [name for name in METRICS if name != "coverage"]
    for panel, name in zip(axes.flat, names, strict=True):
        values = detectors.dropna(subset=[name])
        for number, (band, rows) in enumerate(values.groupby("filter")):
            visits = rows.groupby("announced")[name].agg(["median", "min", "max"])
            panel.errorbar(
                visits.index,
                visits["median"],
                yerr=[visits["median"] - visits["min"], visits["max"] - visits["median"]],
                fmt=_MARKERS[number % len(_MARKERS)],
                color=_COLOURS[number % len(_COLOURS)],
                ms=5,
                lw=1,
                label=str(band),
            )
        panel.set(ylabel=METRICS[name][1])
        # Zero points that differ by a few mmag would otherwise be written as offsets from a number.
        panel.ticklabel_format(axis="y", useOffset=False)
        _or_nothing(panel, len(values))
        if len(values):
            # Hours cannot be written on an axis without ticks.
            _in_hours(panel)
    if drawn := [panel for panel in axes.flat if panel.get_legend_handles_labels()[0]]:
        # Within a panel, it would hide visits.
        handles = drawn[0].get_legend_handles_labels()
        figure.legend(*handles, title="filter", loc="outside right upper")
    return figure


def latency_figure(report: NightReport) -> Figure:
    """Draw the seconds of each stage, and the time from image to alert."""
    figure, axes = _figure(1, 2, (11, 4))
    stages, total = axes.flat
    times = [report.detectors[stage].dropna() for stage in STAGES[:-1]]
    if any(len(one) for one in times):
        stages.boxplot(times, tick_labels=list(STAGES[:-1]), whis=(5, 95), flierprops={"ms": 3})
        stages.tick_params(axis="x", rotation=25)
    stages.set(ylabel="seconds", title="Stages: median, quartiles, 5 to 95 %")
    _or_nothing(stages, sum(len(one) for one in times))
    alert = report.detectors["arrival_to_alert"].dropna()
    if len(alert):
        total.hist(alert, bins=np.linspace(0, max(float(alert.max()), GOAL_S), 41), color=_COLOURS[0])
        total.axvline(GOAL_S, color="0.3", ls="--", label=f"{GOAL_S:.0f} s")
        total.legend()
    total.set(xlabel="seconds from the image's arrival to its last alert", ylabel="visit-detectors")
    _in_numbers(total)
    _or_nothing(total, len(alert))
    return figure


def classes_figure(report: NightReport) -> Figure:
    """Draw the number of DiaSources by class, and their reliability."""
    figure, axes = _figure(1, 2, (11, 3.6))
    bars, scores = axes.flat
    counts = report.sources.get("class_", pd.Series(dtype=object)).value_counts()
    bars.barh(CLASSES, [int(counts.get(name, 0)) for name in CLASSES], color=_COLOURS[0])
    bars.bar_label(bars.containers[0], padding=3)
    bars.margins(x=0.12)
    bars.invert_yaxis()
    bars.set(xlabel="DiaSources")
    values = report.sources.get("reliability", pd.Series(dtype=float)).dropna()
    scores.hist(values, bins=np.linspace(0, 1, 41), color=_COLOURS[2])
    scores.set(xlabel="reliability", ylabel="DiaSources")
    _in_numbers(scores)
    _or_nothing(scores, len(values))
    return figure


def coverage_figure(report: NightReport) -> Figure:
    """Draw how much of each detector's image its template covers."""
    figure, axes = _figure(1, 1, (11, 2.8))
    panel = axes.flat[0]
    values = report.detectors.dropna(subset=["coverage"])
    for number, (band, rows) in enumerate(values.groupby("filter")):
        panel.plot(
            rows["announced"],
            rows["coverage"],
            _MARKERS[number % len(_MARKERS)],
            color=_COLOURS[number % len(_COLOURS)],
            ms=4,
            label=str(band),
        )
    panel.set(ylabel=METRICS["coverage"][1], ylim=(-0.05, 1.05))
    _or_nothing(panel, len(values))
    if len(values):
        figure.legend(title="filter", loc="outside right upper")
        _in_hours(panel)
    return figure


def cutouts_figure(report: NightReport) -> Figure:
    """Draw science, template and difference of the brightest transients that have cutouts.

    Their numbers are those of the rows of `~.tables.transients_table`.
    """
    top = report.brightest if len(report.brightest) else pd.DataFrame(columns=["diaSourceId", "diaObjectId"])
    shown = top[top["diaSourceId"].isin(list(report.cutouts))]
    rows = max(-(-len(shown) // _COLUMNS), 1)
    figure, axes = _figure(rows, 3 * _COLUMNS, (11, 1.1 * rows + 0.2))
    for panel in axes.flat:
        panel.axis("off")
    ranks = (np.flatnonzero(top["diaSourceId"].isin(list(report.cutouts))) + 1).tolist()
    for number, (rank, source) in enumerate(zip(ranks, shown["diaSourceId"].tolist(), strict=True)):
        files = report.cutouts[int(source)]
        row, column = divmod(number, _COLUMNS)
        for place, name in enumerate(CUTOUTS):
            panel = axes[row, 3 * column + place]
            _draw_cutout(panel, files, name)
            if place == 0:
                # The row of the table.
                panel.set_title(f"{rank}", fontsize=9, loc="left", pad=2)
    return figure


def _draw_cutout(panel: Axes, files: Mapping[str, bytes], name: str) -> None:
    from astropy.io import fits

    if name not in files:
        return
    pixels = np.asarray(fits.getdata(io.BytesIO(files[name])), float)
    low, high = np.nanpercentile(pixels, [1, 99.5])
    panel.imshow(pixels, origin="lower", cmap="gray", vmin=low, vmax=max(high, low + 1e-9))


def _figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _in_hours(panel: Axes) -> None:
    from matplotlib.dates import AutoDateLocator, DateFormatter

    panel.xaxis.set_major_locator(AutoDateLocator(minticks=3, maxticks=7))
    first, last = panel.get_xlim()
    # Few visits span minutes; a tick that is labelled with its seconds alone says little.
    panel.xaxis.set_major_formatter(DateFormatter("%H:%M" if last - first > _HOUR else "%H:%M:%S", tz="UTC"))
    panel.set_xlabel("UTC")


def _in_numbers(panel: Axes) -> None:
    """Let the vertical axis count."""
    from matplotlib.ticker import MaxNLocator

    panel.yaxis.set_major_locator(MaxNLocator(integer=True))


def _or_nothing(panel: Axes, number: int) -> None:
    if number == 0:
        panel.set(xticks=[], yticks=[], xlabel="")
        panel.text(0.5, 0.5, "no data", transform=panel.transAxes, ha="center", va="center", color="0.4")
