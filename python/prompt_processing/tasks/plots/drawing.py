"""What all figures share: colours that colour-blind people distinguish, titles, and an empty panel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

__all__ = [
    "COLOURS",
    "DIVERGING",
    "SEQUENTIAL",
    "colour_bar",
    "detector_axes",
    "figure_of",
    "nothing_to_show",
    "spread",
    "title_of",
]

COLOURS = {
    "black": "#000000",
    "orange": "#e69f00",
    "sky": "#56b4e9",
    "green": "#009e73",
    "blue": "#0072b2",
    "red": "#d55e00",
    "pink": "#cc79a7",
}
"""Colours of Okabe and Ito, which all kinds of colour vision distinguish."""

DIVERGING = "PuOr_r"
SEQUENTIAL = "cividis"


def title_of(data_id: Mapping[str, Any], what: str) -> str:
    """Return the title of a figure: what it shows, and the data ID."""
    # Detectors come after their visit.
    order = sorted(data_id, key=lambda name: name == "detector")
    return f"{what}\n" + ", ".join(f"{name} {data_id[name]}" for name in order)


def figure_of(title: str, width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches."""
    figure = Figure(figsize=(width, height), layout="constrained", dpi=110)
    figure.suptitle(title, fontsize=10, parse_math=False)
    return figure


def spread(values: NDArray[np.floating], percent: float = 98.0) -> tuple[float, float]:
    """Return the limits of the middle part of some values, never equal."""
    finite = np.asarray(values)[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(one) for one in np.percentile(finite, [50 - percent / 2, 50 + percent / 2]))
    if high > low:
        return low, high
    margin = 0.5 * abs(low) or 0.5
    return low - margin, low + margin


def detector_axes(axes: Any, width: float, height: float) -> None:
    """Show the pixels of a detector in true proportion."""
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(-0.5, height - 0.5)
    axes.set_aspect("equal")
    axes.set_xlabel("x (pixels)")
    axes.set_ylabel("y (pixels)")


def colour_bar(figure: Any, shown: Any, axes: Any, label: str) -> None:
    """Add the scale of a panel's colours."""
    figure.colorbar(shown, ax=axes, label=label, shrink=0.8)


def nothing_to_show(axes: Any, reason: str) -> None:
    """Say in a panel why it is empty."""
    axes.text(
        0.5, 0.5, reason, ha="center", va="center", wrap=True, transform=axes.transAxes, parse_math=False
    )
    axes.set_xticks([])
    axes.set_yticks([])
