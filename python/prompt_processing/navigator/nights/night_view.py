"""The view of nights: a calendar, and one row a visit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from prompt_processing.domain.clock import day_text
from prompt_processing.nights.records import Night, Visit

from ..plain import Content, PlainView, typed
from ..sources import Sources
from ..text import escaped, number, sexagesimal, table, utc
from ..url_state import link, to_query, with_changes
from .calendar import months
from .from_repository import KeptNight, KeptVisit, kept_nights, kept_visits
from .quality import QUALITY
from .states import state_bar

__all__ = ["NightState", "NightView"]

_N_NIGHTS = 100
_N_VISITS = 100
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


class NightView(PlainView):
    """Nights, and the visits of one."""

    name = "nights"
    title = "Nights"
    state_type = NightState
    keys: ClassVar[Mapping[str, str]] = {"n": "next night", "p": "previous night"}

    @staticmethod
    def content(sources: Sources, state: NightState) -> Content:
        """Return the calendar, and the visits of the chosen or the newest night."""
        if sources.places.nights is None:
            return _of_repository(sources, state)
        nights = sources.nights()
        instrument = state.instrument or None
        rows = nights.nights(_N_NIGHTS, instrument=instrument).rows
        # Not in the addresses of the filters: the newest night of tomorrow is another one.
        chosen = state.night or (rows[0].night if rows else None)
        if chosen is None:
            return Content({"heading": "<h1>Nights</h1>The database has no nights yet."})
        found = nights.visits(
            chosen,
            _N_VISITS,
            instrument=instrument,
            filter=state.filter or None,
            survey=state.survey or None,
            problems=state.problems,
            after=state.after or None,
        )
        head = (*_COLUMNS, *_METRICS.values())
        more = escaped(NightView.name + to_query(with_changes(state, night=chosen, after=found.next or "")))
        return Content(
            {
                "calendar": months(_notes(rows), chosen, lambda night: _address(state, night)),
                "heading": _heading(chosen, rows),
                "fields": _fields(state),
                "visits": table(head, [_row(one) for one in found.rows]) if found.rows else "No visits.",
                "more": f'<a href="{more}">Earlier visits</a>' if found.next else "",
            },
            _neighbours(state, chosen, {row.night for row in rows}),
        )


def _heading(chosen: int, rows: Sequence[Night]) -> str:
    lines = (
        f"<p>{escaped(row.instrument)}: {row.n_visits} visits, {state_bar(row.states)}, "
        f"{row.n_alerts} alerts, {row.n_sources} DiaSources, {utc(row.first, '%H:%M')} to "
        f"{utc(row.last, '%H:%M')} UTC</p>"
        for row in rows
        if row.night == chosen
    )
    return f"<h1>Night {day_text(chosen)}</h1>" + "".join(lines)


def _fields(state: NightState) -> str:
    """Return the filters; the fields without a label keep what the address says besides."""
    kept = {"night": state.night, "instrument": state.instrument}
    hidden = "".join(
        f'<input type="hidden" name="{name}" value="{escaped(value, 2000)}">'
        for name, value in kept.items()
        if value
    )
    checked = " checked" if state.problems else ""
    return (
        f'<form class="fields">{hidden}{typed("Filter", "filter", state.filter, 110)}'
        f"{typed('Survey', 'survey', state.survey, 140)}"
        f'<label class="check"><input type="checkbox" name="problems" value="1"{checked}>'
        "only visits with failures</label></form>"
    )


def _of_repository(sources: Sources, state: NightState) -> Content:
    """Return what the repository has."""
    with sources.butler() as butler:
        nights = kept_nights(butler)
        chosen = state.night or (nights[0].night if nights else None)
        shown = {one: kept_visits(butler, one) for one in nights if one.night == chosen}
    if chosen is None:
        return Content({"heading": "<h1>Nights</h1>The repository has no outputs of prompt processing."})
    notes = {one.night: one.chain for one in nights}
    heading = (
        f"<h1>Night {day_text(chosen)}</h1><p>There is no database of nights: these are the visits with "
        "difference images in the repository.</p>"
    )
    return Content(
        {
            "calendar": months(notes, chosen, lambda night: _address(state, night)),
            "heading": heading,
            "visits": "".join(_kept_table(night, visits) for night, visits in shown.items()),
        },
        _neighbours(state, chosen, set(notes)),
    )


def _address(state: NightState, night: int) -> str:
    return NightView.name + to_query(with_changes(state, night=night, after=""))


def _neighbours(state: NightState, chosen: int, nights: set[int]) -> dict[str, str]:
    """Return the addresses of the nights after and before one, by key."""
    later = [one for one in nights if one > chosen]
    earlier = [one for one in nights if one < chosen]
    found = {"n": min(later)} if later else {}
    if earlier:
        found["p"] = max(earlier)
    return {key: _address(state, night) for key, night in found.items()}


def _kept_table(night: KeptNight, visits: Sequence[KeptVisit]) -> str:
    rows = []
    for one in visits:
        address = escaped(link("visit", visit=one.visit, instrument=night.instrument))
        rows.append([f'<a href="{address}">{one.visit}</a>', str(one.n_detectors)])
    return table(("visit", "detectors with a difference image"), rows, f"{night.instrument}: {night.chain}")


def _notes(rows: Sequence[Night]) -> dict[int, str]:
    notes: dict[int, str] = {}
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
