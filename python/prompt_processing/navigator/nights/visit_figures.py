"""Focal plane and time line of a visit, as SVG: they are on the screen with the page, and are links."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from bokeh.palettes import Viridis256
from numpy.typing import NDArray

from prompt_processing.instruments.camera import described_camera, load_camera
from prompt_processing.nights.records import Detector
from prompt_processing.tasks.plots.focal_plane import outline

from ..colours import CATEGORIES, STATE_MARKERS, STATES
from ..text import escaped
from .quality import quality_first

__all__ = ["STAGES", "STYLE", "focal_plane", "numbers_of", "stage_legend", "time_line"]

STAGES = ("queue", "preload", "wait", "ingest", "pipeline", "alerts", "export")
_ABSENT = "#ffffff"
_WIDTH = 1000
"""Width of the time line in its own unit; the browser stretches it."""
_ROW_PX, _MOST_PX = 22, 300
_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000, 20_000, 100_000)
_MOST_TICKS = 8

STYLE = """
.plane { display: block; width: 100%; max-width: 640px; max-height: 640px; }
.plane path { stroke: #44505c; vector-effect: non-scaling-stroke; }
.plane text { fill: #14202b; text-anchor: middle; dominant-baseline: central; pointer-events: none; }
.plane a:hover path, .plane a:focus path { stroke: #e69f00; stroke-width: 3; }
.bar { display: inline-block; width: 160px; height: 10px; margin: 0 6px; }
.line { position: relative; margin: 4px 8px 20px 0; }
.line svg { display: block; width: 100%; border: 1px solid #d0d7de; box-sizing: border-box; }
.line rect { fill: none; pointer-events: all; }
.line rect:hover { fill: #e69f00; fill-opacity: 0.35; }
.line .tick { position: absolute; top: 100%; transform: translateX(-50%); font-size: 12px; color: #45505c; }
"""


def numbers_of(detectors: Sequence[Detector]) -> dict[str, dict[int, float]]:
    """Return everything that can be drawn, by name and detector: metrics, seconds and counts."""
    found: dict[str, dict[int, float]] = {}
    for one in detectors:
        values: dict[str, float | None] = {
            **one.metrics,
            **{f"seconds of {name}": value for name, value in one.stages.items()},
            **one.counts,
            "alerts": one.n_alerts,
            "DiaSources": one.n_sources,
            "arrival to last alert (s)": one.arrival_to_alert,
        }
        for name, value in values.items():
            if value is not None and math.isfinite(value):
                found.setdefault(name, {})[one.detector] = float(value)
    return {name: found[name] for name in quality_first(found)}


def focal_plane(
    instrument: str,
    detectors: Sequence[Detector],
    metric: str,
    values: Mapping[int, float],
    addresses: Mapping[int, str],
) -> str:
    """Return the detectors in their places, coloured by state or by a number, each a link to its images.

    Parameters
    ----------
    instrument
        Short name; an unknown camera's detectors lie in a square.
    detectors
        Detectors of the visit.
    metric
        ``state``, or the name of the values.
    values
        Value by detector.
    addresses
        Address of the detector view by detector.
    """
    by_id = {one.detector: one for one in detectors}
    places = _places(instrument, tuple(sorted(by_id.keys() | addresses.keys())))
    if not places:
        return ""
    finite = [value for value in values.values() if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    parts = []
    for number, (name, corners) in places.items():
        one = by_id.get(number)
        value = values.get(number)
        state = one.state.value if one else "not in this visit"
        if metric == "state":
            colour = STATES.get(state, _ABSENT)
        else:
            colour = _ABSENT if value is None else _shade(value, low, high)
        words = [f"detector {number} {name}".rstrip(), state]
        if value is not None and metric != "state":
            words.append(f"{metric}: {value:.5g}")
        if one is not None and one.reason:
            words.append(one.reason)
        # SVG's y points down.
        path = "L".join(f"{x:.1f} {-y:.1f}" for x, y in corners)
        shape = f'<path d="M{path}z" fill="{colour}"/>'
        mark = STATE_MARKERS.get(state, "") if metric == "state" and state != "done" else ""
        if mark:
            # Colour alone does not say it.
            x, y = corners.mean(axis=0)
            size = 0.6 * float(min(np.ptp(corners, axis=0)))
            shape += f'<text x="{x:.1f}" y="{-y:.1f}" font-size="{size:.2f}">{mark}</text>'
        name = f'data-words="{escaped(", ".join(words))}"'
        address = addresses.get(number)
        if address:
            # By keyboard, the table below has the same links.
            name += f' href="{escaped(address)}" aria-label="{escaped(words[0])}" tabindex="-1"'
        parts.append(f"<a {name}>{shape}</a>" if address else f"<g {name}>{shape}</g>")
    every = np.concatenate([corners for _, corners in places.values()])
    (left, bottom), (right, top) = every.min(axis=0), every.max(axis=0)
    margin = 0.01 * max(right - left, top - bottom)
    box = (left - margin, -top - margin, right - left + 2 * margin, top - bottom + 2 * margin)
    label = escaped(f"Focal plane of {len(by_id) or len(addresses)} detectors by {metric}")
    return (
        f'<svg class="plane" viewBox="{" ".join(f"{one:.1f}" for one in box)}" role="group" '
        f'aria-label="{label}">{"".join(parts)}</svg>'
        + (_scale(metric, low, high) if metric != "state" and high > low else "")
    )


def _shade(value: float, low: float, high: float) -> str:
    step = (value - low) / (high - low) if high > low else 0.0
    return str(Viridis256[int(min(max(step, 0.0), 1.0) * 255)])


def _scale(metric: str, low: float, high: float) -> str:
    stops = ", ".join(Viridis256[::17])
    bar = f'<span class="bar" style="background: linear-gradient(to right, {stops})"></span>'
    return f"<div>{low:.4g}{bar}{high:.4g} &nbsp; {escaped(metric)}</div>"


def _places(instrument: str, numbers: tuple[int, ...]) -> dict[int, tuple[str, NDArray[np.float64]]]:
    """Return names and corners of the detectors."""
    if described_camera(instrument) is not None:
        return _places_in_camera(instrument, numbers)
    side = max(1, math.ceil(math.sqrt(len(numbers))))
    square = np.array([[0.0, 0.0], [0.9, 0.0], [0.9, 0.9], [0.0, 0.9]])
    return {
        number: ("", 10 * (square + np.array([place % side, -(place // side)])))
        for place, number in enumerate(numbers)
    }


@lru_cache(maxsize=16)
def _places_in_camera(
    instrument: str, numbers: tuple[int, ...]
) -> dict[int, tuple[str, NDArray[np.float64]]]:
    camera = load_camera(instrument)
    ids = {one.name: number for number, one in camera.detectors.items()}
    # All of the visit's, so that none is left out, and the camera's others for science.
    found = outline(camera, {number: math.nan for number in numbers if number in camera.detectors})
    return {ids[one.name]: (one.name, one.corners) for one in found}


def time_line(detectors: Sequence[Detector]) -> str:
    """Return the stages of each detector in time; empty if none has begun.

    One line for each detector, the first uppermost. The page shows the numbers of the line under the cursor.
    """
    shown = [one for one in detectors if one.began is not None and one.stages]
    if not shown:
        return ""
    bars: list[list[tuple[float, float, int]]] = [[] for _ in CATEGORIES]
    titles = []
    first, last = 0.0, 0.0
    for row, one in enumerate(shown):
        at = (one.began or 0.0) - one.announced
        first = min(first, at)
        # Stages run one after the other; those that this version does not know come last.
        known = [name for name in STAGES if name in one.stages]
        words = []
        for name in [*known, *sorted(set(one.stages) - set(known))]:
            seconds = one.stages[name]
            if not (math.isfinite(seconds) and seconds >= 0):
                continue
            place = STAGES.index(name) if name in STAGES else len(STAGES)
            bars[place % len(CATEGORIES)].append((at, seconds, row))
            words.append(f"{name} {seconds:.2f} s")
            at += seconds
        last = max(last, at)
        titles.append(f"detector {one.detector}: {', '.join(words)}")
    scale = _WIDTH / max(last - first, 0.1)
    drawn = "".join(
        f'<path fill="{colour}" d="'
        + "".join(
            f"M{(at - first) * scale:.1f} {row}.1h{seconds * scale:.1f}v.8h-{seconds * scale:.1f}z"
            for at, seconds, row in of_stage
        )
        + '"/>'
        for colour, of_stage in zip(CATEGORIES, bars, strict=True)
        if of_stage
    )
    lines = "".join(
        f'<rect y="{row}" width="{_WIDTH}" height="1" data-words="{escaped(title)}"/>'
        for row, title in enumerate(titles)
    )
    height = min(_MOST_PX, _ROW_PX * len(shown))
    return (
        f'<div class="line"><svg viewBox="0 0 {_WIDTH} {len(shown)}" preserveAspectRatio="none" '
        f'style="height: {height}px" role="img" aria-label="Stages of {len(shown)} detectors in time; '
        f'the table has their seconds">{drawn}{lines}</svg>{_ticks(first, last)}</div>'
        f"<small>Seconds after the announcement. One line for each detector, {shown[0].detector} to "
        f"{shown[-1].detector}.</small>"
    )


def _ticks(first: float, last: float) -> str:
    width = max(last - first, 0.1)
    step = next((one for one in _STEPS if width / one <= _MOST_TICKS), width)
    found: list[Any] = [
        step * number for number in range(math.ceil(first / step), math.floor(0.97 * last / step) + 1)
    ]
    return "".join(
        f'<span class="tick" style="left: {100 * (one - first) / width:.1f}%">{one:g}</span>' for one in found
    )


def stage_legend() -> str:
    """Return the colours of the stages, as HTML."""
    return " &nbsp; ".join(
        f'<span class="chip" style="background:{colour}">&nbsp;</span>{name}'
        for name, colour in zip(STAGES, CATEGORIES, strict=False)
    )
