"""Figures of a difference image, its DiaSources and its kernel."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .drawing import (
    COLOURS,
    DIVERGING,
    SEQUENTIAL,
    colour_bar,
    detector_axes,
    figure_of,
    nothing_to_show,
    spread,
)
from .residuals import CLASSES, KernelVariation, ResidualHistogram, ResidualMap, binned

__all__ = ["draw_dia_sources", "draw_histogram", "draw_kernel", "draw_map"]

_MARKERS = dict(
    zip(
        CLASSES,
        [("o", "sky"), ("v", "orange"), ("D", "pink"), ("_", "green"), ("s", "red")],
        strict=True,
    )
)
_RELIABLE = 0.5


def draw_histogram(measured: ResidualHistogram, title: str) -> Figure:
    """Draw the distribution of the residuals beside that of pure noise."""
    figure = figure_of(title, 7.0, 4.6)
    axes = figure.subplots()
    middle = 0.5 * (measured.edges[1:] + measured.edges[:-1])
    residuals = measured.residuals
    axes.stairs(
        measured.sky, measured.edges, color=COLOURS["blue"], fill=True, alpha=0.45,
        label=f"sky: scatter {residuals.sky:.3f}",
    )  # fmt: skip
    if measured.detected.any():
        axes.stairs(measured.detected, measured.edges, color=COLOURS["red"], label="pixels with a detection")
    axes.plot(middle, np.exp(-0.5 * middle**2) / np.sqrt(2 * np.pi), color="black", lw=1, label="noise alone")
    if np.isfinite(residuals.stars):
        axes.plot(
            [],
            [],
            " ",
            label=f"{residuals.n_stars} stars: {residuals.stars:.2f} (bright: {residuals.bright_stars:.2f})",
        )
    axes.set_yscale("log")
    axes.set_ylim(1e-6, 30)
    axes.set_xlabel("difference / noise (outer bins: all beyond)")
    axes.set_ylabel("density")
    axes.legend(fontsize=8, loc="upper left")
    return figure


def draw_map(measured: ResidualMap, shape: tuple[int, int], title: str) -> Figure:
    """Draw median and scatter of the residuals over the detector."""
    figure = figure_of(title, 11.0, 5.2)
    left, right = figure.subplots(1, 2)
    rows, columns = measured.median.shape
    extent = (-0.5, columns * measured.cell - 0.5, -0.5, rows * measured.cell - 0.5)
    size = max(*(abs(one) for one in spread(measured.median)), 0.02)
    shown = left.imshow(measured.median, origin="lower", extent=extent, cmap=DIVERGING, vmin=-size, vmax=size)
    colour_bar(figure, shown, left, "difference / noise")
    left.set_title("median", fontsize=9)
    low, high = spread(measured.scatter)
    shown = right.imshow(
        measured.scatter, origin="lower", extent=extent, cmap=SEQUENTIAL, vmin=low, vmax=high
    )
    colour_bar(figure, shown, right, "scatter (1: noise alone)")
    right.set_title("scatter", fontsize=9)
    for axes in (left, right):
        axes.set_facecolor("0.8")
        detector_axes(axes, shape[1], shape[0])
    return figure


def draw_dia_sources(
    image: NDArray[np.float32], sources: pd.DataFrame, classes: NDArray[np.intp], title: str
) -> Figure:
    """Draw the DiaSources over their difference image, by class; reliable ones are bold.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (height, width)
        Difference image.
    sources
        ``x``, ``y`` (pixels) and, where it is known, ``reliability``.
    classes : `~numpy.ndarray` of int, shape (n,)
        Class of each source; see `.residuals.CLASSES`.
    title
        Line above the figure.
    """
    figure = figure_of(title, 9.0, 8.0)
    axes = figure.subplots()
    cells, step = binned(image, 600)
    low, high = spread(cells, 99.0)
    size = max(abs(low), abs(high))
    axes.imshow(
        cells, origin="lower", cmap="gray", vmin=-size, vmax=size, interpolation="nearest",
        extent=(-0.5, cells.shape[1] * step - 0.5, -0.5, cells.shape[0] * step - 0.5),
    )  # fmt: skip
    score = np.full(len(sources), np.nan)
    if "reliability" in sources:
        score = sources["reliability"].to_numpy(float, na_value=np.nan)
    x, y = (sources[name].to_numpy(float, na_value=np.nan) for name in ("x", "y"))
    for number, name in enumerate(CLASSES):
        marker, colour = _MARKERS[name]
        for bold in (False, True):
            rows = (classes == number) & ((score >= _RELIABLE) == bold)
            if not rows.any():
                continue
            text = f"{name}, reliability {'≥' if bold else '<'} {_RELIABLE}: {np.count_nonzero(rows)}"
            axes.plot(
                x[rows], y[rows], marker, ms=12 if bold else 7, mew=2.2 if bold else 0.8, label=text,
                mec=COLOURS[colour], mfc="none",
            )  # fmt: skip
    detector_axes(axes, image.shape[1], image.shape[0])
    if len(sources):
        figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    else:
        axes.set_title("no DiaSources", fontsize=9)
    return figure


def draw_kernel(measured: KernelVariation, title: str) -> Figure:
    """Draw the kernel at places of the detector, the variation of its sum, and the shift that it applies."""
    figure = figure_of(title, 12.0, 4.8)
    left, middle, right = figure.subplots(1, 3, width_ratios=[1.0, 1.15, 1.0])
    n, size = len(measured.x), measured.images.shape[-1]
    mosaic = measured.images.reshape(n, n, size, size).transpose(0, 2, 1, 3).reshape(n * size, n * size)
    highest = float(np.nanmax(np.abs(mosaic))) or 1.0
    # Wings are a hundredth of the peak.
    shown = left.imshow(
        np.arcsinh(mosaic / highest * 30) / np.arcsinh(30), origin="lower", cmap=DIVERGING, vmin=-1, vmax=1
    )
    colour_bar(figure, shown, left, "kernel / its peak (asinh)")
    for line in np.arange(1, n) * size - 0.5:
        left.axhline(line, color="black", lw=0.5)
        left.axvline(line, color="black", lw=0.5)
    left.set_xticks([(k + 0.5) * size - 0.5 for k in range(n)], [f"{one:.0f}" for one in measured.x])
    left.set_yticks([(k + 0.5) * size - 0.5 for k in range(n)], [f"{one:.0f}" for one in measured.y])
    left.set_xlabel("x (pixels)")
    left.set_ylabel("y (pixels)")
    side = "science image" if measured.convolves_science else "template"
    left.set_title(f"convolves the {side}", fontsize=9)
    width, height = measured.extent
    extent = (-0.5, width - 0.5, -0.5, height - 0.5)
    mean = float(np.mean(measured.sums))
    percent = 100 * (measured.sums / mean - 1) if mean else np.zeros_like(measured.sums)
    most = max(float(np.max(np.abs(percent))), 0.01)
    shown = middle.imshow(percent, origin="lower", extent=extent, cmap=DIVERGING, vmin=-most, vmax=most)
    colour_bar(figure, shown, middle, "deviation of the sum (%)")
    middle.set_title(f"sum: mean {mean:.4f}", fontsize=9)
    detector_axes(middle, width, height)
    grid = len(measured.sums)
    x, y = np.meshgrid(*((np.arange(grid) + 0.5) / grid * length - 0.5 for length in (width, height)))
    longest = float(np.nanmax(np.hypot(measured.shift_x, measured.shift_y)))
    # Below a thousandth of a pixel, the arrows would show rounding.
    if longest >= 1e-3:
        arrows = right.quiver(
            x, y, measured.shift_x, measured.shift_y, color=COLOURS["blue"], angles="xy", width=0.004
        )
        right.quiverkey(
            arrows, 0.55, 1.04, longest, f"{longest:.3f} pixels", labelpos="E", fontproperties={"size": 8}
        )
    else:
        nothing_to_show(right, "less than 0.001 pixels everywhere")
    right.set_title("shift", fontsize=9, loc="left")
    detector_axes(right, width, height)
    return figure
