"""The view of nights: a calendar, and one row a visit."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import panel as pn

from prompt_processing.domain.clock import day_text
from prompt_processing.nights.records import Freshness, Night, Visit

from ..layout import checkbox, column, markup, wrapped_row
from ..live import while_watched
from ..page import Page, View, link
from ..sources import Sources
from ..text import escaped, number, sexagesimal, table, utc
from ..url_state import to_query, with_changes
from .calendar import months
from .from_repository import KeptNight, kept_nights, kept_visits
from .quality import QUALITY
from .states import state_bar

__all__ = ["NightState", "NightView"]

_N_NIGHTS = 100
_N_VISITS = 100
_POLL_MS = 2500
_SILENT_AFTER_S = 30.0
_COLUMNS = (
    "announced (UTC)", "visit", "filter", "survey", "position", "detectors", "alerts", "DiaSources",
    "pipeline p95 (s)",
)  # fmt: skip
_METRICS = dict(list(QUALITY.items())[:3])


@dataclass(frozen=True, slots=True)
class NightState:
    """State of the view.

    Attributes
    ----------
    night, instrument
        What is shown; by default the newest night.
    filter, survey, problems
        Which visits: of a filter, of a survey, with failed detectors.
    after
        Where the page of visits begins.
    """

    night: int | None = None
    instrument: str = ""
    filter: str = ""
    survey: str = ""
    problems: bool = False
    after: str = ""


class NightView(View):
    """Nights, and the visits of one."""

    name = "nights"
    title = "Nights"
    state_type = NightState
    keys: ClassVar[Mapping[str, str]] = {"n": "next night", "p": "previous night"}

    def __init__(self, page: Page, sources: Sources, state: NightState) -> None:
        super().__init__(page, sources, state)
        self.state: NightState = state
        self._cursor: int | None = None
        self._failed = False
        self._calendar, self._heading, self._visits, self._more = markup(), markup(), markup(), markup()
        self._fresh = markup()
        self._seen = "–"
        self._nights: list[int] = []
        self._filter = pn.widgets.TextInput(label="Filter", value=state.filter, width=110, margin=(2, 6))
        self._survey = pn.widgets.TextInput(label="Survey", value=state.survey, width=140, margin=(2, 6))
        self._problems = checkbox("only visits with failures", state.problems, margin=(24, 6, 2, 6))
        for widget in (self._filter, self._survey, self._problems):
            widget.param.watch(self._on_filter, "value")
        self._layout = column(
            self._calendar,
            self._heading,
            self._fresh,
            wrapped_row(self._filter, self._survey, self._problems),
            self._visits,
            self._more,
        )
        self._refresh()
        if sources.places.nights is not None:
            while_watched(self._poll, _POLL_MS)

    @property
    def content(self) -> Any:
        """The page."""
        return self._layout

    def on_key(self, key: str) -> None:
        """Show the next or previous night."""
        earlier_first = sorted(self._nights)
        if self.state.night in earlier_first:
            place = earlier_first.index(self.state.night) + (1 if key == "n" else -1)
            if 0 <= place < len(earlier_first):
                self.go(with_changes(self.state, night=earlier_first[place], after=""))
                self._refresh()

    def _on_filter(self, event: Any) -> None:
        changes = {
            "filter": self._filter.value.strip(),
            "survey": self._survey.value.strip(),
            "problems": bool(self._problems.value),
        }
        self.go(with_changes(self.state, after="", **changes))
        self._refresh()

    def _poll(self) -> None:
        """Draw again if the database has changed; say since when it is old if it cannot be read."""
        try:
            fresh = self.sources.freshness()
            if fresh.cursor != self._cursor:
                self._refresh()
            self._show_age(fresh)
            if self._failed:
                self._failed = False
                self.page.tell()
        except self.sources.failures as error:
            self._failed = True
            self.page.tell(f"{error} What is shown is of {self._seen}.")

    def _show_age(self, fresh: Freshness) -> None:
        self._seen = f"{utc(fresh.projected)} UTC"
        silent = time.time() - fresh.projected > _SILENT_AFTER_S
        words = (
            f"No projector has looked for outcomes since {self._seen}." if silent else f"As of {self._seen}."
        )
        self._fresh.object = f"<small>{'▲ ' if silent else ''}{words}</small>"

    def _refresh(self) -> None:
        if self.sources.places.nights is None:
            self._show_repository()
            return
        nights = self.sources.nights()
        freshness = self.sources.freshness()
        self._cursor = freshness.cursor
        self._show_age(freshness)
        rows = nights.nights(_N_NIGHTS, instrument=self.state.instrument or None).rows
        self._nights = sorted({row.night for row in rows})
        chosen = self.state.night or (rows[0].night if rows else None)
        if chosen is None:
            self._heading.object = "<h1>Nights</h1>The database has no nights yet."
            return
        # Not written into the address: the newest night of tomorrow is another one.
        self.state = with_changes(self.state, night=chosen)
        self._calendar.object = months(_notes(rows), chosen, self._address)
        self._heading.object = "".join(
            [
                f"<h1>Night {day_text(chosen)}</h1>",
                *(
                    f"<p>{escaped(row.instrument)}: {row.n_visits} visits, {state_bar(row.states)}, "
                    f"{row.n_alerts} alerts, {row.n_sources} DiaSources, {utc(row.first, '%H:%M')} to "
                    f"{utc(row.last, '%H:%M')} UTC</p>"
                    for row in rows
                    if row.night == chosen
                ),
            ]
        )
        found = nights.visits(
            chosen,
            _N_VISITS,
            instrument=self.state.instrument or None,
            filter=self.state.filter or None,
            survey=self.state.survey or None,
            problems=self.state.problems,
            after=self.state.after or None,
        )
        head = (*_COLUMNS, *_METRICS.values())
        self._visits.object = (
            table(head, [_row(visit) for visit in found.rows]) if found.rows else "No visits."
        )
        more = with_changes(self.state, after=found.next or "")
        self._more.object = (
            f'<a href="{escaped(self.name + to_query(more))}">Earlier visits</a>' if found.next else ""
        )

    def _show_repository(self) -> None:
        """Show what the repository has."""
        with self.sources.butler() as butler:
            nights = kept_nights(butler)
            self._nights = sorted({one.night for one in nights})
            chosen = self.state.night or (nights[0].night if nights else None)
            shown = {one: kept_visits(butler, one) for one in nights if one.night == chosen}
        if chosen is None:
            self._heading.object = "<h1>Nights</h1>The repository has no outputs of prompt processing."
            return
        self.state = with_changes(self.state, night=chosen)
        self._calendar.object = months({one.night: one.chain for one in nights}, chosen, self._address)
        self._heading.object = (
            f"<h1>Night {day_text(chosen)}</h1><p>There is no database of nights: these are the visits with "
            "difference images in the repository.</p>"
        )
        self._visits.object = "".join(_kept_table(night, visits) for night, visits in shown.items())

    def _address(self, night: int) -> str:
        return self.name + to_query(with_changes(self.state, night=night, after=""))


def _kept_table(night: KeptNight, visits: Any) -> str:
    rows = []
    for one in visits:
        address = escaped(link("visit", visit=one.visit, instrument=night.instrument))
        rows.append([f'<a href="{address}">{one.visit}</a>', str(one.n_detectors)])
    return table(("visit", "detectors with a difference image"), rows, f"{night.instrument}: {night.chain}")


def _notes(rows: Any) -> dict[int, str]:
    notes: dict[int, str] = {}
    row: Night
    for row in rows:
        before = notes.get(row.night)
        note = f"{row.instrument}: {row.n_visits} visits, {row.n_alerts} alerts"
        notes[row.night] = note if before is None else f"{before}; {note}"
    return notes


def _row(visit: Visit) -> list[str]:
    key = visit.visit or visit.group
    position = "" if visit.ra is None or visit.dec is None else sexagesimal(visit.ra, visit.dec)
    address = link("visit", visit=key, instrument=visit.instrument)
    return [
        utc(visit.announced, "%H:%M:%S"),
        f'<a href="{escaped(address)}">{escaped(key)}</a>',
        escaped(visit.filter),
        escaped(visit.survey),
        position,
        state_bar(visit.states),
        str(visit.n_alerts),
        str(visit.n_sources),
        number(visit.seconds.get("pipeline"), 3),
        *(number(visit.metrics.get(name), 4) for name in _METRICS),
    ]
