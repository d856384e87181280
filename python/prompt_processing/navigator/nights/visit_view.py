"""The view of a visit: its focal plane, its stages in time, and one row a detector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import panel as pn

from prompt_processing.domain.clock import day_text
from prompt_processing.nights.records import Detector, Visit

from ..layout import column, grid, markup, wrapped_row
from ..live import while_watched
from ..page import Page, View, link
from ..sources import Sources
from ..text import escaped, facts, number, sexagesimal, table, utc
from ..url_state import with_changes
from .from_repository import kept_detectors
from .quality import QUALITY
from .states import chip, state_bar
from .visit_figures import STAGES, STYLE, focal_plane, numbers_of, stage_legend, time_line

__all__ = ["VisitState", "VisitView"]

_POLL_MS = 2500
_MOST_DETECTORS = 500


@dataclass(frozen=True, slots=True)
class VisitState:
    """State of the view.

    Attributes
    ----------
    instrument, visit
        What is shown; the visit is an exposure id or a group.
    metric
        ``state``, or what colours the detectors.
    """

    instrument: str = ""
    visit: str = ""
    metric: str = "state"


class VisitView(View):
    """One visit."""

    name = "visit"
    title = "Visit"
    state_type = VisitState
    keys: ClassVar[Mapping[str, str]] = {"n": "next visit", "p": "previous visit", "m": "next metric"}

    def __init__(self, page: Page, sources: Sources, state: VisitState) -> None:
        super().__init__(page, sources, state)
        self.state: VisitState = state
        self._cursor: int | None = None
        self._seen: float | None = None
        self._failed = False
        self._visit: Visit | None = None
        self._values: dict[str, dict[int, float]] = {}
        self._detectors: Sequence[Detector] = ()
        self._heading, self._table, self._legend = markup(), markup(), markup()
        self._plane, self._line = markup(), markup()
        for one in (self._plane, self._line):
            one.stylesheets = [*one.stylesheets, STYLE]
        self._metric = pn.widgets.Select(
            label="Colour", options=["state"], value="state", width=280, margin=(2, 6)
        )
        self._typed = pn.widgets.TextInput(
            label="Visit or group", value=state.visit, width=240, margin=(2, 6)
        )
        self._metric.param.watch(self._on_metric, "value")
        self._typed.param.watch(self._on_typed, "value")
        self._layout = column(
            self._heading,
            wrapped_row(self._typed, self._metric),
            self._legend,
            grid(column(self._plane), column(self._line), narrowest=340),
            self._table,
        )
        self._refresh()
        if sources.places.nights is not None:
            while_watched(self._poll, _POLL_MS)

    @property
    def content(self) -> Any:
        """The page."""
        return self._layout

    def on_key(self, key: str) -> None:
        """Show another visit or another metric."""
        if key == "m":
            options = list(self._metric.options)
            self._metric.value = options[(options.index(self._metric.value) + 1) % len(options)]
            return
        if self._visit is None:
            return
        try:
            before, after = self.sources.nights().neighbours(self._visit)
        except self.sources.failures as error:
            self.page.tell(str(error))
            return
        found = after if key == "n" else before
        if found is None:
            self.page.tell(f"There is no {'next' if key == 'n' else 'previous'} visit.")
            return
        self._open(str(found.visit or found.group), found.instrument)

    def _open(self, visit: str, instrument: str) -> None:
        self.page.tell()
        self.go(with_changes(self.state, visit=visit, instrument=instrument))
        self._typed.value = visit
        self._refresh()

    def _on_typed(self, event: Any) -> None:
        if event.new.strip() != self.state.visit:
            self._open(event.new.strip(), "")

    def _on_metric(self, event: Any) -> None:
        self.go(with_changes(self.state, metric=event.new))
        self._draw()

    def _poll(self) -> None:
        """Draw again if the database has changed."""
        try:
            fresh = self.sources.freshness()
            self._seen = fresh.projected
            if fresh.cursor != self._cursor:
                self._refresh()
            if self._failed:
                self._failed = False
                self.page.tell()
        except self.sources.failures as error:
            self._failed = True
            self.page.tell(f"{error} What is shown is of {utc(self._seen)} UTC.")

    def _refresh(self) -> None:
        visit = self.state.visit
        if not visit:
            self._heading.object = (
                '<h1>Visit</h1>Type a visit, or choose one of a <a href="nights">night</a>.'
            )
            return
        if self.sources.places.nights is None:
            self._show_repository()
            return
        nights = self.sources.nights()
        fresh = self.sources.freshness()
        self._cursor, self._seen = fresh.cursor, fresh.projected
        key: int | str = int(visit) if visit.isascii() and visit.isdecimal() and len(visit) < 19 else visit
        instrument = self.state.instrument or None
        self._visit = nights.visit(key, instrument=instrument)
        if self._visit is None:
            self._heading.object = f"<h1>Visit {escaped(visit)}</h1>The database of nights does not know it."
            return
        self._detectors = nights.detectors(key, instrument=instrument, limit=_MOST_DETECTORS)
        self._values = numbers_of(self._detectors)
        self._describe(self._visit)
        self._draw()

    def _describe(self, visit: Visit) -> None:
        night = link("nights", night=visit.night)
        position = None if visit.ra is None or visit.dec is None else sexagesimal(visit.ra, visit.dec)
        self._heading.object = (
            f"<h1>Visit {escaped(visit.visit or visit.group)}</h1>"
            f'<p>{escaped(visit.instrument)}, <a href="{escaped(night)}">night {day_text(visit.night)}</a>, '
            f"announced {utc(visit.announced)} UTC: {state_bar(visit.states)}</p>"
            + facts(
                {
                    "group": visit.group,
                    "filter": visit.filter,
                    "survey": visit.survey,
                    "position": position,
                    "rotation (deg)": visit.rotation,
                    "alerts": visit.n_alerts,
                    "DiaSources": visit.n_sources,
                    **{
                        label: visit.metrics[name] for name, label in QUALITY.items() if name in visit.metrics
                    },
                }
            )
        )

    def _draw(self) -> None:
        options = ["state", *self._values]
        if list(self._metric.options) != options:
            self._metric.options = options
        metric = self.state.metric if self.state.metric in options else "state"
        self._metric.value = metric
        instrument = self._visit.instrument if self._visit else self.state.instrument
        addresses = {one.detector: self._address(one.detector) for one in self._detectors}
        self._plane.object = focal_plane(
            instrument, self._detectors, metric, self._values.get(metric, {}), addresses
        )
        line = time_line(self._detectors)
        self._line.object = f"<p>{stage_legend()}</p>{line}" if line else ""
        states = sorted({one.state.value for one in self._detectors})
        self._legend.object = " &nbsp; ".join(chip(state) for state in states) if metric == "state" else ""
        head = (
            "detector",
            "state",
            "reason",
            "alerts",
            "DiaSources",
            *STAGES,
            *([metric] if metric != "state" else []),
        )
        self._table.object = table(head, [self._row(one, metric) for one in self._detectors])

    def _row(self, one: Detector, metric: str) -> list[str]:
        value = [] if metric == "state" else [number(self._values.get(metric, {}).get(one.detector))]
        return [
            f'<a href="{escaped(self._address(one.detector))}">{one.detector}</a>',
            chip(one.state.value),
            escaped(one.reason, 160),
            str(one.n_alerts),
            self._sources_of(one),
            *(number(one.stages.get(name), 3) for name in STAGES),
            *value,
        ]

    def _sources_of(self, one: Detector) -> str:
        """Return the number of DiaSources, which leads to them where there is an APDB."""
        if self.sources.places.apdb is None or one.visit is None or not one.n_sources:
            return str(one.n_sources)
        address = link("object", visit=one.visit, detector=one.detector)
        return f'<a href="{escaped(address)}">{one.n_sources}</a>'

    def _address(self, detector: int) -> str:
        visit: int | str = self.state.visit
        instrument = self.state.instrument
        if self._visit is not None:
            visit, instrument = self._visit.visit or self._visit.group, self._visit.instrument
        return link("detector", visit=visit, detector=detector, instrument=instrument or None)

    def _show_repository(self) -> None:
        """Show what the repository has."""
        visit = self.state.visit
        if not visit.isdecimal():
            self._heading.object = (
                "<h1>Visit</h1>Without a database of nights, a visit is the number of its exposure."
            )
            return
        with self.sources.butler() as butler:
            instrument, numbers = kept_detectors(butler, self.state.instrument, int(visit))
        self._heading.object = (
            f"<h1>Visit {escaped(visit)}</h1><p>{escaped(instrument)}: {len(numbers)} detectors have a "
            "difference image. There is no database of nights.</p>"
        )
        addresses = {one: self._address(one) for one in numbers}
        self._plane.object = focal_plane(
            instrument, (), "difference image", dict.fromkeys(numbers, 1.0), addresses
        )
        self._line.object = ""
        self._table.object = table(
            ("detector",), [[f'<a href="{escaped(addresses[one])}">{one}</a>'] for one in numbers]
        )
