"""The detector view: science, template and difference of a visit's detector."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar

import bokeh.io
import panel as pn

from ..layout import column, markup
from ..live import while_watched
from ..page import Page, View
from ..remarks.panel import RemarkPanel
from ..remarks.store import RemarkError, subject_of
from ..sources import Sources
from ..text import escaped, facts
from ..url_state import link, with_changes
from .below import Below, BelowImages
from .controls import Controls
from .data import DetectorData, find_neighbour, load_detector
from .outcome import describe_outcome
from .panels import legend
from .screen import Screen
from .selected import SelectedSource
from .state import DetectorState

__all__ = ["DetectorView"]

_DEBOUNCE_MS = 70
_RETRY_MS = 5000
_ZOOM = 1.6
_PAN = 0.25


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
        "l": "plots, log",
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
        self._loading = True
        self._stretched = False
        self._failed = False
        self._heading, self._details = markup(), markup()
        self._controls = Controls(state, self._open, self._step, self._choose)
        self._screen = Screen(self._refresh_soon, self._select)
        self._selected = SelectedSource(self._screen.panels)
        self._below = BelowImages(sources, state.below, self._choose_below)
        self._remarks = RemarkPanel(sources.remarks, page.tell)
        self._screen.arrange(state.mode)
        self._layout = column(
            self._heading,
            self._controls.row(),
            self._screen.content,
            markup(legend()),
            self._controls.mask_row(),
            self._selected.content,
            self._below.content,
            self._remarks.content,
            self._details,
        )
        self._load()
        while_watched(self._retry, _RETRY_MS)

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
                self._controls.mode.value = "side" if self.state.mode == "blink" else "blink"
            case "s":
                self._controls.marks.value = "reliability" if self.state.marks == "none" else "none"
            case "l":
                order: tuple[Below, ...] = ("", "plots", "log")
                self._choose_below(order[(order.index(self.state.below) + 1) % len(order)])
            case "+" | "-":
                self._screen.move(zoom=_ZOOM if key == "-" else 1 / _ZOOM)
            case "0":
                self.go(with_changes(self.state, x=None, y=None, size=None))
                self._place()
            case "ArrowLeft":
                self._screen.move(right=-_PAN)
            case "ArrowRight":
                self._screen.move(right=_PAN)
            case "ArrowUp":
                self._screen.move(up=_PAN)
            case "ArrowDown":
                self._screen.move(up=-_PAN)

    def _choose(self, field: str, value: Any) -> None:
        self.go(with_changes(self.state, **{field: value}))
        match field:
            case "mode":
                self._screen.arrange(self.state.mode)
                self._refresh_soon()
            case "masks":
                self._refresh_soon()
            case "marks":
                self._mark()
            case _:
                self._stretch()

    def _choose_below(self, what: Below) -> None:
        if what != self.state.below:
            self.go(with_changes(self.state, below=what))
            self._show_below()

    def _show_below(self) -> None:
        try:
            self._below.show(self._data, self.state.exposure, self.state.detector, self.state.below)
        except self.sources.failures as error:
            self.page.tell(str(error))

    def _open(self, visit: str, detector: str) -> None:
        """Show what a user typed."""
        if not (detector.isascii() and detector.isdecimal() and len(detector) < 9):
            self.page.tell(f"A detector is a whole number, not {detector[:40]!r}.")
            return
        if (visit, int(detector)) != (self.state.visit, self.state.detector):
            self.go(with_changes(self.state, visit=visit, detector=int(detector), source=None))
            self._load()

    def _step(self, what: str, by: int) -> None:
        state = self.state
        if state.exposure is None or state.detector is None:
            return
        try:
            found = find_neighbour(self.sources, state.instrument, state.exposure, state.detector, what, by)
        except self.sources.failures as error:
            self.page.tell(str(error))
            return
        if found is None:
            self.page.tell(f"There is no {'next' if by > 0 else 'previous'} {what} with a difference image.")
            return
        self.go(with_changes(state, visit=str(found.visit), detector=found.detector, source=None))
        # The state has these values already, so that the inputs do not load them again.
        self._controls.show(str(found.visit), found.detector)
        self._load()

    def _select(self, source: int | None) -> None:
        # Loading a detector replaces the marks, which is not a selection by a user.
        if not self._loading and source != self.state.source:
            self.go(with_changes(self.state, source=source))
            self._show_selected()

    def _load(self) -> None:
        """Open the images that the state names."""
        state = self.state
        self._loading = True
        self._failed = False
        self.page.tell()
        self._data = DetectorData()
        if not state.visit or state.detector is None:
            self._heading.object = "<h1>Detector</h1>Type a visit and a detector, or choose one of a night."
        else:
            self._describe(state.detector)
        self._place()
        if self._stretched or pn.state.curdoc is None:
            self._stretch()
            self._screen.show(self._screen.read(self._data, state.masks)(), self._data)
        else:
            # The page comes first: an image that is read for the first time takes seconds.
            self._refresh_soon()
        self._mark()
        self._show_below()
        self._loading = False

    def _retry(self) -> None:
        """Load again if the repository did not answer."""
        if self._failed:
            self._load()

    def _describe(self, detector: int) -> None:
        state = self.state
        problems: list[str] = []
        if state.exposure is not None:
            try:
                self._data = load_detector(
                    self.sources, state.instrument, state.exposure, detector, state.collection
                )
            except self.sources.failures as error:
                problems.append(str(error))
                self._failed = self.sources.places.repository is not None
        data = self._data
        address = escaped(link("visit", visit=state.visit, instrument=state.instrument or None))
        filter_name = f", {escaped(data.filter)}" if data.filter else ""
        self._heading.object = (
            f'<h1>Visit <a href="{address}">{escaped(state.visit)}</a>, detector {detector}{filter_name}</h1>'
        )
        self._screen.name({role: escaped(name) for role, name in data.types.items()})
        key: int | str = state.visit if state.exposure is None else state.exposure
        outcome, details = describe_outcome(self.sources, key, detector, state.instrument)
        problems += data.problems
        if (problems or not data.images) and outcome:
            # Why something is missing is what the worker said of it.
            problems.append(outcome)
        self.page.tell(*problems)
        if state.exposure is not None and (instrument := state.instrument or data.instrument):
            self._show_remarks(instrument, state.exposure, detector)
        self._details.object = facts({"collection": data.collection or "none found"}) + details

    def _show_remarks(self, instrument: str, visit: int, detector: int) -> None:
        try:
            subject = subject_of("detector", instrument=instrument, visit=visit, detector=detector)
        except RemarkError as error:
            self.page.tell(f"There are no remarks: {error}.")
            return
        self._remarks.show("detector", subject, f"visit {visit}, detector {detector}")

    @staticmethod
    def _sample(data: DetectorData) -> None:
        """Read what limits are computed from, which is kept."""
        for image in data.images.values():
            try:
                image.sample()
            except OSError:
                # Said when the limits are set.
                continue

    def _stretch(self) -> None:
        self._stretched = True
        try:
            self._screen.stretch(self._data, self.state.scale, self.state.curve)
        except OSError as error:
            self.page.tell(f"An image cannot be read: {error}")

    def _mark(self) -> None:
        self._screen.mark(self._data.sources, self.state.marks, self.state.source)
        self._show_selected()

    def _show_selected(self) -> None:
        try:
            self._selected.show(self._data, self.state.source)
        except OSError as error:
            self.page.tell(f"An image cannot be read: {error}")

    def _size(self) -> tuple[int, int]:
        shapes = [image.shape for image in self._data.images.values()]
        return shapes[0] if shapes else (100, 100)

    def _place(self) -> None:
        """Move to the place that the state names."""
        height, width = self._size()
        state = self.state
        self._screen.place(
            (width - 1) / 2 if state.x is None else state.x,
            (height - 1) / 2 if state.y is None else state.y,
            state.size or float(max(height, width)),
        )

    def _refresh_soon(self) -> None:
        """Read new tiles when the view has come to rest."""
        document = bokeh.io.curdoc()
        if self._pending is None and document.session_context is not None:
            self._pending = document.add_timeout_callback(self._refresh, _DEBOUNCE_MS)

    async def _refresh(self) -> None:
        self._pending = None
        self._wanted += 1
        wanted, data, region = self._wanted, self._data, self._screen.region
        read = self._screen.read(data, self.state.masks)
        if not self._stretched:
            await asyncio.to_thread(self._sample, data)
        tiles = await asyncio.to_thread(read)
        # A view that has moved on is read again by its own callback.
        if wanted == self._wanted and data is self._data:
            if not self._stretched:
                self._stretch()
            self._screen.show(tiles, data)
            self._remember(region.x_min, region.x_max, region.y_min, region.y_max)

    def _remember(self, x_min: float, x_max: float, y_min: float, y_max: float) -> None:
        """Write the place into the address."""
        size = x_max - x_min
        if size >= 0.999 * max(self._size()) and self.state.size is None:
            return
        x, y = round((x_min + x_max) / 2, 1), round((y_min + y_max) / 2, 1)
        self.go(with_changes(self.state, x=x, y=y, size=round(size, 1)))
