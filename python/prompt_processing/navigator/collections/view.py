"""The view of collections: figures of visits, detectors and tracts, of one collection or two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import panel as pn
from sqlalchemy.exc import SQLAlchemyError

from prompt_processing.repository.plots.find import CollectionContent
from prompt_processing.repository.plots.kinds import (
    Place,
    PlotKind,
    PlotRef,
    place_text,
    read_place,
)
from prompt_processing.repository.plots.metrics import metric_differences

from ..layout import BUTTON, FIT, column, markup, wrapped_row
from ..page import Page, View
from ..remarks.panel import RemarkPanel, badges
from ..remarks.store import Remark, RemarkError, SubjectKind, subject_of
from ..sources import Sources
from ..url_state import to_query, with_changes
from .ahead import Ahead, Part
from .choice import usable, words_of
from .headings import MOST_FIGURES, heading, label_of, part_of
from .pictures import STYLE, Compared, compare, figure, figures, metric_table, only_in_one
from .shelf import Which
from .state import CollectionsState, chosen_kinds, stepped

__all__ = ["CollectionsView"]

_MOST_COLUMNS = 6
_ALL = "(all)"
_NONE = "(none)"
_NO_PLOTS = (
    "<h1>Collections</h1><p>The repository has no collection with plots. The flow "
    "<code>draw-night</code> draws those of a night.</p>"
)
_MODES = {
    "beside each other": "side",
    "blinking": "blink",
    "the first": "first",
    "the second": "second",
    "only in one": "only",
    "metrics": "metrics",
}
_TABS = {"Detectors": "detector", "Visits": "visit", "Tracts": "tract", "Whole collection": "global"}


class CollectionsView(View):
    """Figures of a collection."""

    name = "collections"
    title = "Collections"
    state_type = CollectionsState
    scripts: ClassVar[tuple[str, ...]] = ("collections.js",)
    keys: ClassVar[Mapping[str, str]] = {
        "n": "next place",
        "p": "previous place",
        "j": "next plot",
        "k": "previous plot",
        "g": "grid",
        "b": "blink or side by side",
        "1": "first collection",
        "2": "second collection",
        "m": "metrics of both",
        "s": "seen",
        "o": "odd",
    }

    def __init__(self, page: Page, sources: Sources, state: CollectionsState) -> None:
        super().__init__(page, sources, state)
        self.state: CollectionsState = state
        self._shelf = sources.plots
        self._content = CollectionContent((), (), ())
        self._kinds: list[PlotKind] = []
        self._places: list[Place] = []
        self._quiet = False
        self._ahead = Ahead()
        self._heading = markup()
        self._figures = markup()
        self._figures.stylesheets = [*self._figures.stylesheets, STYLE]
        self._remarks = RemarkPanel(sources.remarks, page.tell, self._draw)
        self._make_controls()
        self._inputs = column(
            wrapped_row(self._repo, self._collection, self._other, self._mode),
            wrapped_row(self._tab, self._instrument, self._skymap, self._names, self._columns),
            wrapped_row(self._previous, self._place, self._next),
        )
        shown = (self._heading, self._figures, self._remarks.content, self._ahead.content)
        self._layout = column(self._inputs, *shown)
        self._load()

    @property
    def content(self) -> Any:
        """The page."""
        return self._layout

    def on_key(self, key: str) -> None:
        """Move to another place or plot, or change how two collections are shown."""
        state = self.state
        match key:
            case "n" | "p":
                self._step(1 if key == "n" else -1)
            case "j" | "k":
                names = [one.name for one in self._kinds]
                found = stepped(names, state.plot, 1 if key == "j" else -1)
                if found is not None:
                    self._change(plot=found)
            case "g":
                self._change(plot="")
            case "b":
                self._change(mode="side" if state.mode == "blink" else "blink")
            case "m":
                self._change(mode="side" if state.mode == "metrics" else "metrics")
            case "1" | "2":
                self._change(mode="first" if key == "1" else "second")
            case "s" | "o":
                self._remarks.toggle("seen" if key == "s" else "odd")

    # Inputs

    def _make_controls(self) -> None:
        options: dict[str, Any] = {"margin": (2, 6), "stylesheets": [FIT]}
        self._repo = pn.widgets.Select(label="Repository", width=260, **options)
        self._collection = pn.widgets.Select(label="Collection", width=330, **options)
        self._other = pn.widgets.Select(label="Compare with", width=330, **options)
        self._mode = pn.widgets.Select(label="Two collections", options=_MODES, width=150, **options)
        self._tab = pn.widgets.RadioButtonGroup(label="Plots of", options=_TABS, margin=(20, 6, 2, 6))
        self._instrument = pn.widgets.Select(label="Instrument", width=120, **options)
        self._skymap = pn.widgets.Select(label="Sky map", width=150, **options)
        self._names = pn.widgets.TextInput(
            label="Names (regular expression)", max_length=200, width=220, **options
        )
        self._columns = pn.widgets.Select(
            label="Columns", options=list(range(1, _MOST_COLUMNS + 1)), width=80, **options
        )
        self._place = pn.widgets.Select(label="Place", width=300, **options)
        self._previous = pn.widgets.Button(
            label="◀", width=40, margin=(20, 2), description="previous place", stylesheets=[BUTTON]
        )
        self._next = pn.widgets.Button(
            label="▶", width=40, margin=(20, 2), description="next place", stylesheets=[BUTTON]
        )
        self._previous.on_click(lambda event: self._step(-1))
        self._next.on_click(lambda event: self._step(1))
        for field, widget in (
            ("repo", self._repo),
            ("collection", self._collection),
            ("other", self._other),
            ("mode", self._mode),
            ("tab", self._tab),
            ("instrument", self._instrument),
            ("skymap", self._skymap),
            ("names", self._names),
            ("columns", self._columns),
            ("place", self._place),
        ):
            widget.param.watch(partial(self._on_input, field), "value")

    def _on_input(self, field: str, event: Any) -> None:
        if self._quiet:
            return
        value = "" if event.new in (_ALL, _NONE, None) else event.new
        changes: dict[str, Any] = {field: value}
        # What belongs to the former choice is no longer valid.
        match field:
            case "repo":
                changes |= {
                    "collection": "",
                    "other": "",
                    "instrument": "",
                    "skymap": "",
                    "place": "",
                    "plot": "",
                }
            case "collection":
                changes |= {"instrument": "", "skymap": ""}
            case "tab":
                changes |= {"place": "", "plot": ""}
            case "names":
                changes |= {"plot": ""}
        self._change(**changes)

    def _change(self, **changes: Any) -> None:
        self.page.tell()
        self.go(with_changes(self.state, **changes))
        try:
            self._load()
        except self.sources.failures as error:
            self.page.tell(words_of(error))

    def _step(self, by: int) -> None:
        try:
            current = read_place(self.state.place)
        except ValueError:
            current = ()
        found = stepped(self._places, current, by)
        if found is None:
            self.page.tell(f"There is no {'next' if by > 0 else 'previous'} place.")
        else:
            self._change(place=place_text(found))

    # What is shown

    @property
    def _which(self) -> Which:
        state = self.state
        return Which(state.repo, state.collection, state.instrument, state.skymap)

    def _load(self) -> None:
        """Ask for what the state needs, and draw it."""
        state = self.state
        repositories = self._shelf.repositories()
        if not repositories:
            raise LookupError(
                "No repository is configured: start the navigator with --repo URI, or give a repository "
                "index (DAF_BUTLER_REPOSITORY_INDEX)."
            )
        state, known, notes = usable(self._shelf, repositories, state)
        if not state.collection:
            self._heading.object = _NO_PLOTS
            self._figures.object = ""
            # Other repositories may have plots.
            self._inputs.visible, self._remarks.content.visible = len(repositories) > 1, False
            self._say(notes)
            return
        self._inputs.visible = True
        self.state = state
        self._content = self._shelf.content(self._which)
        self._kinds, problem = chosen_kinds(self._content, state)
        if problem:
            notes.append(problem)
        one = [kind for kind in self._kinds if kind.name == state.plot]
        # Two runs may have metrics, and no plots.
        others = [kind for kind in self._content.metrics if kind.tab == state.tab]
        of_places = one or self._kinds or (others if state.mode == "metrics" else [])
        self._places = self._shelf.places(self._which, of_places) if of_places else []
        try:
            place = read_place(state.place)
        except ValueError as error:
            notes.append(f"The address has an unusable place: {error}.")
            place = ()
        if not place and self._places:
            place = self._places[0]
        self.state = with_changes(
            state, place=place_text(place), columns=min(max(state.columns, 1), _MOST_COLUMNS)
        )
        self._show_inputs(repositories, known)
        self._say(notes)
        self._draw()

    def _say(self, notes: Sequence[str]) -> None:
        # An earlier message stays if there is nothing to say.
        if notes:
            self.page.tell(*notes)

    def _show_inputs(self, repositories: Sequence[str], known: Sequence[str]) -> None:
        state = self.state
        self._quiet = True
        _set(self._repo, repositories, state.repo)
        _set(self._collection, known, state.collection)
        _set(self._other, [_NONE, *known], state.other or _NONE)
        _set(self._instrument, [_ALL, *self._content.instruments], state.instrument or _ALL)
        _set(self._skymap, [_ALL, *self._content.skymaps], state.skymap or _ALL)
        labels = {self._label(one) or "everything": place_text(one) for one in self._places}
        if state.place and state.place not in labels.values():
            labels[self._label(read_place(state.place))] = state.place
        self._place.options = labels
        self._place.value = state.place
        self._tab.value, self._mode.value = state.tab, state.mode
        self._names.value, self._columns.value = state.names, state.columns
        self._mode.visible = bool(state.other)
        self._skymap.visible = state.tab in ("tract", "global")
        self._quiet = False

    def _draw(self) -> None:
        state = self.state
        place = read_place(state.place)
        kinds = [one for one in self._kinds if not state.plot or one.name == state.plot]
        refs = self._shelf.plots(self._which, kinds, place)
        names = (state.collection, state.other)
        pairs: list[Compared] = [(ref, None) for ref in refs]
        if state.other:
            other = with_changes(state, collection=state.other)
            theirs = self._shelf.content(Which(state.repo, state.other))
            kinds, _ = chosen_kinds(theirs, other)
            kinds = [one for one in kinds if not state.plot or one.name == state.plot]
            which = Which(state.repo, state.other, state.instrument, state.skymap)
            pairs = compare(refs, self._shelf.plots(which, kinds, place))
        self._heading.object = heading(self.name, state, len(pairs), self._label(place))
        self._ahead.clear()
        self._show_remarks(pairs, place)
        remarks = self._remarks_on(pairs)
        mode = state.mode if state.other else "single"
        if mode == "metrics":
            found = [self._shelf.metrics(Which(state.repo, name), place) for name in names]
            self._figures.object = metric_table(metric_differences(found[0], found[1]), names)
            return
        if mode == "only":
            addresses = {one.kind: self._address(one) for pair in pairs for one in pair if one is not None}
            self._figures.object = only_in_one(pairs, names, addresses)
            return
        shown = [
            figure(
                pair,
                mode,
                names,
                self._picture,
                place,
                address="" if state.plot else self._address(_some(pair)),
                badge=badges(remarks.get(self._subject(_some(pair)), ())),
                large=bool(state.plot),
            )
            for pair in pairs[:MOST_FIGURES]
        ]
        columns = 1 if state.plot and len(shown) == 1 else state.columns
        self._figures.object = figures(shown, columns)
        self._prepare_neighbours(place)

    def _prepare_neighbours(self, place: Place) -> None:
        """Have the figures of the next and the previous place read, once those of this one are sent."""
        state, which, document = self.state, self._which, pn.state.curdoc
        if document is None:
            return
        kinds = [one for one in self._kinds if not state.plot or one.name == state.plot]
        steps = {key: stepped(self._places, place, by) for key, by in (("n", 1), ("p", -1))}
        around = {key: found for key, found in steps.items() if found is not None}
        labels = {key: self._label(one) for key, one in around.items()}
        send = None
        if state.plot and not state.other:

            def make() -> dict[str, Part]:
                found = {key: self._shelf.plots(which, kinds, one) for key, one in around.items()}
                return {
                    key: part_of(self.name, state, found[key], one, labels[key], self._picture)
                    for key, one in around.items()
                }

            send = self._ahead.send_from(document, make)
        prepare = partial(self._shelf.prepare, which, kinds, list(around.values()), send)
        document.add_next_tick_callback(prepare)

    def _label(self, place: Place) -> str:
        return label_of(place, self._content)

    def _address(self, ref: PlotRef) -> str:
        return f"{self.name}{to_query(with_changes(self.state, plot=ref.kind))}"

    def _picture(self, number: int, ref: PlotRef) -> tuple[bytes, str]:
        return self._shelf.picture(self.state.repo, ref)

    # Remarks

    def _subject(self, ref: PlotRef) -> str:
        return subject_of("plot", repo=self.state.repo, id=ref.id)

    def _remarks_on(self, pairs: Sequence[Compared]) -> Mapping[str, Sequence[Remark]]:
        desk = self.sources.remarks
        if not desk.configured:
            return {}
        try:
            return desk.store().remarks("plot", [self._subject(_some(pair)) for pair in pairs])
        except (SQLAlchemyError, RemarkError):
            # The panel of remarks says so.
            return {}

    def _show_remarks(self, pairs: Sequence[Compared], place: Place) -> None:
        """Show the remarks on the only figure, or else on the detector."""
        self._remarks.content.visible = False
        kind: SubjectKind = "plot"
        if self.state.plot and pairs:
            subject, label = self._subject(_some(pairs[0])), _some(pairs[0]).kind
        elif {"visit", "detector"} <= dict(place).keys():
            kind, label = "detector", self._label(place)
            subject = subject_of("detector", **dict(place))
        else:
            return
        self._remarks.content.visible = self.sources.remarks.configured
        self._remarks.show(kind, subject, label)


def _set(widget: Any, options: Sequence[str], value: str) -> None:
    """Offer some values, and the current one even if it is not one of them."""
    widget.options = list(options) if value in options else [*options, value]
    widget.value = value


def _some(pair: Compared) -> PlotRef:
    ref = pair[0] or pair[1]
    assert ref is not None
    return ref
