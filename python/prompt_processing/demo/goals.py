"""The goals of the demo's night, and whether they were met."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .score import SNR_THRESHOLD

__all__ = ["Goal", "compare_with_goals", "missed_goals"]

LEAST_RECOVERED = 0.95
"""Share of the injected sources above the threshold that must be recovered ..."""
MOST_MISSED_OF_FEW = 1
"""... unless no more than this many were missed: small detectors have too few for a share. Sources closer
than the seeing count as one (`.score.score_transients`)."""
MOST_SPURIOUS = 0.05
"""Share of the DiaSources above the threshold that may be spurious ..."""
MOST_SPURIOUS_OF_FEW = 1
"""... or this many of the whole night."""
ASTROMETRY_MAS = 50.0
ZERO_POINT_MAG = 0.02
LATENCY_S = 20.0


@dataclass(frozen=True, slots=True)
class Goal:
    """Something that the night should show.

    Attributes
    ----------
    name : `str`
        What is measured.
    reached : `str`
        Its value.
    limit : `str`
        The value that is required.
    met : `bool`
        Whether the value is within the limit.
    counts : `bool`
        Whether missing it makes the demo exit with 1. The latency depends on the load of the machine and
        does not count.
    """

    name: str
    reached: str
    limit: str
    met: bool
    counts: bool = True


def compare_with_goals(rows: Sequence[Mapping[str, Any]]) -> list[Goal]:
    """Compare a night with its goals.

    Parameters
    ----------
    rows : sequence of mapping
        One per visit and detector, as `prompt_processing.demo.table.rows_of` returns them.

    Returns
    -------
    goals : `list` [`Goal`]
        All goals, in the order in which they are shown.
    """
    n_processed = sum(row["status"] == "processed" and row["pipeline"] == "ApPipe" for row in rows)
    sent, read = _sum(rows, "alerts_sent"), _sum(rows, "alerts_read_back")
    goals = [
        Goal("visits processed", f"{n_processed} of {len(rows)}", "all", n_processed == len(rows)),
        _completeness(rows),
        _purity(rows),
        _largest("astrometry, worst", (row["astrometry_mas"] for row in rows), ASTROMETRY_MAS, "mas", 1),
        _largest(
            "zero point error, worst", (row["zero_point_error"] for row in rows), ZERO_POINT_MAG, "mag", 4
        ),
        Goal("alerts read back", f"{read} of {sent}", "all", read == sent > 0),
    ]
    if (history := _history(rows)) is not None:
        goals.append(history)
    delays = [row["arrival_to_alert_s"] for row in rows]
    goals.append(_largest("image arrival to last alert, slowest", delays, LATENCY_S, "s", 1, counts=False))
    return goals


def missed_goals(goals: Iterable[Goal]) -> list[Goal]:
    """Return the goals that count and were missed."""
    return [goal for goal in goals if goal.counts and not goal.met]


def _completeness(rows: Sequence[Mapping[str, Any]]) -> Goal:
    injected, recovered = _sum(rows, "injected"), _sum(rows, "recovered")
    allowed = max(math.floor((1 - LEAST_RECOVERED) * injected + 1e-9), MOST_MISSED_OF_FEW)
    return Goal(
        f"injected with S/N > {SNR_THRESHOLD:.0f} recovered",
        f"{recovered} of {injected}{_share(recovered, injected)}",
        f">= {LEAST_RECOVERED:.0%}, or at most {MOST_MISSED_OF_FEW} missed",
        injected - recovered <= allowed,
    )


def _purity(rows: Sequence[Mapping[str, Any]]) -> Goal:
    above, spurious = _sum(rows, "above_threshold"), _sum(rows, "spurious")
    allowed = max(math.floor(MOST_SPURIOUS * above + 1e-9), MOST_SPURIOUS_OF_FEW)
    return Goal(
        f"spurious with S/N > {SNR_THRESHOLD:.0f}",
        f"{spurious} of {above}{_share(spurious, above)}",
        f"<= {MOST_SPURIOUS:.0%}, or at most {MOST_SPURIOUS_OF_FEW}",
        spurious <= allowed,
    )


def _history(rows: Sequence[Mapping[str, Any]]) -> Goal | None:
    """Return the goal for the last visit's alerts; None where no visit came before it."""
    last = max((row["number"] for row in rows), default=0)
    if last < 2:
        return None
    of_last = [row for row in rows if row["number"] == last]
    history, expected = _sum(of_last, "alerts_with_history"), _sum(of_last, "updated_dia_objects")
    return Goal(
        "last visit's alerts with a history",
        f"{history} of {expected} of known DiaObjects",
        "all",
        0 < expected <= history,
    )


def _largest(
    name: str, values: Iterable[float | None], limit: float, unit: str, digits: int, counts: bool = True
) -> Goal:
    """Return a goal for the largest absolute value; a value that is missing or not finite misses it."""
    found = [math.nan if value is None else abs(value) for value in values]
    known = [value for value in found if math.isfinite(value)]
    reached = f"{max(known):.{digits}f} {unit}" if known else "not measured"
    if known and len(known) < len(found):
        reached += f" ({len(found) - len(known)} not measured)"
    met = bool(known) and len(known) == len(found) and max(known) <= limit
    return Goal(name, reached, f"<= {limit:g} {unit}", met, counts)


def _share(part: int, whole: int) -> str:
    return f" ({part / whole:.1%})" if whole else ""


def _sum(rows: Iterable[Mapping[str, Any]], name: str) -> int:
    return sum(row[name] or 0 for row in rows)
