"""Light curve of an object by band."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from bokeh.models import ColumnDataSource, HoverTool
from bokeh.plotting import figure

from ..colours import BAND_MARKERS, BANDS

__all__ = ["LightCurve"]

_LIMIT_SNR = 3.0


class LightCurve:
    """DiaSources filled, forced photometry open, and limits where forced photometry sees nothing."""

    def __init__(self) -> None:
        names = ("mjd", "flux", "low", "high", "band", "colour", "marker", "what", "visit")
        self.detected = ColumnDataSource({name: [] for name in names})
        self.forced = ColumnDataSource({name: [] for name in names})
        self.limit = ColumnDataSource({name: [] for name in names})
        self.figure = figure(
            height=320,
            sizing_mode="stretch_width",
            toolbar_location=None,
            tools=[
                "pan",
                "wheel_zoom",
                "reset",
                HoverTool(
                    tooltips=[
                        ("", "@what"),
                        ("band", "@band"),
                        ("MJD", "@mjd{0.00000}"),
                        ("flux (nJy)", "@flux{0.0}"),
                        ("visit", "@visit"),
                    ]
                ),
            ],
            x_axis_label="MJD (TAI)",
            y_axis_label="difference flux (nJy)",
            min_border_left=70,
        )
        self.figure.xaxis.formatter.use_scientific = False
        # On a narrow screen, more dates would overlap.
        self.figure.xaxis.ticker.desired_num_ticks = 3
        self.figure.yaxis.formatter.use_scientific = False
        for source, fill, size in ((self.forced, 0.0, 14), (self.detected, 0.9, 8)):
            self.figure.segment("mjd", "low", "mjd", "high", source=source, line_color="colour")
            self.figure.scatter(
                "mjd",
                "flux",
                source=source,
                marker="marker",
                size=size,
                line_color="colour",
                fill_color="colour",
                fill_alpha=fill,
                line_width=1.5,
            )
        self.figure.scatter(
            "mjd",
            "flux",
            source=self.limit,
            marker="inverted_triangle",
            size=8,
            color="colour",
            fill_alpha=0.0,
        )

    @property
    def legend(self) -> str:
        """Meaning of the symbols, as HTML."""
        drawn = (self.detected, self.forced, self.limit)
        bands = sorted(
            {band for source in drawn for band in source.data["band"]} & set(BANDS), key=list(BANDS).index
        )
        chips = " &nbsp; ".join(
            f'<span class="chip" style="background:{BANDS[band]}">&nbsp;</span>{band}' for band in bands
        )
        return f"{chips} &nbsp; filled: DiaSources, open: forced photometry, ▽: {_LIMIT_SNR:g} σ limits"

    def show(self, detected: pd.DataFrame, forced: pd.DataFrame) -> None:
        """Show an object's history."""
        self.detected.data = _columns(detected, "DiaSource")
        seen = forced
        if len(forced):
            flux, error = _floats(forced, "psfFlux"), _floats(forced, "psfFluxErr")
            unseen = np.abs(flux) < _LIMIT_SNR * error
            limits = _columns(forced[unseen], f"{_LIMIT_SNR:g} sigma limit")
            limits["flux"] = _LIMIT_SNR * error[unseen]
            self.limit.data = limits
            seen = forced[~unseen]
        else:
            self.limit.data = _columns(forced, "")
        self.forced.data = _columns(seen, "forced photometry")


def _columns(frame: pd.DataFrame, what: str) -> dict[str, Any]:
    flux, error = _floats(frame, "psfFlux"), _floats(frame, "psfFluxErr")
    bands = [str(one) if one is not None else "" for one in frame["band"]] if "band" in frame else []
    return {
        "mjd": _floats(frame, "midpointMjdTai"),
        "flux": flux,
        "low": flux - error,
        "high": flux + error,
        "band": bands,
        "colour": [BANDS.get(band, "#5b6875") for band in bands],
        "marker": [BAND_MARKERS.get(band, "circle") for band in bands],
        "what": [what] * len(frame),
        "visit": [str(one) for one in frame["visit"]] if "visit" in frame else [],
    }


def _floats(frame: pd.DataFrame, name: str) -> Any:
    if name not in frame:
        return np.full(len(frame), np.nan)
    return pd.to_numeric(frame[name], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
