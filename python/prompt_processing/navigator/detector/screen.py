"""The images of the detector view: their common place, their tiles, and what is drawn over them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import panel as pn
from bokeh.models import Range1d

from ..layout import column, grid, markup
from .data import IMAGES, DetectorData
from .panels import (
    ImagePanel,
    Overlays,
    add_overlays,
    image_figure,
    mask_colours,
    source_columns,
    to_source,
)
from .pixels import Region, Tile
from .stretch import Curve, Scale, limits

__all__ = ["Screen", "Tiles"]

_LOG = logging.getLogger("lsst.prompt_processing.navigator")

_TILE = 640
_BLINK_TILE = 1100
_MARGIN = 0.2
_SMALLEST = 8.0

Tiles = tuple[Mapping[str, Tile | None], Tile | None]
"""Tile of each image, and colours of the masks."""


class Screen:
    """Three images with the same place, beside each other or blinking.

    Parameters
    ----------
    moved
        Called when a user moves or zooms.
    selected
        Called with the id of the DiaSource that a user selects, `None` for none.
    """

    def __init__(self, moved: Callable[[], None], selected: Callable[[int | None], None]) -> None:
        self._moved, self._selected = moved, selected
        self._x_range, self._y_range = Range1d(0, 1), Range1d(0, 1)
        self._overlays = Overlays()
        self.panels = {
            role: ImagePanel(
                role, self._x_range, self._y_range, self._overlays, symmetric=role == "difference"
            )
            for role in IMAGES
        }
        self._blink: Any = None
        self._sky: list[float] = []
        self._captions = {role: markup(margin=0) for role in self.panels}
        self._side = grid(
            *[
                column(
                    self._captions[role],
                    pn.pane.Bokeh(panel.figure, sizing_mode="scale_width", min_width=0),
                    margin=2,
                )
                for role, panel in self.panels.items()
            ],
        )
        self._one: Any = None
        self.content = column()
        for one in (self._x_range, self._y_range):
            for edge in ("start", "end"):
                one.on_change(edge, self._on_range)
        self._overlays.sources.selected.on_change("indices", self._on_select)

    def arrange(self, mode: str) -> None:
        """Show the images ``side`` by side, or let them ``blink``."""
        self._most = _BLINK_TILE if mode == "blink" else _TILE
        if mode == "blink" and self._one is None:
            # Made when it is first shown.
            self._blink = self._blink_figure()
            self._one = column(
                markup(
                    "Blinking. Keys 1, 2 and 3 hold the science image, the template and the difference; "
                    "b shows them side by side.",
                    margin=0,
                ),
                pn.pane.Bokeh(self._blink, sizing_mode="scale_width", max_width=900),
            )
        self.content.objects = [self._one if mode == "blink" else self._side]

    def name(self, types: Mapping[str, str]) -> None:
        """Write the dataset type above each image; it has been escaped."""
        for role, caption in self._captions.items():
            caption.object = f"<b>{role}</b> <small>{types.get(role, 'missing')}</small>"

    def stretch(self, data: DetectorData, scale: Scale, curve: Curve) -> None:
        """Set limits and curve of all images; science and template have the same if their units are."""
        science: tuple[float, float] | None = None
        for role, panel in self.panels.items():
            image = data.images.get(role)
            if image is None:
                continue
            low, high = limits(image.sample(), scale, symmetric=panel.symmetric)
            if role == "science" and data.types[role] != "post_isr_image":
                science = low, high
            elif role == "template" and science is not None:
                low, high = science
            panel.stretch(low, high, curve)

    @property
    def region(self) -> Region:
        """What is in view."""
        return Region(self._x_range.start, self._x_range.end, self._y_range.start, self._y_range.end)

    def place(self, x: float, y: float, size: float) -> None:
        """Move to a centre and width, pixels."""
        size = max(size, _SMALLEST)
        self._x_range.update(start=x - size / 2, end=x + size / 2)
        self._y_range.update(start=y - size / 2, end=y + size / 2)

    def move(self, right: float = 0.0, up: float = 0.0, zoom: float = 1.0) -> None:
        """Move by fractions of the view, and change its width by a factor."""
        region = self.region
        size = region.x_max - region.x_min
        self.place(
            (region.x_min + region.x_max) / 2 + right * size,
            (region.y_min + region.y_max) / 2 + up * size,
            size * zoom,
        )

    def read(self, data: DetectorData, masks: Sequence[str]) -> Callable[[], Tiles]:
        """Return the function that reads the tiles of the view; another thread may call it."""
        wide, most = self.region.padded(_MARGIN), round(self._most * (1 + 2 * _MARGIN))

        def read() -> Tiles:
            tiles: dict[str, Tile | None] = dict.fromkeys(self.panels)
            for role, image in data.images.items():
                try:
                    tiles[role] = image.tile(wide, most)
                except OSError as error:
                    _LOG.warning("Cannot read a tile of %s: %s", image.name, error)
            return tiles, _mask(data, wide, most, masks)

        return read

    def show(self, tiles: Tiles, data: DetectorData) -> None:
        """Show tiles."""
        images, mask = tiles
        for role, panel in self.panels.items():
            panel.show(images[role])
        self._overlays.mask.data = to_source(mask)
        self._show_sky(data)

    def mark(self, table: Any, marks: str, chosen: int | None) -> None:
        """Draw DiaSources, coloured by ``reliability`` or ``class``; ``none`` hides them."""
        sources = self._overlays.sources
        if table is None or marks == "none" or not {"x", "y", "diaSourceId"} <= set(table.colnames):
            sources.data = {name: [] for name in sources.data}
        else:
            sources.data = source_columns(table, marks)
        ids = list(sources.data["id"])
        sources.selected.indices = [ids.index(str(chosen))] if str(chosen) in ids else []

    def _show_sky(self, data: DetectorData) -> None:
        """Send the sky at three places, from which the page's script interpolates."""
        tags: list[float] = []
        if data.wcs is not None:
            region = self.region
            x, y = (region.x_min + region.x_max) / 2, (region.y_min + region.y_max) / 2
            lon, lat = data.wcs.pixel_to_world_values([x, region.x_max, x], [y, y, region.y_max])
            tags = [float(one) for one in (*lon, *lat, x, y)]
        self._sky = tags
        for made in (self._blink, *(panel.figure for panel in self.panels.values())):
            if made is not None:
                made.tags = tags

    def _blink_figure(self) -> Any:
        made = image_figure("blink", self._x_range, self._y_range)
        made.max_width = 900
        made.tags = self._sky
        for role, panel in self.panels.items():
            renderer = made.image(
                "image", x="x", y="y", dw="dw", dh="dh", source=panel.source, color_mapper=panel.mapper
            )
            renderer.name = f"blink-{role}"
            renderer.visible = role == "science"
        add_overlays(made, self._overlays)
        return made

    def _on_range(self, attribute: str, old: float, new: float) -> None:
        self._moved()

    def _on_select(self, attribute: str, old: list[int], new: list[int]) -> None:
        ids = self._overlays.sources.data["id"]
        self._selected(int(ids[new[0]]) if new and new[0] < len(ids) else None)


def _mask(data: DetectorData, region: Region, most: int, masks: Sequence[str]) -> Tile | None:
    if not masks:
        return None
    for role in ("difference", "science"):
        found = data.images.get(role)
        if found is None or "MASK" not in found.sections.planes:
            continue
        try:
            bits = found.tile(region, most, "MASK")
        except OSError as error:
            _LOG.warning("Cannot read the mask of %s: %s", found.name, error)
            return None
        return Tile(mask_colours(bits.values, masks), bits.x, bits.y, bits.width, bits.height, bits.binning)
    return None
