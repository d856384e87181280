"""The page without its content."""

from __future__ import annotations

from typing import Any

from dash import dcc, html

from .snapshot import N_FOCAL_PLANES

__all__ = ["REFRESH_MS", "page"]

REFRESH_MS = 2000

_CONFIG: dict[str, Any] = {"displayModeBar": False, "responsive": True, "scrollZoom": False}


def page() -> html.Div:
    """Return the layout."""
    return html.Div(
        [
            dcc.Location(id="url", refresh=False),
            dcc.Interval(id="tick", interval=REFRESH_MS),
            html.A("Skip to the failures", href="#failures", className="skip"),
            html.Header(
                [
                    html.H1(id="heading", children="Night board"),
                    html.Nav(id="choices", **{"aria-label": "Nights and instruments"}),
                    html.P(id="status", children="loading…"),
                ]
            ),
            html.Div(id="notice", role="status", **{"aria-live": "polite"}),
            html.Main(
                [
                    html.Section(
                        html.Dl(id="tiles"), className="wide", **{"aria-label": "Visit-detectors by state"}
                    ),
                    _panel("Visit-detectors over time", "progress"),
                    _panel("From the image to its last alert, by visit", "delay"),
                    _panel("Seconds by stage", "stages"),
                    _panel("Alerts", "alerts"),
                    html.Section(
                        [
                            html.H2("The newest visits"),
                            html.Div(
                                [_focal_plane(n) for n in range(N_FOCAL_PLANES)], className="focal-planes"
                            ),
                        ],
                        className="panel wide",
                    ),
                    _list("Last visits", "visits"),
                    _list("Last failures", "errors", anchor="failures"),
                ]
            ),
            html.Footer("All times are UTC. The page refreshes by itself."),
        ]
    )


def _panel(title: str, name: str) -> html.Section:
    return html.Section(
        [html.H2(title, id=f"{name}-title"), _graph(name, "graph")],
        className="panel",
        **{"aria-labelledby": f"{name}-title"},
    )


def _focal_plane(n: int) -> html.Figure:
    graph = _graph(f"focal-plane-{n}", "focal-plane")
    return html.Figure([html.Figcaption(id=f"focal-plane-{n}-title"), graph])


def _graph(name: str, kind: str) -> html.Div:
    # Plotly takes the size of the element around it.
    return html.Div(dcc.Graph(id=name, config=_CONFIG), className=kind)


def _list(title: str, name: str, anchor: str = "") -> html.Section:
    return html.Section(
        # Scrollable by keyboard on a narrow screen.
        [
            html.H2(title),
            html.Div(id=name, className="rows", tabIndex=0, role="region", **{"aria-label": title}),
        ],
        className="panel wide",
        **({"id": anchor} if anchor else {}),
    )
