"""Figures of the board, as plain data for plotly."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any

from prompt_processing.nights.records import Detector, Minute, Percentiles, State, VisitLatency

from .focal_plane import positions

__all__ = ["COLOURS", "SYMBOLS", "alerts", "focal_plane", "latency", "latency_by_visit", "progress"]

Figure = dict[str, Any]

COLOURS = {
    State.WAITING: "#8a8a8a",
    State.PROCESSING: "#0072b2",
    State.LATE: "#e69f00",
    State.DONE: "#009e73",
    State.SKIPPED: "#a05a8c",
    State.FAILED: "#d55e00",
}
"""Okabe and Ito's colours, which colour-blind people tell apart; each state has a symbol as well."""
SYMBOLS = {
    State.WAITING: "circle-open",
    State.PROCESSING: "diamond",
    State.LATE: "triangle-up",
    State.DONE: "square",
    State.SKIPPED: "circle-dot",
    State.FAILED: "x",
}
_DELAY = "arrival_to_alert"
_FONT = {"family": "system-ui, sans-serif", "size": 13, "color": "#1b1f24"}
_LEGEND = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}
_GRID = "#e3e6ea"
_LONGEST_HOVER = 160
_SHORT_S = 600.0
_EMPTY = "#eceef1"


def progress(minutes: Sequence[Minute], now: float) -> Figure:
    """Draw the numbers of visit-detectors that are outstanding, done and failed.

    Parameters
    ----------
    minutes
        Numbers of each minute.
    now
        Unix seconds, UTC: the end of the lines, for a night that is not over.
    """
    ends = [one.start + 60.0 for one in minutes]
    done = list(accumulate(one.done for one in minutes))
    failed = list(accumulate(one.failed for one in minutes))
    outstanding = list(accumulate(one.announced - one.done - one.skipped - one.failed for one in minutes))
    if ends and ends[-1] < now < ends[-1] + 3600:
        ends.append(now)
        done, failed, outstanding = ([*line, line[-1]] for line in (done, failed, outstanding))
    if minutes:
        ends.insert(0, minutes[0].start)
        done, failed, outstanding = ([0, *line] for line in (done, failed, outstanding))
    x = [_time(end) for end in ends]
    lines = [
        _line("done", x, done, COLOURS[State.DONE], "solid"),
        _line("outstanding", x, outstanding, COLOURS[State.PROCESSING], "dash"),
        _line("failed", x, failed, COLOURS[State.FAILED], "dot"),
    ]
    # Apart: what is done grows all night, and what is outstanding stays small.
    for line in lines[1:]:
        line["yaxis"] = "y2"
    return _figure(
        lines,
        yaxis=_axis("done", rangemode="tozero", domain=[0.5, 1.0]),
        yaxis2=_axis("open, failed", rangemode="tozero", domain=[0.0, 0.42]),
        xaxis={**_time_axis(ends), "anchor": "y2"},
    )


def alerts(minutes: Sequence[Minute]) -> Figure:
    """Draw the number of alerts by minute."""
    bars = {
        "type": "bar",
        "x": [_time(one.start + 30.0) for one in minutes],
        "y": [one.alerts for one in minutes],
        "marker": {"color": COLOURS[State.DONE]},
        "hovertemplate": "%{y} alerts<extra></extra>",
    }
    layout = {
        "yaxis": _axis("alerts per minute", rangemode="tozero"),
        "xaxis": _time_axis([one.start for one in minutes]),
        "bargap": 0.1,
    }
    return _figure([bars], showlegend=False, **layout)


def latency_by_visit(visits: Sequence[VisitLatency]) -> Figure:
    """Draw the seconds from the image's arrival to the last alert, by visit."""
    known = [one for one in visits if _DELAY in one.p50]
    x = [_time(one.announced) for one in known]
    lines = [
        _line("95 %", x, [one.p95[_DELAY] for one in known], COLOURS[State.FAILED], "dot", "lines+markers"),
        _line(
            "50 %", x, [one.p50[_DELAY] for one in known], COLOURS[State.PROCESSING], "solid", "lines+markers"
        ),
    ]
    names = [_escaped(str(one.visit or one.group)) for one in known]
    axis = _time_axis([one.announced for one in known])
    for line in lines:
        line |= {"text": names, "hovertemplate": "%{text}: %{y:.1f} s<extra>%{fullData.name}</extra>"}
    return _figure(lines, yaxis=_axis("image to alert [s]", rangemode="tozero"), xaxis=axis)


def latency(stages: Mapping[str, Percentiles]) -> Figure:
    """Draw percentiles of seconds by stage."""
    names = [_escaped(stage.replace("_", " ")) for stage in reversed(list(stages))]
    found = list(reversed(list(stages.values())))
    bars = {
        "type": "bar",
        "orientation": "h",
        "name": "50 %",
        "y": names,
        "x": [one.p50 for one in found],
        "marker": {"color": COLOURS[State.PROCESSING]},
        "hovertemplate": "%{y}: %{x:.2f} s<extra>50 %</extra>",
    }
    marks = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "y": names,
            "x": [getattr(one, percentile) for one in found],
            "marker": {"color": colour, "symbol": symbol, "size": 10},
            "hovertemplate": f"%{{y}}: %{{x:.2f}} s<extra>{name}</extra>",
        }
        for name, percentile, symbol, colour in (
            ("95 %", "p95", "diamond", COLOURS[State.LATE]),
            ("99 %", "p99", "x", COLOURS[State.FAILED]),
        )
    ]
    return _figure(
        [bars, *marks],
        xaxis=_axis("seconds", rangemode="tozero"),
        yaxis={"automargin": True, "ticksuffix": "  ", "fixedrange": True},
    )


def focal_plane(instrument: str, detectors: Sequence[Detector]) -> Figure:
    """Draw the state of each detector where it is in the camera.

    Parameters
    ----------
    instrument
        Short name; the detectors of an unknown one are drawn in a grid.
    detectors
        Detectors of a visit.
    """
    places = positions(instrument, [one.detector for one in detectors])
    size = max(6.0, min(30.0, 220.0 / max(1.0, len(places)) ** 0.5))
    others = sorted(set(places) - {one.detector for one in detectors})
    empty = {
        "type": "scatter",
        "mode": "markers",
        "x": [places[one][0] for one in others],
        "y": [places[one][1] for one in others],
        "marker": {"color": _EMPTY, "symbol": "square", "size": size},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    traces: list[Figure] = [empty] if others else []
    for state in State:
        of_state = [one for one in detectors if one.state is state]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": state.value,
                "showlegend": bool(of_state),
                "x": [places[one.detector][0] for one in of_state],
                "y": [places[one.detector][1] for one in of_state],
                "text": [_hover(one, places[one.detector][2]) for one in of_state],
                "hovertemplate": "%{text}<extra></extra>",
                "marker": {
                    "color": COLOURS[state],
                    "symbol": SYMBOLS[state],
                    "size": size,
                    "line": {"width": 1.5, "color": "#ffffff" if state is State.DONE else COLOURS[state]},
                },
            }
        )
    hidden = {"visible": False, "fixedrange": True}
    return _figure(
        traces,
        xaxis=hidden,
        yaxis={**hidden, "scaleanchor": "x"},
        hovermode="closest",
        legend={**_LEGEND, "itemsizing": "constant"},
        margin={"l": 4, "r": 4, "t": 4, "b": 4},
    )


def _hover(detector: Detector, name: str) -> str:
    text = f"<b>{_escaped(name)}</b> {detector.state.value}"
    if detector.reason:
        shown = detector.reason[:_LONGEST_HOVER]
        text += "<br>" + "<br>".join(_escaped(shown[n : n + 60]) for n in range(0, len(shown), 60))
    return text


def _escaped(text: str) -> str:
    # Plotly reads texts as a kind of HTML, and %{...} in them as a variable.
    return html.escape(text).replace("%{", "%\u200b{")


def _line(
    name: str, x: Sequence[str], y: Sequence[float], colour: str, dash: str, mode: str = "lines"
) -> Figure:
    return {
        "type": "scatter",
        "mode": mode,
        "name": name,
        "x": x,
        "y": y,
        "line": {"color": colour, "dash": dash, "width": 2},
        "marker": {"size": 5},
    }


def _axis(title: str, **options: Any) -> Figure:
    return {"title": {"text": title}, "gridcolor": _GRID, "zeroline": False, "automargin": True, **options}


def _time_axis(times: Sequence[float]) -> Figure:
    short = bool(times) and max(times) - min(times) < _SHORT_S
    form = "%H:%M:%S" if short else "%H:%M"
    return {"type": "date", "tickformat": form, "gridcolor": _GRID, "title": {"text": "UTC"}}


def _figure(traces: Sequence[Figure], **layout: Any) -> Figure:
    return {
        "data": list(traces),
        "layout": {
            "font": _FONT,
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "margin": {"l": 56, "r": 12, "t": 8, "b": 40},
            "legend": _LEGEND,
            "hovermode": "x unified",
            # A viewer's zoom survives the next refresh.
            "uirevision": "board",
            **layout,
        },
    }


def _time(unix_utc: float) -> str:
    return datetime.fromtimestamp(unix_utc, UTC).strftime("%Y-%m-%dT%H:%M:%S")
