"""The demo's final tables: on the terminal, as text, as JSON and as CSV."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from prompt_processing.domain.outcome import STAGES

from .discrepancy_sheet import save_discrepancies
from .goals import Goal, compare_with_goals
from .results import DetectorVisit, NightResult
from .score import SNR_THRESHOLD, magnitude_histogram

__all__ = ["goals_of", "print_tables", "rows_of", "save_tables"]

_MOST_SHOWN = 40


def rows_of(result: NightResult) -> list[dict[str, Any]]:
    """Return a flat row for each visit of each detector."""
    return [_row(visit) for visit in result.visits]


def _row(visit: DetectorVisit) -> dict[str, Any]:
    outcome = visit.outcome
    counts = {} if outcome is None else outcome.counts
    stages = {} if outcome is None else outcome.stages
    row: dict[str, Any] = {
        "number": visit.number,
        "visit": visit.visit,
        "group": visit.group,
        "detector": visit.detector,
        "detector_name": visit.detector_name,
        "status": "no answer" if outcome is None else outcome.details["status"],
        "reason": "" if outcome is None else outcome.details["reason"],
        "pipeline": None if outcome is None else outcome.details.get("pipeline"),
    }
    row |= {f"{stage}_s": stages.get(stage) for stage in STAGES}
    row |= {
        "arrival_to_alert_s": visit.arrival_to_alert,
        "dia_sources": visit.transients.n_dia_sources,
        "injected": visit.transients.n_expected,
        "recovered": visit.transients.n_recovered,
        "above_threshold": visit.transients.n_above,
        "spurious": visit.transients.n_spurious,
        "new_dia_objects": counts.get("numNewDiaObjects"),
        "updated_dia_objects": counts.get("numUpdatedDiaObjects"),
        "alerts_sent": counts.get("numAlertsSent"),
        "alerts_read_back": len(visit.alerts),
        "alerts_with_history": sum(alert.n_previous > 0 for alert in visit.alerts),
        "astrometry_mas": visit.stars.astrometry_mas,
        "zero_point_error": visit.stars.zero_point_error,
        "stars": visit.stars.n_stars,
    }
    return row


def goals_of(result: NightResult) -> list[Goal]:
    """Compare the night with its goals."""
    return compare_with_goals(rows_of(result))


def print_tables(result: NightResult, console: Console) -> None:
    """Print the seconds by stage, the sources found, missed and spurious, and the goals."""
    rows = rows_of(result)
    console.print(_time_table(rows))
    console.print(_science_table(rows))
    console.print(_magnitude_table(result))
    if result.discrepancies:
        # A file holds all of them.
        console.print(_discrepancy_table(result, _MOST_SHOWN if console.is_terminal else None))
    console.print(_goal_table(goals_of(result)))


def save_tables(result: NightResult, folder: Path, seconds: float) -> None:
    """Save ``tables.txt``, ``visits.csv``, ``missed-and-spurious.csv`` and ``result.json``.

    Parameters
    ----------
    result : `NightResult`
        The night.
    folder : `~pathlib.Path`
        Where the files go.
    seconds : `float`
        Duration of the demo so far.
    """
    with (folder / "tables.txt").open("w") as text:
        print_tables(result, Console(file=text, width=140))
    save_discrepancies(result, folder / "missed-and-spurious.csv")
    rows = rows_of(result)
    with (folder / "visits.csv").open("w", newline="") as text:
        writer = csv.DictWriter(text, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    document = {
        "visits": [
            {**row, "tasks_s": {} if visit.outcome is None else visit.outcome.details.get("tasks", {})}
            for row, visit in zip(rows, result.visits, strict=True)
        ],
        "by_magnitude": magnitude_histogram(result.injected).to_dict("records"),
        "discrepancies": [
            {"visit": visit.visit, "detector": visit.detector, **one.row()}
            for visit, one in result.discrepancies
        ],
        "goals": [asdict(goal) for goal in goals_of(result)],
        "dia_objects": result.n_dia_objects,
        "datasets": dict(result.dataset_counts),
        "demo_s": round(seconds, 1),
    }
    (folder / "result.json").write_text(json.dumps(_finite(document), indent=1))


def _table(title: str) -> Table:
    return Table(
        title=title,
        box=box.SIMPLE_HEAD,
        title_justify="left",
        title_style="bold",
        padding=(0, 1),
        collapse_padding=True,
    )


def _time_table(rows: list[dict[str, Any]]) -> Table:
    table = _table("Seconds by stage")
    for name in ("visit", "detector", "outcome"):
        table.add_column(name, no_wrap=True)
    for name in (*STAGES, "arrival to\nlast alert"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        outcome = row["pipeline"] or "-" if row["status"] == "processed" else f"[red]{row['status']}[/red]"
        table.add_row(
            str(row["visit"]),
            f"{row['detector']} {row['detector_name']}",
            outcome,
            *(_number(row[f"{stage}_s"], 2) for stage in STAGES),
            f"[bold]{_number(row['arrival_to_alert_s'], 1)}[/bold]",
        )
    return table


def _science_table(rows: list[dict[str, Any]]) -> Table:
    table = _table(f"What was found (recovered and spurious: S/N > {SNR_THRESHOLD:.0f})")
    for name in ("visit", "detector"):
        table.add_column(name, no_wrap=True)
    for name in (
        "Dia\nSources",
        "recov-\nered",
        "spu-\nrious",
        "objects\nnew",
        "objects\nupdated",
        "alerts\nsent",
        "read\nback",
        "with\nhistory",
        "astrom.\nmas",
        "zero p.\nmag",
        "stars",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            str(row["visit"]),
            f"{row['detector']} {row['detector_name']}",
            str(row["dia_sources"]),
            f"{row['recovered']}/{row['injected']}",
            f"{row['spurious']}/{row['above_threshold']}",
            *(_number(row[name], 0) for name in ("new_dia_objects", "updated_dia_objects", "alerts_sent")),
            str(row["alerts_read_back"]),
            str(row["alerts_with_history"]),
            _number(row["astrometry_mas"], 1),
            _number(row["zero_point_error"], 4, sign=True),
            str(row["stars"]),
        )
    return table


def _magnitude_table(result: NightResult) -> Table:
    table = _table(f"Injected sources with S/N > {SNR_THRESHOLD:.0f} by magnitude of their change")
    for name in ("AB mag", "injected", "recovered", "missed", "median S/N"):
        table.add_column(name, justify="right")
    for row in magnitude_histogram(result.injected).to_dict("records"):
        table.add_row(
            f"{row['mag']:.1f} to {row['mag'] + 0.5:.1f}",
            *(str(int(row[name])) for name in ("injected", "recovered", "missed")),
            f"{row['snr']:.0f}",
        )
    return table


def _discrepancy_table(result: NightResult, most: int | None) -> Table:
    found = result.discrepancies
    shown = sorted(found, key=lambda item: (item[1].what, -item[1].snr))[:most]
    title = f"Missed and spurious sources (S/N > {SNR_THRESHOLD:.0f})"
    if len(shown) < len(found):
        title += f", {len(shown)} of {len(found)}; missed-and-spurious.csv has all"
    table = _table(title)
    for name in ("visit", "det.", "what", "kind", "x, y"):
        table.add_column(name, no_wrap=True)
    for name in ("AB mag", "S/N"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("reason")
    for visit, one in shown:
        table.add_row(
            *(str(visit.number), str(visit.detector), one.what, one.kind),
            f"{_number(one.x, 0)}, {_number(one.y, 0)}",
            *(f"{one.mag:.1f}", f"{one.snr:.0f}"),
            escape(f"{one.reason}: {one.detail}" if one.detail else one.reason),
        )
    return table


def _goal_table(found: list[Goal]) -> Table:
    table = _table("Goals (a missed goal that counts makes the exit status 1)")
    for name in ("", "goal", "reached", "limit", "counts"):
        table.add_column(name)
    for goal in found:
        colour = "green" if goal.met else "red" if goal.counts else "yellow"
        table.add_row(
            f"[{colour}]{'✓' if goal.met else '✗'}[/{colour}]",
            goal.name,
            goal.reached,
            goal.limit,
            "yes" if goal.counts else "no",
        )
    return table


def _number(value: float | None, digits: int, sign: bool = False) -> str:
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:{'+' if sign else ''}.{digits}f}"


def _finite(value: Any) -> Any:
    # JSON has no NaN.
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
