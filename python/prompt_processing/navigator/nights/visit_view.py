"""The view of a visit: its focal plane, its stages in time, and one row a detector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from prompt_processing.domain.clock import day_text
from prompt_processing.nights.reading import Nights
from prompt_processing.nights.records import Detector, Visit

from ..plain import Content, PlainView, choices, typed
from ..sources import Sources
from ..text import escaped, facts, number, sexagesimal, table, utc
from ..url_state import link, to_query, with_changes
from .from_repository import kept_detectors
from .quality import QUALITY
from .states import chip, state_bar
from .visit_figures import STAGES, STYLE, focal_plane, numbers_of, stage_legend, time_line

__all__ = ["VisitState", "VisitView"]

_MOST_DETECTORS = 500
_LONGEST_ID = 19
"""Digits of what may be larger than a database's numbers."""


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


class VisitView(PlainView):
    """One visit."""

    name = "visit"
    title = "Visit"
    state_type = VisitState
    keys: ClassVar[Mapping[str, str]] = {"n": "next visit", "p": "previous visit", "m": "next metric"}
    style = STYLE

    @staticmethod
    def content(sources: Sources, state: VisitState) -> Content:
        """Return the focal plane, the stages in time, and one row a detector."""
        text = state.visit.strip()
        if not text:
            heading = '<h1>Visit</h1>Type a visit, or choose one of a <a href="nights">night</a>.'
            return Content({"heading": heading, "fields": _fields(state)})
        if sources.places.nights is None:
            return _of_repository(sources, state, text)
        nights = sources.nights()
        key: int | str = (
            int(text) if text.isascii() and text.isdecimal() and len(text) < _LONGEST_ID else text
        )
        instrument = state.instrument or None
        visit = nights.visit(key, instrument=instrument)
        if visit is None:
            heading = f"<h1>Visit {escaped(text)}</h1>The database of nights does not know it."
            return Content({"heading": heading, "fields": _fields(state)})
        detectors = nights.detectors(key, instrument=instrument, limit=_MOST_DETECTORS)
        return _of_visit(visit, detectors, state, nights, with_sources=sources.places.apdb is not None)


def _of_visit(
    visit: Visit, detectors: Sequence[Detector], state: VisitState, nights: Nights, *, with_sources: bool
) -> Content:
    values = numbers_of(detectors)
    metrics = ["state", *values]
    metric = state.metric if state.metric in metrics else "state"
    shown = values.get(metric, {})
    name = str(visit.visit or visit.group)
    addresses = {one.detector: _detector(name, one.detector, visit.instrument) for one in detectors}
    line = time_line(detectors)
    legend = f"<p>{stage_legend()}</p>" if line else ""
    states = sorted({one.state.value for one in detectors})
    more = [metric] if metric != "state" else []
    head = ("detector", "state", "reason", "alerts", "DiaSources", *STAGES, *more)
    rows = [
        [
            f'<a href="{escaped(addresses[one.detector])}">{one.detector}</a>',
            chip(one.state.value),
            escaped(one.reason, 160),
            str(one.n_alerts),
            _sources_of(one) if with_sources else str(one.n_sources),
            *(number(one.stages.get(stage), 3) for stage in STAGES),
            *(number(shown.get(one.detector)) for _ in more),
        ]
        for one in detectors
    ]
    plane = focal_plane(visit.instrument, detectors, metric, shown, addresses)
    return Content(
        {
            "heading": _heading(visit),
            "fields": _fields(state, metrics, metric),
            "legend": " &nbsp; ".join(chip(one) for one in states) if metric == "state" else "",
            "figures": f'<div class="beside"><div>{plane}</div><div>{legend}{line}</div></div>',
            "detectors": table(head, rows),
        },
        _neighbours(visit, nights, state, metrics[(metrics.index(metric) + 1) % len(metrics)]),
    )


def _neighbours(visit: Visit, nights: Nights, state: VisitState, metric: str) -> dict[str, str]:
    """Return the addresses of the next metric, and of the visits before and after one, by key."""
    found = {"m": with_changes(state, metric=metric)}
    for key, other in zip("pn", nights.neighbours(visit), strict=True):
        if other is not None:
            name = str(other.visit or other.group)
            found[key] = with_changes(state, visit=name, instrument=other.instrument)
    return {key: VisitView.name + to_query(one) for key, one in found.items()}


def _fields(state: VisitState, metrics: Sequence[str] = ("state",), metric: str = "state") -> str:
    instrument = escaped(state.instrument, 2000)
    return (
        f'<form class="fields"><input type="hidden" name="instrument" value="{instrument}">'
        f"{typed('Visit or group', 'visit', state.visit, 240, clears='instrument')}"
        f"{choices('Colour', 'metric', {one: one for one in metrics}, metric, 280)}</form>"
    )


def _heading(visit: Visit) -> str:
    night = link("nights", night=visit.night)
    position = None if visit.ra is None or visit.dec is None else sexagesimal(visit.ra, visit.dec)
    return (
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
                **{label: visit.metrics[name] for name, label in QUALITY.items() if name in visit.metrics},
            }
        )
    )


def _sources_of(one: Detector) -> str:
    """Return the number of DiaSources, which leads to them."""
    if one.visit is None or not one.n_sources:
        return str(one.n_sources)
    address = link("object", visit=one.visit, detector=one.detector)
    return f'<a href="{escaped(address)}">{one.n_sources}</a>'


def _detector(visit: str, detector: int, instrument: str) -> str:
    return link("detector", visit=visit, detector=detector, instrument=instrument or None)


def _of_repository(sources: Sources, state: VisitState, text: str) -> Content:
    """Return what the repository has."""
    if not (text.isascii() and text.isdecimal() and len(text) < _LONGEST_ID):
        heading = "<h1>Visit</h1>Without a database of nights, a visit is the number of its exposure."
        return Content({"heading": heading, "fields": _fields(state)})
    with sources.butler() as butler:
        instrument, numbers = kept_detectors(butler, state.instrument, int(text))
    heading = (
        f"<h1>Visit {escaped(text)}</h1><p>{escaped(instrument)}: {len(numbers)} detectors have a "
        "difference image. There is no database of nights.</p>"
    )
    addresses = {one: _detector(text, one, instrument) for one in numbers}
    rows = [[f'<a href="{escaped(addresses[one])}">{one}</a>'] for one in numbers]
    plane = focal_plane(instrument, (), "difference image", dict.fromkeys(numbers, 1.0), addresses)
    return Content(
        {
            "heading": heading,
            "fields": _fields(state),
            "figures": f'<div class="beside"><div>{plane}</div></div>',
            "detectors": table(("detector",), rows),
        }
    )
