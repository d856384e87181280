"""The changing parts of the page, by the id of the element that shows them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from dash import html

from prompt_processing.nights.records import Detector, State, Visit

from . import figures
from .snapshot import N_FOCAL_PLANES, Snapshot

__all__ = ["ELEMENTS", "is_silent", "view_of"]

_SILENT_AFTER_S = 30.0
_MARKS = {
    State.WAITING: "○",
    State.PROCESSING: "◆",
    State.LATE: "▲",
    State.DONE: "■",
    State.SKIPPED: "◉",
    State.FAILED: "✕",
}
_LONGEST_REASON = 300

ELEMENTS: tuple[tuple[str, str], ...] = (
    ("heading", "children"),
    ("choices", "children"),
    ("notice", "children"),
    ("tiles", "children"),
    ("progress", "figure"),
    ("delay", "figure"),
    ("stages", "figure"),
    ("alerts", "figure"),
    *((f"focal-plane-{n}", "figure") for n in range(N_FOCAL_PLANES)),
    *((f"focal-plane-{n}-title", "children") for n in range(N_FOCAL_PLANES)),
    ("visits", "children"),
    ("errors", "children"),
)
"""Ids and properties, in the order of `view_of`'s result."""


def view_of(snapshot: Snapshot, now: float) -> dict[str, Any]:
    """Return the content of the page.

    Parameters
    ----------
    snapshot
        What to show.
    now
        Unix seconds, UTC.

    Returns
    -------
    view
        Content by id, for each of `ELEMENTS`. Texts in dash's components are never read as HTML.
    """
    view: dict[str, Any] = {
        "heading": _heading(snapshot),
        "choices": _choices(snapshot),
        "notice": _notice(snapshot, now),
        "tiles": _tiles(snapshot),
        "progress": figures.progress(snapshot.timeline, now),
        "delay": figures.latency_by_visit(snapshot.latency_by_visit),
        "stages": figures.latency(snapshot.latencies),
        "alerts": figures.alerts(snapshot.timeline),
        "visits": _visits(snapshot.visits),
        "errors": _errors(snapshot.errors),
    }
    for n in range(N_FOCAL_PLANES):
        if n < len(snapshot.detectors):
            visit = snapshot.visits[n]
            view[f"focal-plane-{n}"] = figures.focal_plane(visit.instrument, snapshot.detectors[n])
            view[f"focal-plane-{n}-title"] = f"{visit.visit or visit.group}, {_clock(visit.announced)}"
        else:
            view[f"focal-plane-{n}"] = figures.focal_plane("", [])
            view[f"focal-plane-{n}-title"] = "—"
    return view


def is_silent(snapshot: Snapshot, now: float) -> bool:
    """Return whether no projector has looked for outcomes recently."""
    return snapshot.night is not None and now - snapshot.projected > _SILENT_AFTER_S


def _heading(snapshot: Snapshot) -> str:
    if snapshot.night is None:
        return "Night board"
    instrument = snapshot.choice.instrument or ", ".join(snapshot.instruments)
    return f"{instrument} {_day(snapshot.night)}".strip()


def _choices(snapshot: Snapshot) -> list[Any]:
    days = list(dict.fromkeys(one.night for one in snapshot.nights))
    links = [_link("newest night", None, snapshot.choice.instrument, snapshot.choice.night is None)]
    links += [
        _link(_day(day), day, snapshot.choice.instrument, snapshot.choice.night == day) for day in days[:7]
    ]
    groups = [html.Span(links, className="group", role="group", **{"aria-label": "Night"})]
    if len(snapshot.instruments) > 1:
        names = [None, *snapshot.instruments]
        of_names = [
            _link(name or "all instruments", snapshot.choice.night, name, name == snapshot.choice.instrument)
            for name in names
        ]
        groups.append(html.Span(of_names, className="group", role="group", **{"aria-label": "Instrument"}))
    return groups


def _link(text: str, night: int | None, instrument: str | None, chosen: bool) -> html.A:
    query = {"night": None if night is None else _day(night), "instrument": instrument}
    given = urlencode({name: value for name, value in query.items() if value is not None})
    current = {"aria-current": "page"} if chosen else {}
    return html.A(text, href=f"?{given}", className="chosen" if chosen else "", **current)


def _notice(snapshot: Snapshot, now: float) -> Any:
    if snapshot.problem:
        since = f"The data are of {_clock(snapshot.read)} UTC. " if snapshot.read else ""
        return html.P([html.Strong(f"▲ {since}"), snapshot.problem], className="warning")
    if snapshot.night is None:
        return html.P("The database has no night yet.", className="calm")
    if is_silent(snapshot, now):
        when = datetime.fromtimestamp(snapshot.projected, UTC).strftime("%Y-%m-%d %H:%M:%S")
        text = f"No projector has looked for outcomes since {when} UTC: the page shows what was known then."
        return html.P([html.Strong("▲ "), text], className="warning")
    return None


def _tiles(snapshot: Snapshot) -> list[Any]:
    counts = {state: snapshot.states.get(state, 0) for state in State}
    tiles = [
        html.Div(
            [html.Dt([html.Span(_MARKS[state], className="mark"), f" {state.value}"]), html.Dd(f"{n:,}")],
            className=f"tile {state.value}" + ("" if n else " none"),
        )
        for state, n in counts.items()
    ]
    alerts = html.Div([html.Dt("alerts"), html.Dd(f"{snapshot.n_alerts:,}")], className="tile")
    return [*tiles, alerts]


def _visits(visits: Sequence[Visit]) -> Any:
    rows = [
        [
            _clock(one.announced),
            str(one.visit or one.group),
            one.filter,
            *(f"{n:,}" if (n := one.states[state]) else "" for state in State),
            f"{one.n_sources:,}",
            f"{one.n_alerts:,}",
            f"{one.seconds['arrival_to_alert']:.1f}" if "arrival_to_alert" in one.seconds else "",
        ]
        for one in visits
    ]
    heads = [
        "announced",
        "visit",
        "filter",
        *(state.value for state in State),
        "sources",
        "alerts",
        "delay [s]",
    ]
    return _table(heads, rows, numbers=range(3, len(heads))) if rows else html.P("No visit yet.")


def _errors(errors: Sequence[Detector]) -> Any:
    rows = [
        [
            "" if one.ended is None else _clock(one.ended),
            str(one.visit or one.group),
            str(one.detector),
            f"{_MARKS[one.state]} {one.state.value}",
            one.reason if len(one.reason) <= _LONGEST_REASON else f"{one.reason[:_LONGEST_REASON]}…",
        ]
        for one in errors
    ]
    heads = ["ended", "visit", "detector", "state", "reason"]
    return _table(heads, rows, numbers=[2]) if rows else html.P("None.")


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int]) -> Any:
    def classes(column: int) -> str:
        return "number" if column in numbers else heads[column]

    head = html.Tr([html.Th(name, scope="col", className=classes(n)) for n, name in enumerate(heads)])
    body = [html.Tr([html.Td(text, className=classes(n)) for n, text in enumerate(row)]) for row in rows]
    return html.Table([html.Thead(head), html.Tbody(body)])


def _day(night: int) -> str:
    return f"{night // 10_000:04d}-{night // 100 % 100:02d}-{night % 100:02d}"


def _clock(unix_utc: float) -> str:
    return datetime.fromtimestamp(unix_utc, UTC).strftime("%H:%M:%S")
