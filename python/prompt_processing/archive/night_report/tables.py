"""Tables of a night's report."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from .data import GOAL_S, METRICS, STAGES, NightReport
from .sources import movers

__all__ = ["failures", "latency_percentiles", "movers_table", "summary", "transients_table"]

_SHOWN = 25


def summary(report: NightReport) -> pd.DataFrame:
    """Return the night in a few numbers."""
    detectors = report.detectors
    states = detectors["state"].value_counts() if len(detectors) else pd.Series(dtype=int)
    rows: list[tuple[str, object]] = [
        ("visits", detectors["group"].nunique() if len(detectors) else 0),
        ("visit-detectors", len(detectors)),
        *((f"... {state}", int(number)) for state, number in states.items()),
        ("alerts sent", int(detectors["n_alerts"].sum()) if len(detectors) else 0),
        ("DiaSources in the APDB", len(report.sources)),
        ("solar-system objects", len(movers_table(report))),
        *_medians(detectors),
    ]
    return pd.DataFrame(rows, columns=["", "number"], dtype=object)


def _medians(detectors: pd.DataFrame) -> Iterator[tuple[str, object]]:
    """Yield the quality of the data and the latency, as far as they are known."""
    for name in ("seeing", "depth"):
        if len(values := detectors[name].dropna()):
            yield f"median {METRICS[name][1]}", f"{values.median():.2f}"
    if len(values := detectors["arrival_to_alert"].dropna()):
        yield "median seconds from image to last alert", f"{values.median():.1f}"
        yield f"... within {GOAL_S:.0f} s", f"{100 * (values <= GOAL_S).mean():.0f} %"


def latency_percentiles(report: NightReport) -> pd.DataFrame:
    """Return percentiles of the seconds of each stage."""
    rows = []
    for stage in STAGES:
        values = report.detectors[stage].dropna() if len(report.detectors) else pd.Series(dtype=float)
        if len(values):
            p50, p95, p99 = values.quantile([0.5, 0.95, 0.99])
            rows.append((stage.replace("_", " "), len(values), p50, p95, p99, values.max()))
    columns = ["stage", "visit-detectors", "median (s)", "95 %", "99 %", "largest"]
    return pd.DataFrame(rows, columns=columns).round(2)


def failures(report: NightReport) -> pd.DataFrame:
    """Return what did not succeed, by reason."""
    columns = ["state", "reason", "visit-detectors", "for example"]
    if report.detectors.empty:
        return pd.DataFrame(columns=columns)
    missed = report.detectors[report.detectors["state"] != "done"].copy()
    missed["example"] = missed["group"] + ", detector " + missed["detector"].astype(str)
    grouped = missed.groupby(["state", "reason"])["example"].agg(["size", "first"]).reset_index()
    grouped = grouped.sort_values("size", ascending=False).head(_SHOWN)
    return grouped.set_axis(columns, axis=1).reset_index(drop=True)


def movers_table(report: NightReport) -> pd.DataFrame:
    """Return the solar-system objects of the night; see `~.sources.movers`."""
    if report.sources.empty:
        return pd.DataFrame(columns=["ssObjectId", "sources", "magnitude"])
    return movers(report.sources).round({"ra": 5, "dec": 5, "magnitude": 2, "rate (arcsec/h)": 2})


def transients_table(report: NightReport) -> pd.DataFrame:
    """Return the brightest transients."""
    names = {"diaObjectId": "DiaObject", "diaSourceId": "DiaSource", "ra": "RA (deg)", "dec": "Dec (deg)",
             "band": "band", "magnitude": "magnitude", "snr": "S/N", "reliability": "reliability",
             "class_": "class"}  # fmt: skip
    if report.brightest.empty:
        return pd.DataFrame(columns=["", *names.values()])
    chosen = report.brightest[list(names)].rename(columns=names)
    numbers = ["RA (deg)", "Dec (deg)", "magnitude", "S/N", "reliability"]
    # Single precision cannot be rounded to one decimal.
    chosen[numbers] = chosen[numbers].astype(float)
    chosen.insert(0, "", range(1, len(chosen) + 1))
    return chosen.round({"RA (deg)": 5, "Dec (deg)": 5, "magnitude": 2, "S/N": 1, "reliability": 2})
