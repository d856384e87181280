"""Table of flows: where each is, in one line."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FLOWS", "FlowEntry"]


@dataclass(frozen=True, slots=True)
class FlowEntry:
    """One flow.

    Attributes
    ----------
    target
        ``module:attribute`` of the flow. It is imported only to run it or to show its help.
    summary
        One line for lists.
    """

    target: str
    summary: str


_HERE = "prompt_processing.flows.daily"

FLOWS = {
    "build-calibrations": FlowEntry(
        f"{_HERE}.build_calibrations:build_calibrations",
        "Make, check and certify the calibrations of a camera.",
    ),
    "build-templates": FlowEntry(
        f"{_HERE}.build_templates:build_templates", "Make the templates of a survey's patches."
    ),
    "reprocess-night": FlowEntry(
        f"{_HERE}.reprocess_night:reprocess_night",
        "Process a night again, and compare it with the first processing.",
    ),
    "catch-up": FlowEntry(f"{_HERE}.catch_up:catch_up", "Process what a night left unfinished."),
    "export-night": FlowEntry(
        f"{_HERE}.export_night:export_night", "Archive a night as Parquet, HATS catalogues and Avro files."
    ),
    "draw-night": FlowEntry(f"{_HERE}.draw_night:draw_night", "Draw the plots of a night's visits."),
    "night-report": FlowEntry(
        f"{_HERE}.night_report:night_report", "Write the report of a night as one HTML page."
    ),
    "run-notebook": FlowEntry(
        f"{_HERE}.run_notebook:run_notebook",
        "Run a notebook with parameters, as an HTML page and as figures for the navigator.",
    ),
    "night-cube": FlowEntry(
        f"{_HERE}.night_cube:night_cube", "Add a night to the statistics of the sky, with maps and trends."
    ),
    "dawn": FlowEntry(f"{_HERE}.dawn:dawn", "Run the flows of the day on the night that the demo kept."),
}
"""Flows by name."""
