"""The tables that the demo ends with: on the terminal, as text, as JSON and as CSV."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from prompt_processing.domain.outcome import STAGES

from .results import DetectorVisit, NightResult
from .score import SNR_THRESHOLD, magnitude_histogram

__all__ = ["Goal", "goals", "print_tables", "rows_of", "save_tables"]


@dataclass(frozen=True, slots=True)
class Goal:
    """Something that the night should have shown.

    Attributes
    ----------
    name : `str`
        What.
    reached : `str`
        What the night has shown.
    wanted : `str`
        What it should.
    met : `bool`
        Whether it has.
    """

    name: str
    reached: str
    wanted: str
    met: bool


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


def goals(result: NightResult) -> list[Goal]:
    """Compare the night with what it should show."""
    rows = rows_of(result)
    injected, recovered = sum(r["injected"] for r in rows), sum(r["recovered"] for r in rows)
    above, spurious = sum(r["above_threshold"] for r in rows), sum(r["spurious"] for r in rows)
    delays = [r["arrival_to_alert_s"] for r in rows]
    sent, read = sum(r["alerts_sent"] or 0 for r in rows), sum(r["alerts_read_back"] for r in rows)
    astrometry = _worst(r["astrometry_mas"] for r in rows)
    zero_point = _worst(r["zero_point_error"] for r in rows)
    slowest = max((d for d in delays if d is not None), default=math.nan)
    share = recovered / injected if injected else math.nan
    spurious_share = spurious / above if above else math.nan
    processed = sum(visit.outcome is not None and visit.outcome.processed for visit in result.visits)
    made = [
        Goal("visits processed", f"{processed} of {len(rows)}", "all", processed == len(rows)),
        Goal(
            f"injected with S/N > {SNR_THRESHOLD:.0f} recovered",
            f"{recovered} of {injected} ({share:.1%})",
            "95 %",
            share >= 0.95,
        ),
        Goal(
            f"spurious with S/N > {SNR_THRESHOLD:.0f}",
            f"{spurious} of {above} ({spurious_share:.1%})",
            "< 20 %",
            spurious_share < 0.2,
        ),
        Goal("astrometry, worst", f"{astrometry:.1f} mas", "50 mas", astrometry <= 50),
        Goal("zero point error, worst", f"{zero_point:.4f} mag", "0.02 mag", zero_point <= 0.02),
        Goal(
            "image arrival to last alert, slowest",
            f"{slowest:.1f} s",
            "20 s",
            slowest <= 20 and None not in delays,
        ),
        Goal("alerts read back", f"{read} of {sent}", "all", read == sent and sent > 0),
    ]
    last = max((r["number"] for r in rows), default=0)
    if last > 1:
        known = [r for r in rows if r["number"] == last]
        history = sum(r["alerts_with_history"] for r in known)
        expected = sum(r["updated_dia_objects"] or 0 for r in known)
        made.append(
            Goal(
                "last visit's alerts with a history",
                f"{history} of {expected} of known DiaObjects",
                "all",
                0 < expected <= history,
            )
        )
    return made


def print_tables(result: NightResult, console: Console) -> None:
    """Show the visits, the stages' seconds, the magnitudes and the goals."""
    rows = rows_of(result)
    console.print(_time_table(rows))
    console.print(_science_table(rows))
    console.print(_magnitude_table(result))
    console.print(_goal_table(goals(result)))


def save_tables(result: NightResult, folder: Path, seconds: float) -> None:
    """Save ``tables.txt``, ``visits.csv`` and ``result.json``.

    Parameters
    ----------
    result : `NightResult`
        The night.
    folder : `~pathlib.Path`
        Where the files go.
    seconds : `float`
        How long the demo took up to here.
    """
    with (folder / "tables.txt").open("w") as text:
        print_tables(result, Console(file=text, width=140))
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
        "goals": [
            {"name": g.name, "reached": g.reached, "wanted": g.wanted, "met": g.met} for g in goals(result)
        ],
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


def _goal_table(found: list[Goal]) -> Table:
    table = _table("Goals")
    for name in ("", "goal", "reached", "wanted"):
        table.add_column(name)
    for goal in found:
        table.add_row(
            "[green]✓[/green]" if goal.met else "[red]✗[/red]", goal.name, goal.reached, goal.wanted
        )
    return table


def _number(value: float | None, digits: int, sign: bool = False) -> str:
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:{'+' if sign else ''}.{digits}f}"


def _worst(values: Iterable[float]) -> float:
    found = np.abs(np.asarray(list(values), float))
    return float(found.max()) if len(found) else math.nan


def _finite(value: Any) -> Any:
    # JSON has no NaN.
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
