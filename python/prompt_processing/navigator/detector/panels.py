"""Figures of the detector view: images with linked ranges, masks and DiaSources over them, and stamps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from bokeh.models import (
    ColumnDataSource,
    LinearColorMapper,
    PanTool,
    Range1d,
    TapTool,
    WheelZoomTool,
)
from bokeh.palettes import Viridis256
from bokeh.plotting import figure
from numpy.typing import NDArray

from prompt_processing.images.mask import Mask

from ..colours import CATEGORIES, MASKS
from .pixels import Tile
from .stretch import Curve, greys

__all__ = ["CLASSES", "ImagePanel", "Overlays", "StampPanel", "class_of", "mask_colours", "to_source"]

CLASSES = ("positive", "negative", "dipole", "flagged")
"""Classes of DiaSources, each with a marker and a colour."""
_MARKERS = ("circle", "square", "diamond", "x")
_NO_IMAGE: dict[str, list[Any]] = {"image": [], "x": [], "y": [], "dw": [], "dh": []}


def to_source(tile: Tile | None) -> dict[str, list[Any]]:
    """Return a tile as the columns of an image glyph."""
    if tile is None:
        return {name: [] for name in _NO_IMAGE}
    return {
        "image": [np.ascontiguousarray(tile.values)],
        "x": [tile.x],
        "y": [tile.y],
        "dw": [tile.width],
        "dh": [tile.height],
    }


def mask_colours(bits: NDArray[np.int32], planes: Sequence[str], opacity: float = 0.55) -> NDArray[np.uint32]:
    """Return the colours of some mask planes; where several are set, that of the first.

    Parameters
    ----------
    bits : `~numpy.ndarray` of int32, shape (rows, columns)
        Mask with the bits of `~prompt_processing.images.mask.Mask`.
    planes
        Names of planes.
    opacity
        From 0 to 1.

    Returns
    -------
    colours : `~numpy.ndarray` of uint32, shape (rows, columns)
        RGBA, transparent where no plane is set.
    """
    colours = np.zeros((*bits.shape, 4), np.uint8)
    for name in reversed(planes):
        if name in Mask.__members__:
            text = MASKS.get(name, CATEGORIES[0])
            rgb = [int(text[i : i + 2], 16) for i in (1, 3, 5)]
            colours[bits & Mask[name] != 0] = [*rgb, round(255 * opacity)]
    return np.asarray(colours.view(np.uint32)[..., 0])


def class_of(table: Mapping[str, Any], length: int) -> list[str]:
    """Return the class of each DiaSource.

    Parameters
    ----------
    table
        Columns; those that are absent count as false.
    length
        Number of rows.
    """

    def column(name: str) -> NDArray[np.bool_]:
        if name not in table:
            return np.zeros(length, bool)
        return np.asarray(np.ma.filled(np.ma.asarray(table[name]), 0)).astype(bool)

    flags = ("pixelFlags_saturatedCenter", "pixelFlags_crCenter", "pixelFlags_bad", "pixelFlags_streakCenter")
    flagged = np.any([column(name) for name in (*flags, "centroid_flag")], axis=0)
    dipole, negative = column("isDipole"), column("isNegative")
    return list(np.select([flagged, dipole, negative], ["flagged", "dipole", "negative"], "positive"))


class Overlays:
    """DiaSources and masks, which all panels show."""

    def __init__(self) -> None:
        self.sources = ColumnDataSource(
            {name: [] for name in ("x", "y", "id", "colour", "marker", "reliability", "kind")}
        )
        self.mask = ColumnDataSource(dict(_NO_IMAGE))


class ImagePanel:
    """One image.

    Parameters
    ----------
    name
        Name of the figure for the page's script.
    x_range, y_range
        Ranges that all panels share.
    overlays
        What is drawn over the image.
    symmetric
        Whether zero is the middle grey, as in a difference.
    """

    def __init__(
        self, name: str, x_range: Range1d, y_range: Range1d, overlays: Overlays, *, symmetric: bool
    ) -> None:
        self.symmetric = symmetric
        self.source = ColumnDataSource(dict(_NO_IMAGE), name=f"pixels-{name}")
        self.mapper = LinearColorMapper(
            palette=greys("linear"), low=0.0, high=1.0, nan_color="rgba(70, 90, 130, 0.6)"
        )
        self.figure = image_figure(name, x_range, y_range)
        self.image = self.figure.image(
            "image", x="x", y="y", dw="dw", dh="dh", source=self.source, color_mapper=self.mapper
        )
        add_overlays(self.figure, overlays)

    def show(self, tile: Tile | None) -> None:
        """Show a tile."""
        self.source.data = to_source(tile)

    def stretch(self, low: float, high: float, curve: Curve) -> None:
        """Set limits and curve."""
        self.mapper.update(palette=greys(curve, symmetric=self.symmetric), low=low, high=high)


def image_figure(name: str, x_range: Range1d, y_range: Range1d) -> Any:
    """Return a figure without axes, which fills its width."""
    wheel = WheelZoomTool()
    made = figure(
        name=name,
        x_range=x_range,
        y_range=y_range,
        tools=[PanTool(), wheel, TapTool()],
        active_scroll=wheel,
        toolbar_location=None,
        sizing_mode="scale_width",
        aspect_ratio=1.0,
        width=None,
        height=None,
        match_aspect=True,
        background_fill_color="#16202a",
        border_fill_color=None,
        outline_line_color="#5b6875",
        min_border=0,
    )
    made.axis.visible = False
    made.grid.visible = False
    return made


def add_overlays(made: Any, overlays: Overlays) -> None:
    """Draw masks and DiaSources in a figure."""
    made.image_rgba("image", x="x", y="y", dw="dw", dh="dh", source=overlays.mask)
    drawn = made.scatter(
        "x",
        "y",
        source=overlays.sources,
        marker="marker",
        size=16,
        fill_alpha=0.0,
        line_color="colour",
        line_width=2,
        nonselection_line_alpha=0.8,
        name="dia-sources",
    )
    # Around the others' size, and of a colour that neither they nor a bright star have.
    drawn.selection_glyph = drawn.glyph.clone(size=30, line_color="#ff7f0e", line_width=3)


class StampPanel:
    """A small image around one position."""

    def __init__(self, name: str, mapper: Any = None) -> None:
        self.mapper = mapper or LinearColorMapper(palette=greys("linear"), low=0.0, high=1.0)
        self.source = ColumnDataSource(dict(_NO_IMAGE))
        self.figure = figure(
            name=name,
            tools=[],
            toolbar_location=None,
            frame_width=150,
            frame_height=150,
            x_range=Range1d(0, 1),
            y_range=Range1d(0, 1),
            background_fill_color="#16202a",
            outline_line_color="#5b6875",
            min_border=0,
        )
        self.figure.axis.visible = False
        self.figure.grid.visible = False
        self.figure.image(
            "image", x="x", y="y", dw="dw", dh="dh", source=self.source, color_mapper=self.mapper
        )

    def show(self, tile: Tile | None) -> None:
        """Show a tile, which fills the stamp."""
        self.source.data = to_source(tile)
        if tile is not None:
            self.figure.x_range.update(start=tile.x, end=tile.x + tile.width)
            self.figure.y_range.update(start=tile.y, end=tile.y + tile.height)


def source_columns(table: Any, color_by: str) -> dict[str, Any]:
    """Return the columns of the glyph of DiaSources.

    Parameters
    ----------
    table
        Catalogue with ``x``, ``y`` and ``diaSourceId``.
    color_by
        ``reliability`` or ``class``.
    """
    n = len(table)
    columns = {name: table[name] for name in table.colnames}
    kinds = class_of(columns, n)
    reliability = np.full(n, np.nan)
    if "reliability" in columns:
        # Bokeh cannot send astropy's subclasses of arrays.
        reliability = np.asarray(np.ma.filled(np.ma.asarray(columns["reliability"], float), np.nan), float)
    if color_by == "class":
        colours = [CATEGORIES[CLASSES.index(kind)] for kind in kinds]
    else:
        colours = [
            "#ff5c5c" if not np.isfinite(value) else Viridis256[int(np.clip(value, 0, 1) * 255)]
            for value in reliability
        ]
    return {
        "x": np.asarray(columns["x"], float),
        "y": np.asarray(columns["y"], float),
        # As text: a browser rounds integers of 64 bits.
        "id": [str(one) for one in columns["diaSourceId"]],
        "colour": colours,
        "marker": [_MARKERS[CLASSES.index(kind)] for kind in kinds],
        "reliability": reliability,
        "kind": kinds,
    }


def legend() -> str:
    """Return the meaning of colours and markers of DiaSources, as HTML."""
    stops = ", ".join(Viridis256[::17])
    bar = (
        '<span style="display:inline-block;width:120px;height:10px;'
        f'background:linear-gradient(to right, {stops})"></span>'
    )
    signs = dict(zip(CLASSES, "○□◇×", strict=True))
    marks = " &nbsp; ".join(
        f'<span style="color:{CATEGORIES[place]}">{sign}</span> {kind}'
        for place, (kind, sign) in enumerate(signs.items())
    )
    return f"DiaSources: reliability 0 {bar} 1 &nbsp;&nbsp; {marks}"
