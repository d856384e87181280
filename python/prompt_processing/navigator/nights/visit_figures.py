"""Focal plane and time line of a visit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from bokeh.models import ColorBar, ColumnDataSource, HoverTool, LinearColorMapper, TapTool
from bokeh.palettes import Viridis256
from bokeh.plotting import figure

from prompt_processing.instruments.camera import load_camera
from prompt_processing.nights.records import Detector
from prompt_processing.tasks.plots.focal_plane import outline

from ..colours import CATEGORIES, STATE_MARKERS, STATES

__all__ = ["STAGES", "FocalPlane", "StageLine", "numbers_of", "stage_legend"]

STAGES = ("queue", "preload", "wait", "ingest", "pipeline", "alerts", "export")
_ABSENT = "#ffffff"


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
    return dict(sorted(found.items()))


class FocalPlane:
    """Detectors in their places, coloured by state or by a number."""

    def __init__(self) -> None:
        self.source = ColumnDataSource(
            {
                name: []
                for name in (
                    "xs",
                    "ys",
                    "detector",
                    "name",
                    "state",
                    "reason",
                    "value",
                    "colour",
                    "address",
                    "x",
                    "y",
                    "mark",
                )
            },
            name="focal-plane",
        )
        self._mapper = LinearColorMapper(palette=Viridis256, low=0.0, high=1.0)
        self.figure = figure(
            name="focal-plane-figure",
            match_aspect=True,
            toolbar_location=None,
            tools=[
                TapTool(),
                HoverTool(
                    tooltips=[
                        ("detector", "@detector @name"),
                        ("state", "@state"),
                        ("value", "@value"),
                        ("reason", "@reason"),
                    ]
                ),
            ],
            sizing_mode="scale_width",
            aspect_ratio=1.0,
            max_width=640,
            width=None,
            height=None,
            outline_line_color=None,
            min_border=0,
        )
        self.figure.axis.visible = False
        self.figure.grid.visible = False
        self.figure.patches(
            "xs",
            "ys",
            source=self.source,
            fill_color="colour",
            line_color="#44505c",
            line_width=1,
            hover_line_color="#e69f00",
            hover_line_width=3,
            nonselection_fill_alpha=1.0,
        )
        # Colour alone does not say it.
        self.figure.text(
            "x", "y", text="mark", source=self.source, text_align="center", text_baseline="middle",
            text_color="#14202b", text_font_size="12px",
        )  # fmt: skip
        self._bar = ColorBar(color_mapper=self._mapper, height=8, orientation="horizontal", visible=False)
        self.figure.add_layout(self._bar, "below")

    def show(
        self,
        instrument: str,
        detectors: Sequence[Detector],
        metric: str,
        values: Mapping[int, float],
        addresses: Mapping[int, str],
    ) -> None:
        """Show a visit.

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
        corners, names = _places(instrument, list(by_id))
        finite = [value for value in values.values() if math.isfinite(value)]
        low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
        self._mapper.update(low=low, high=high if high > low else low + 1.0)
        self._bar.visible = metric != "state" and bool(finite)
        columns: dict[str, list[Any]] = {name: [] for name in self.source.data}
        for number, place in corners.items():
            one = by_id.get(number)
            value = values.get(number)
            state = one.state.value if one else "not in this visit"
            if metric == "state":
                colour = STATES.get(state, _ABSENT)
            elif value is None:
                colour = _ABSENT
            else:
                step = (value - low) / (self._mapper.high - low)
                colour = Viridis256[int(np.clip(step, 0, 1) * 255)]
            columns["xs"].append([float(x) for x, _ in place])
            columns["ys"].append([float(y) for _, y in place])
            columns["detector"].append(number)
            columns["name"].append(names.get(number, ""))
            columns["state"].append(state)
            columns["reason"].append((one.reason if one else "")[:200])
            columns["value"].append("" if value is None else f"{value:.5g}")
            columns["colour"].append(colour)
            columns["address"].append(addresses.get(number, ""))
            columns["x"].append(float(np.mean([x for x, _ in place])))
            columns["y"].append(float(np.mean([y for _, y in place])))
            columns["mark"].append(
                STATE_MARKERS.get(state, "") if metric == "state" and state != "done" else ""
            )
        self.source.data = columns


def _places(instrument: str, numbers: Sequence[int]) -> tuple[dict[int, Any], dict[int, str]]:
    """Return corners and names of the detectors."""
    try:
        camera = load_camera(instrument)
    except LookupError:
        side = max(1, math.ceil(math.sqrt(len(numbers))))
        square = np.array([[0.0, 0.0], [0.9, 0.0], [0.9, 0.9], [0.0, 0.9]])
        return {
            number: square + np.array([place % side, -(place // side)])
            for place, number in enumerate(sorted(numbers))
        }, {}
    ids = {one.name: number for number, one in camera.detectors.items()}
    # All of the visit's, so that none is left out, and the camera's others for science.
    found = outline(camera, {number: math.nan for number in numbers if number in camera.detectors})
    return {ids[one.name]: one.corners for one in found}, {ids[one.name]: one.name for one in found}


class StageLine:
    """Stages of each detector in time."""

    def __init__(self) -> None:
        self.source = ColumnDataSource(
            {name: [] for name in ("left", "right", "detector", "stage", "seconds", "colour")}
        )
        self.figure = figure(
            height=300,
            sizing_mode="stretch_width",
            toolbar_location=None,
            tools=[
                HoverTool(
                    tooltips=[("detector", "@detector"), ("stage", "@stage"), ("seconds", "@seconds{0.00}")]
                )
            ],
            x_axis_label="seconds after the announcement",
            y_axis_label="detector",
            min_border_left=60,
        )
        self.figure.ygrid.visible = False
        self.figure.hbar(
            y="detector",
            left="left",
            right="right",
            height=0.8,
            color="colour",
            source=self.source,
        )
        self.figure.yaxis.ticker.min_interval = 1

    def show(self, detectors: Sequence[Detector]) -> None:
        """Show a visit."""
        columns: dict[str, list[Any]] = {name: [] for name in self.source.data}
        for one in detectors:
            if one.began is None:
                continue
            at = one.began - one.announced
            # Stages run one after the other; those that this version does not know come last.
            known = [name for name in STAGES if name in one.stages]
            for name in [*known, *sorted(set(one.stages) - set(known))]:
                seconds = one.stages[name]
                place = STAGES.index(name) if name in STAGES else len(STAGES)
                columns["left"].append(at)
                columns["right"].append(at + seconds)
                columns["detector"].append(one.detector)
                columns["stage"].append(name)
                columns["seconds"].append(seconds)
                columns["colour"].append(CATEGORIES[place % len(CATEGORIES)])
                at += seconds
        self.source.data = columns


def stage_legend() -> str:
    """Return the colours of the stages, as HTML."""
    return " &nbsp; ".join(
        f'<span class="chip" style="background:{colour}">&nbsp;</span>{name}'
        for name, colour in zip(STAGES, CATEGORIES, strict=False)
    )
