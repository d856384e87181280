"""Figures of the stars of an image: PSF, positions, fluxes."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from prompt_processing.images.robust import robust_scatter

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
from .stars import PsfResiduals, PsfShapes, StarResiduals

__all__ = ["draw_fluxes", "draw_positions", "draw_psf"]

_NO_STARS = "No star of the image is in the reference catalogue."


def draw_psf(residuals: PsfResiduals, shapes: PsfShapes, shape: tuple[int, int], title: str) -> Figure:
    """Draw the PSF, what its stars leave of it, and its shape over the detector."""
    figure = figure_of(title, 13.0, 4.9)
    left, middle, right = figure.subplots(1, 3, width_ratios=[1.0, 1.0, 1.1])
    highest = float(np.nanmax(residuals.model, initial=0.0)) or 1.0
    for axes, stamps, what in ((left, residuals.model, "PSF"), (middle, residuals.residual, "stars - PSF")):
        mosaic = 100 * _mosaic(stamps) / highest
        if axes is left:
            shown = axes.imshow(mosaic, origin="lower", cmap=SEQUENTIAL, vmin=0, vmax=100)
        else:
            most = max(*(abs(one) for one in spread(mosaic, 99.8)), 0.1)
            shown = axes.imshow(mosaic, origin="lower", cmap=DIVERGING, vmin=-most, vmax=most)
        colour_bar(figure, shown, axes, "% of the peak")
        axes.set_title(f"{what}, median of {residuals.counts.sum()} stars", fontsize=9)
        n, size = stamps.shape[0], stamps.shape[-1]
        for line in np.arange(1, n) * size - 0.5:
            axes.axhline(line, color="white" if axes is left else "black", lw=0.5)
            axes.axvline(line, color="white" if axes is left else "black", lw=0.5)
        axes.set_facecolor("0.8")
        axes.set_xticks([])
        axes.set_yticks([])
    low, high = spread(shapes.fwhm, 100.0)
    size = np.hypot(shapes.e1, shapes.e2)
    angle = 0.5 * np.arctan2(shapes.e2, shapes.e1)
    right.quiver(
        shapes.x, shapes.y, size * np.cos(angle), size * np.sin(angle), color="0.2", angles="xy", pivot="mid",
        headlength=0, headaxislength=0, headwidth=1, width=0.004,
    )  # fmt: skip
    shown = right.scatter(shapes.x, shapes.y, c=shapes.fwhm, s=30, cmap=SEQUENTIAL, vmin=low, vmax=high)
    colour_bar(figure, shown, right, "FWHM (pixels)")
    right.set_title(f"FWHM and ellipticity: mean {size.mean():.3f}, largest {size.max():.3f}", fontsize=9)
    detector_axes(right, shape[1], shape[0])
    return figure


def draw_positions(stars: StarResiduals, shape: tuple[int, int], title: str) -> Figure:
    """Draw the residuals of the astrometry as arrows over the detector, and against each other."""
    figure = figure_of(title, 11.0, 5.4)
    left, right = figure.subplots(1, 2, width_ratios=[1.2, 1.0])
    if not len(stars):
        for axes in (left, right):
            nothing_to_show(axes, _NO_STARS)
        return figure
    used = stars.astrometry_used
    limit = max(
        *(
            abs(one)
            for part in (stars.east, stars.north)
            for one in spread(part[used] if used.any() else part)
        ),
        1,
    )
    for rows, colour, text in ((~used, "orange", "not used"), (used, "blue", "used in the fit")):
        size, marker = (5, "o") if colour == "blue" else (4, "x")
        right.plot(
            stars.east[rows], stars.north[rows], marker, ms=size, color=COLOURS[colour], alpha=0.7,
            label=f"{text}: {np.count_nonzero(rows)}",
        )  # fmt: skip
    shown = used if used.any() else np.ones(len(stars), np.bool_)
    arrows = left.quiver(
        stars.x[shown], stars.y[shown], stars.east[shown], stars.north[shown],
        color=COLOURS["blue"], width=0.003, scale=limit * 12,
    )  # fmt: skip
    left.quiverkey(arrows, 0.85, 1.03, limit, f"{limit:.0f} mas", labelpos="E", fontproperties={"size": 8})
    left.set_title("east (right) and north (up) of the residual", fontsize=9, loc="left")
    detector_axes(left, shape[1], shape[0])
    right.axhline(0, color="0.7", lw=0.8, zorder=0)
    right.axvline(0, color="0.7", lw=0.8, zorder=0)
    right.set_xlim(-1.5 * limit, 1.5 * limit)
    right.set_ylim(-1.5 * limit, 1.5 * limit)
    right.set_aspect("equal")
    right.set_xlabel("east, measured - catalogue (mas)")
    right.set_ylabel("north, measured - catalogue (mas)")
    mas = robust_scatter(stars.east[shown]), robust_scatter(stars.north[shown])
    right.set_title(f"robust scatter {mas[0]:.1f} and {mas[1]:.1f} mas", fontsize=9)
    right.legend(fontsize=8, loc="upper right")
    return figure


def draw_fluxes(stars: StarResiduals, shape: tuple[int, int], band: str, title: str) -> Figure:
    """Draw the residuals of the zero point against the magnitude and over the detector."""
    figure = figure_of(title, 11.0, 5.2)
    left, right = figure.subplots(1, 2)
    known = np.isfinite(stars.magnitude_residual)
    if not known.any():
        for axes in (left, right):
            nothing_to_show(axes, _NO_STARS)
        return figure
    used = stars.photometry_used & known
    low, high = spread(stars.magnitude_residual[used if used.any() else known])
    limit = max(abs(low), abs(high), 0.02)
    for rows, colour, marker, text in (
        (known & ~used, "orange", "x", "not used"),
        (used, "blue", "o", "used for the zero point"),
    ):
        left.errorbar(
            stars.magnitude[rows], stars.magnitude_residual[rows], stars.magnitude_error[rows],
            fmt=marker, ms=4, color=COLOURS[colour], ecolor="0.7", elinewidth=0.8,
            label=f"{text}: {np.count_nonzero(rows)}",
        )  # fmt: skip
    left.axhline(0, color="0.4", lw=0.8)
    left.set_ylim(-2 * limit, 2 * limit)
    left.set_xlabel(f"catalogue {band} (AB mag)")
    left.set_ylabel("measured - catalogue (mag)")
    left.legend(fontsize=8)
    shown = used if used.any() else known
    mmag = 1000 * robust_scatter(stars.magnitude_residual[shown])
    left.set_title(f"robust scatter {mmag:.1f} mmag", fontsize=9)
    dots = right.scatter(
        stars.x[shown], stars.y[shown], c=1000 * stars.magnitude_residual[shown], s=22, cmap=DIVERGING,
        vmin=-1000 * limit, vmax=1000 * limit, edgecolors="0.5", linewidths=0.4,
    )  # fmt: skip
    colour_bar(figure, dots, right, "measured - catalogue (mmag)")
    detector_axes(right, shape[1], shape[0])
    return figure


def _mosaic(stamps: NDArray[np.float64]) -> NDArray[np.float64]:
    n, size = stamps.shape[0], stamps.shape[-1]
    return stamps.transpose(0, 2, 1, 3).reshape(n * size, n * size)
