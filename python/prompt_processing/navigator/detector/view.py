"""The detector view: science, template and difference of a visit's detector."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import bokeh.io
import panel as pn
from bokeh.models import Range1d

from prompt_processing.images.mask import Mask

from ..colours import MASKS
from ..layout import column, grid, markup, wrapped_row
from ..page import Page, View, link
from ..sources import Sources
from ..text import escaped, facts, sexagesimal
from ..url_state import with_changes
from .data import IMAGES, DetectorData, find_neighbour, load_detector
from .outcome import describe_outcome
from .panels import (
    ImagePanel,
    Overlays,
    StampPanel,
    add_overlays,
    image_figure,
    legend,
    mask_colours,
    source_columns,
    to_source,
)
from .pixels import Region, Tile
from .stretch import CURVES, SCALES, Curve, Scale, limits

__all__ = ["DetectorState", "DetectorView"]

_LOG = logging.getLogger("lsst.prompt_processing.navigator")

_TILE = 640
_BLINK_TILE = 1100
_MARGIN = 0.2
_DEBOUNCE_MS = 70
_STAMP = 41
_ZOOM = 1.6
_PAN = 0.25


@dataclass(frozen=True, slots=True)
class DetectorState:
    """State of the view.

    Attributes
    ----------
    instrument, visit, detector, collection
        What is shown; visit is an exposure id.
    x, y, size
        Centre and width of the view, pixels; `None` for the whole detector.
    scale, curve
        Limits and curve of the grey levels.
    masks
        Mask planes over the images.
    marks
        How DiaSources are coloured, or that they are hidden.
    mode
        Three images side by side, or one place where they blink.
    source
        Selected DiaSource.
    """

    instrument: str = ""
    visit: int | None = None
    detector: int | None = None
    collection: str = ""
    x: float | None = None
    y: float | None = None
    size: float | None = None
    scale: Scale = "zscale"
    curve: Curve = "linear"
    masks: tuple[str, ...] = ()
    marks: Literal["reliability", "class", "none"] = "reliability"
    mode: Literal["side", "blink"] = "side"
    source: int | None = None


class DetectorView(View):
    """Images of one visit's detector."""

    name = "detector"
    title = "Detector"
    state_type = DetectorState
    scripts = ("detector.js",)
    keys: ClassVar[Mapping[str, str]] = {
        "n": "next visit",
        "p": "previous visit",
        "j": "next detector",
        "k": "previous detector",
        "b": "blink or side by side",
        "1": "science",
        "2": "template",
        "3": "difference",
        "s": "sources on or off",
        "+": "zoom in",
        "-": "zoom out",
        "0": "whole detector",
        "ArrowLeft": "pan",
        "ArrowRight": "pan",
        "ArrowUp": "pan",
        "ArrowDown": "pan",
    }

    def __init__(self, page: Page, sources: Sources, state: DetectorState) -> None:
        super().__init__(page, sources, state)
        self.state: DetectorState = state
        self._data = DetectorData()
        self._pending: Any = None
        self._wanted = 0
        self._x_range, self._y_range = Range1d(0, 1), Range1d(0, 1)
        self._overlays = Overlays()
        self._panels = {
            role: ImagePanel(
                role, self._x_range, self._y_range, self._overlays, symmetric=role == "difference"
            )
            for role in IMAGES
        }
        self._blink = self._blink_figure()
        self._stamps = {
            role: StampPanel(f"stamp-{role}", panel.mapper) for role, panel in self._panels.items()
        }
        self._heading = markup()
        self._details = markup()
        self._selected = markup()
        self._make_controls()
        self._layout = self._make_layout()
        for one in (self._x_range, self._y_range):
            for edge in ("start", "end"):
                one.on_change(edge, self._on_range)
        self._overlays.sources.selected.on_change("indices", self._on_select)
        self._load()

    @property
    def content(self) -> Any:
        """The page."""
        return self._layout

    def on_key(self, key: str) -> None:
        """Move to another visit, detector or place."""
        match key:
            case "n" | "p":
                self._step("visit", 1 if key == "n" else -1)
            case "j" | "k":
                self._step("detector", 1 if key == "j" else -1)
            case "b":
                self._mode.value = "side" if self._mode.value == "blink" else "blink"
            case "s":
                self._marks.value = "none" if self._marks.value != "none" else "reliability"
            case "+" | "-":
                self._zoom(_ZOOM if key == "-" else 1 / _ZOOM)
            case "0":
                self._whole()
            case "ArrowLeft":
                self._pan(-_PAN, 0)
            case "ArrowRight":
                self._pan(_PAN, 0)
            case "ArrowUp":
                self._pan(0, _PAN)
            case "ArrowDown":
                self._pan(0, -_PAN)

    # Layout

    def _blink_figure(self) -> Any:
        made = image_figure("blink", self._x_range, self._y_range)
        made.sizing_mode = "scale_width"
        made.max_width = 900
        for role, panel in self._panels.items():
            renderer = made.image(
                "image", x="x", y="y", dw="dw", dh="dh", source=panel.source, color_mapper=panel.mapper
            )
            renderer.name = f"blink-{role}"
            renderer.visible = role == "science"
        add_overlays(made, self._overlays)
        return made

    def _make_controls(self) -> None:
        state = self.state
        small = {"width": 112, "margin": (2, 6)}
        self._visit = pn.widgets.TextInput(
            name="Visit", value="" if state.visit is None else str(state.visit), width=160, margin=(2, 6)
        )
        self._detector = pn.widgets.TextInput(
            name="Detector",
            value="" if state.detector is None else str(state.detector),
            width=80,
            margin=(2, 6),
        )
        self._scale = pn.widgets.Select(name="Limits", options=list(SCALES), value=state.scale, **small)
        self._curve = pn.widgets.Select(name="Stretch", options=list(CURVES), value=state.curve, **small)
        self._marks = pn.widgets.Select(
            name="DiaSources",
            options={"by reliability": "reliability", "by class": "class", "hidden": "none"},
            value=state.marks,
            width=130,
            margin=(2, 6),
        )
        self._mode = pn.widgets.Select(
            name="Images", options={"side by side": "side", "blinking": "blink"}, value=state.mode, **small
        )
        self._masks = {
            name: pn.widgets.Checkbox(
                name=name,
                value=name in state.masks,
                margin=(2, 8),
                stylesheets=[f":host {{ border-left: 10px solid {MASKS[name]}; padding-left: 4px; }}"],
            )
            for name in Mask.__members__
        }
        for box in self._masks.values():
            box.param.watch(self._on_masks, "value")
        self._mask_boxes = wrapped_row(markup("Mask planes:", sizing_mode=None), *self._masks.values())
        self._visit.param.watch(lambda event: self._open(visit=event.new), "value")
        self._detector.param.watch(lambda event: self._open(detector=event.new), "value")
        for widget, field in (
            (self._scale, "scale"),
            (self._curve, "curve"),
            (self._marks, "marks"),
            (self._mode, "mode"),
        ):
            widget.param.watch(partial(self._on_choice, field), "value")

    def _make_layout(self) -> Any:
        def step(label: str, what: str, by: int) -> Any:
            button = pn.widgets.Button(
                name=label, margin=(20, 2, 2, 2), width=40, description=f"{what} {label}"
            )
            button.on_click(lambda event: self._step(what, by))
            return button

        controls = wrapped_row(
            self._visit,
            step("◀", "visit", -1),
            step("▶", "visit", 1),
            self._detector,
            step("◂", "detector", -1),
            step("▸", "detector", 1),
            self._mode,
            self._scale,
            self._curve,
            self._marks,
        )
        captions = {role: markup(margin=0) for role in self._panels}
        self._captions = captions
        self._side = grid(
            *[
                column(
                    captions[role],
                    pn.pane.Bokeh(panel.figure, sizing_mode="scale_width", min_width=0),
                    margin=2,
                )
                for role, panel in self._panels.items()
            ],
        )
        self._one = column(
            markup(
                "Blinking. Keys 1, 2 and 3 hold the science image, the template and the difference; "
                "b shows them side by side.",
                margin=0,
            ),
            pn.pane.Bokeh(self._blink, sizing_mode="scale_width", max_width=900),
        )
        self._images = column(sizing_mode="stretch_width")
        stamps = wrapped_row(*[pn.pane.Bokeh(stamp.figure, margin=2) for stamp in self._stamps.values()])
        self._stamp_row = column(self._selected, stamps, visible=False)
        self._show_mode()
        return column(
            self._heading,
            controls,
            self._images,
            markup(legend()),
            self._mask_boxes,
            self._stamp_row,
            self._details,
        )

    def _show_mode(self) -> None:
        self._images.objects = [self._one if self.state.mode == "blink" else self._side]

    # Reactions

    def _on_choice(self, field: str, event: Any) -> None:
        self.go(with_changes(self.state, **{field: event.new}))
        if field == "mode":
            self._show_mode()
            self._refresh_soon()
        elif field == "marks":
            self._show_sources()
        else:
            self._stretch()

    def _on_masks(self, event: Any) -> None:
        self.go(with_changes(self.state, masks=tuple(name for name, box in self._masks.items() if box.value)))
        self._refresh_soon()

    def _open(self, **typed: str) -> None:
        """Show what a user typed."""
        values = {}
        for name, text in typed.items():
            if not (text.strip().isascii() and text.strip().isdecimal()):
                self.page.tell(f"{name.capitalize()} is a whole number, not {text[:40]!r}.")
                return
            values[name] = int(text)
        if any(getattr(self.state, name) != value for name, value in values.items()):
            self.go(with_changes(self.state, source=None, **values))
            self._load()

    def _step(self, what: str, by: int) -> None:
        state = self.state
        if state.visit is None or state.detector is None:
            return
        try:
            found = find_neighbour(self.sources, state.instrument, state.visit, state.detector, what, by)
        except self.sources.failures as error:
            self.page.tell(str(error))
            return
        if found is None:
            self.page.tell(f"There is no {'next' if by > 0 else 'previous'} {what} with a difference image.")
            return
        self.go(with_changes(state, visit=found.visit, detector=found.detector, source=None))
        # The state has these values already, so that the inputs do not load them again.
        self._visit.value, self._detector.value = str(found.visit), str(found.detector)
        self._load()

    def _on_range(self, attribute: str, old: float, new: float) -> None:
        self._refresh_soon()

    def _on_select(self, attribute: str, old: list[int], new: list[int]) -> None:
        ids = self._overlays.sources.data["id"]
        chosen = int(ids[new[0]]) if new and new[0] < len(ids) else None
        if chosen != self.state.source:
            self.go(with_changes(self.state, source=chosen))
            self._show_selected()

    # Content

    def _load(self) -> None:
        """Open the images that the state names."""
        state = self.state
        self.page.tell()
        self._data = DetectorData()
        if state.visit is None or state.detector is None:
            self._heading.object = "<h1>Detector</h1>Type a visit and a detector, or choose one of a night."
        else:
            try:
                self._data = load_detector(
                    self.sources, state.instrument, state.visit, state.detector, state.collection
                )
            except self.sources.failures as error:
                self.page.tell(str(error))
            self._describe()
        self._stretch()
        self._place_view()
        self._show_sources()
        self._refresh()

    def _describe(self) -> None:
        state, data = self.state, self._data
        band = f", {escaped(data.filter)}" if data.filter else ""
        visit_link = escaped(link("visit", visit=state.visit, instrument=state.instrument or None))
        self._heading.object = (
            f'<h1>Visit <a href="{visit_link}">{state.visit}</a>, detector {state.detector}{band}</h1>'
        )
        for role, caption in self._captions.items():
            name = data.types.get(role, "missing")
            caption.object = f"<b>{role}</b> <small>{escaped(name)}</small>"
        outcome, details = describe_outcome(self.sources, state.visit, state.detector, state.instrument)
        if data.problems:
            # Why something is missing is what the worker said of it.
            self.page.tell(*data.problems, *([outcome] if outcome else []))
        rows = {"collection": data.collection or "none found"}
        self._details.object = facts(rows) + details

    def _stretch(self) -> None:
        state = self.state
        science: tuple[float, float] | None = None
        for role, panel in self._panels.items():
            image = self._data.images.get(role)
            if image is None:
                continue
            try:
                low, high = limits(image.sample(), state.scale, symmetric=panel.symmetric)
            except OSError as error:
                self.page.tell(f"{self._data.types[role]} cannot be read: {error}")
                continue
            if role == "science":
                science = low, high
            elif (
                role == "template" and science is not None and self._data.types["science"] != "post_isr_image"
            ):
                # The same grey is the same flux in both.
                low, high = science
            panel.stretch(low, high, state.curve)

    def _size(self) -> tuple[int, int]:
        shapes = [image.shape for image in self._data.images.values()]
        return shapes[0] if shapes else (100, 100)

    def _place_view(self) -> None:
        height, width = self._size()
        state = self.state
        size = state.size or 1.0 * max(height, width)
        x = (width - 1) / 2 if state.x is None else state.x
        y = (height - 1) / 2 if state.y is None else state.y
        self._set_view(x, y, size)

    def _set_view(self, x: float, y: float, size: float) -> None:
        self._x_range.update(start=x - size / 2, end=x + size / 2)
        self._y_range.update(start=y - size / 2, end=y + size / 2)

    def _region(self) -> Region:
        return Region(self._x_range.start, self._x_range.end, self._y_range.start, self._y_range.end)

    def _zoom(self, factor: float) -> None:
        region = self._region()
        size = max((region.x_max - region.x_min) * factor, 8.0)
        self._set_view((region.x_min + region.x_max) / 2, (region.y_min + region.y_max) / 2, size)

    def _pan(self, right: float, up: float) -> None:
        region = self._region()
        size = region.x_max - region.x_min
        self._set_view(
            (region.x_min + region.x_max) / 2 + right * size,
            (region.y_min + region.y_max) / 2 + up * size,
            size,
        )

    def _whole(self) -> None:
        self.go(with_changes(self.state, x=None, y=None, size=None))
        self._place_view()

    def _refresh_soon(self) -> None:
        """Read new tiles when the view has come to rest."""
        document = bokeh.io.curdoc()
        if self._pending is None and document.session_context is not None:
            self._pending = document.add_timeout_callback(self._refresh_later, _DEBOUNCE_MS)

    async def _refresh_later(self) -> None:
        self._pending = None
        self._wanted += 1
        wanted = self._wanted
        region, masks, most = self._region(), self.state.masks, self._most()
        tiles, mask = await asyncio.to_thread(self._read, region, masks, most)
        # A view that has moved on is read again by its own callback.
        if wanted == self._wanted:
            self._show(tiles, mask)
            self._remember(region)

    def _refresh(self) -> None:
        self._show(*self._read(self._region(), self.state.masks, self._most()))

    def _most(self) -> int:
        return _BLINK_TILE if self.state.mode == "blink" else _TILE

    def _read(
        self, region: Region, masks: tuple[str, ...], most: int
    ) -> tuple[dict[str, Tile | None], Tile | None]:
        tiles: dict[str, Tile | None] = dict.fromkeys(self._panels)
        mask = None
        wide = region.padded(_MARGIN)
        for role, image in self._data.images.items():
            try:
                tiles[role] = image.tile(wide, round(most * (1 + 2 * _MARGIN)))
            except OSError as error:
                _LOG.warning("Cannot read a tile of %s: %s", image.name, error)
        if masks:
            for role in ("difference", "science"):
                found = self._data.images.get(role)
                if found is not None and "MASK" in found.sections.planes:
                    bits = found.tile(wide, round(most * (1 + 2 * _MARGIN)), "MASK")
                    mask = Tile(
                        mask_colours(bits.values, masks),
                        bits.x,
                        bits.y,
                        bits.width,
                        bits.height,
                        bits.binning,
                    )
                    break
        return tiles, mask

    def _show(self, tiles: Mapping[str, Tile | None], mask: Tile | None) -> None:
        for role, panel in self._panels.items():
            panel.show(tiles[role])
        self._overlays.mask.data = to_source(mask)
        self._show_sky()

    def _show_sky(self) -> None:
        """Send the sky at the corners and the middle of the view, from which the page's script interpolates."""
        wcs = self._data.wcs
        if wcs is None:
            self._set_tags([])
            return
        region = self._region()
        middle_x, middle_y = (region.x_min + region.x_max) / 2, (region.y_min + region.y_max) / 2
        xs = [middle_x, region.x_max, middle_x]
        ys = [middle_y, middle_y, region.y_max]
        lon, lat = wcs.pixel_to_world_values(xs, ys)
        self._set_tags([float(one) for one in (*lon, *lat, middle_x, middle_y)])

    def _set_tags(self, sky: list[float]) -> None:
        for made in (self._blink, *(panel.figure for panel in self._panels.values())):
            made.tags = sky

    def _remember(self, region: Region) -> None:
        """Write the place into the address."""
        height, width = self._size()
        size = region.x_max - region.x_min
        if size >= max(height, width) * 0.999 and self.state.size is None:
            return
        self.go(
            with_changes(
                self.state,
                x=round((region.x_min + region.x_max) / 2, 1),
                y=round((region.y_min + region.y_max) / 2, 1),
                size=round(size, 1),
            )
        )

    def _show_sources(self) -> None:
        table = self._data.sources
        empty: dict[str, Any] = {name: [] for name in self._overlays.sources.data}
        if (
            table is None
            or self.state.marks == "none"
            or not {"x", "y", "diaSourceId"} <= set(table.colnames)
        ):
            self._overlays.sources.data = empty
        else:
            self._overlays.sources.data = source_columns(table, self.state.marks)
        ids = list(self._overlays.sources.data["id"])
        chosen = str(self.state.source)
        self._overlays.sources.selected.indices = [ids.index(chosen)] if chosen in ids else []
        self._show_selected()

    def _show_selected(self) -> None:
        table = self._data.sources
        row = None
        if table is not None and self.state.source is not None and "diaSourceId" in table.colnames:
            found = [i for i, one in enumerate(table["diaSourceId"]) if int(one) == self.state.source]
            row = table[found[0]] if found else None
        self._stamp_row.visible = row is not None
        if row is None:
            return
        x, y = float(row["x"]), float(row["y"])
        half = _STAMP // 2
        region = Region(round(x) - half, round(x) + half, round(y) - half, round(y) + half)
        for role, stamp in self._stamps.items():
            image = self._data.images.get(role)
            try:
                stamp.show(None if image is None else image.tile(region, 2 * _STAMP))
            except OSError as error:
                self.page.tell(f"{self._data.types[role]} cannot be read: {error}")
        shown = {name: row[name] for name in _SOURCE_FACTS if name in row.colnames}
        object_id = int(row["diaObjectId"]) if "diaObjectId" in row.colnames and row["diaObjectId"] else None
        links = [f'<a href="{escaped(link("object", source=self.state.source))}">source and packet</a>']
        if object_id:
            links.append(f'<a href="{escaped(link("object", object=object_id))}">object {object_id}</a>')
        sky = sexagesimal(float(row["ra"]), float(row["dec"])) if "ra" in row.colnames else ""
        self._selected.object = (
            f"<h2>DiaSource {self.state.source}</h2>{escaped(sky)} &nbsp; {' &nbsp; '.join(links)}"
            + facts({name: value for name, value in shown.items()})
        )


_SOURCE_FACTS = (
    "x", "y", "snr", "psfFlux", "psfFluxErr", "apFlux", "scienceFlux", "templateFlux", "reliability", "extendedness",
    "isDipole", "isNegative", "band", "ssObjectId",
)  # fmt: skip
