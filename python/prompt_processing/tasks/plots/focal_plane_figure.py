"""Figure of a metric over the focal plane."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from .drawing import SEQUENTIAL, colour_bar, figure_of, spread
from .focal_plane import MetricOfDetector

__all__ = ["draw_focal_plane"]

_MOST_LABELS = 40


def draw_focal_plane(detectors: Sequence[MetricOfDetector], label: str, title: str) -> Figure:
    """Draw the detectors of a visit in the colour of their value; those without a value are hatched.

    Parameters
    ----------
    detectors
        Detectors with their values.
    label
        Name and unit of the metric.
    title
        Line above the figure.
    """
    figure = figure_of(title, 8.5, 7.4)
    axes = figure.subplots()
    values = np.array([one.value for one in detectors], float)
    scale = Normalize(*spread(values, 98.0))
    colours = colormaps[SEQUENTIAL]
    for one in detectors:
        if np.isfinite(one.value):
            shade = scale(one.value)
            axes.add_patch(Polygon(one.corners, closed=True, fc=colours(shade), ec="0.4", lw=0.5))
        else:
            axes.add_patch(Polygon(one.corners, closed=True, fc="none", ec="0.75", lw=0.5, hatch="////"))
    known = [one for one in detectors if np.isfinite(one.value)]
    if len(known) <= _MOST_LABELS:
        for one in known:
            x, y = one.corners.mean(axis=0)
            colour = "white" if scale(one.value) < 0.55 else "black"
            axes.text(
                x, y, f"{one.name}\n{one.value:.4g}", ha="center", va="center", fontsize=6, color=colour,
                parse_math=False,
            )  # fmt: skip
    axes.autoscale_view()
    axes.set_aspect("equal")
    axes.set_xlabel("focal plane x (mm)")
    axes.set_ylabel("focal plane y (mm)")
    colour_bar(figure, ScalarMappable(scale, colours), axes, label)
    median = f"median {np.median([one.value for one in known]):.4g}" if known else "no values"
    axes.set_title(f"{len(known)} of {len(detectors)} detectors, {median}", fontsize=9)
    return figure
