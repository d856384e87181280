"""The figures of a report can be drawn for a night of which little is known."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd

from prompt_processing.archive.night_report import figures
from prompt_processing.archive.night_report.data import METRICS, STAGES, NightReport


def test_figures_of_a_night_without_metrics_say_that_there_are_none() -> None:
    row = {"announced": pd.Timestamp("2026-11-28T03:00:00"), "filter": "r", "state": "failed"}
    unknown = dict.fromkeys((*METRICS, *STAGES), np.nan)
    report = NightReport("2026-11-28", "LSSTCam", pd.DataFrame([{**row, **unknown}] * 2))
    for draw in (
        figures.weather_figure,
        figures.latency_figure,
        figures.classes_figure,
        figures.coverage_figure,
        figures.cutouts_figure,
    ):
        picture = io.BytesIO()
        draw(report).savefig(picture, format="png")
        assert picture.tell() > 0
