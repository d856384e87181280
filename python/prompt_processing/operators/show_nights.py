"""Print nights and visits of the database of nights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from prompt_processing.nights.reading import Nights
from prompt_processing.nights.records import Detector, Night, Percentiles, State, Visit

__all__ = ["show_night", "show_nights"]

_COLOUR = {
    State.DONE: "green",
    State.FAILED: "red",
    State.LATE: "yellow",
    State.PROCESSING: "blue",
    State.WAITING: "dim",
    State.SKIPPED: "cyan",
}
_LONGEST_REASON = 100


def show_nights(console: Console, nights: Sequence[Night]) -> None:
    """Print one line a night."""
    table = _table("night", "instrument", "visits", "detectors", "sources", "alerts")
    for one in nights:
        table.add_row(
            f"{one.night // 10_000:04d}-{one.night // 100 % 100:02d}-{one.night % 100:02d}",
            Text(one.instrument),
            str(one.n_visits),
            _counts(one.states),
            str(one.n_sources),
            str(one.n_alerts),
        )
    console.print(table)


def show_night(console: Console, nights: Nights, night: int, limit: int) -> bool:
    """Print a night's visits, times and last failures.

    Parameters
    ----------
    console
        Where to print.
    nights
        The database.
    night
        Observing day, ``YYYYMMDD``.
    limit
        Most visits and failures.

    Returns
    -------
    found
        Whether the night has any visit.
    """
    page = nights.visits(night, limit)
    if not page.rows:
        return False
    _show_visits(console, page.rows)
    if page.next is not None:
        console.print(f"Only the last {limit} visits are shown.")
    if latencies := nights.latencies(night):
        console.print()
        _show_latencies(console, latencies)
    if failed := nights.errors(night, limit).rows:
        console.print()
        _show_failures(console, failed)
    return True


def _show_visits(console: Console, visits: Sequence[Visit]) -> None:
    table = _table("announced", "visit", "filter", "detectors", "sources", "alerts", "delay [s]")
    for one in visits:
        delay = one.seconds.get("arrival_to_alert")
        table.add_row(
            _time(one.announced),
            Text(str(one.visit or one.group)),
            Text(one.filter),
            _counts(one.states),
            str(one.n_sources),
            str(one.n_alerts),
            "" if delay is None else f"{delay:.1f}",
        )
    console.print(table)


def _show_latencies(console: Console, latencies: Mapping[str, Percentiles]) -> None:
    table = _table("stage", "visit-detectors", "50 % [s]", "95 % [s]", "99 % [s]")
    for stage, one in latencies.items():
        seconds = (f"{value:.2f}" for value in (one.p50, one.p95, one.p99))
        table.add_row(Text(stage.replace("_", " ")), str(one.n), *seconds)
    console.print(table)


def _show_failures(console: Console, detectors: Sequence[Detector]) -> None:
    table = _table("ended", "visit", "detector", "state", "reason")
    for one in detectors:
        reason = one.reason if len(one.reason) <= _LONGEST_REASON else f"{one.reason[:_LONGEST_REASON]}…"
        table.add_row(
            "" if one.ended is None else _time(one.ended),
            Text(str(one.visit or one.group)),
            str(one.detector),
            Text(one.state.value, style=_COLOUR[one.state]),
            # Without markup: a reason may hold anything.
            Text(reason),
        )
    console.print(table)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        left = name in ("instrument", "announced", "filter", "detectors", "ended", "state", "reason", "stage")
        # As Text, because brackets are markup otherwise.
        table.add_column(
            Text(name), justify="left" if left else "right", no_wrap=name not in ("detectors", "reason")
        )
    return table


def _counts(states: Mapping[State, int]) -> Text:
    parts = [Text(f"{n} {state.value}", style=_COLOUR[state]) for state, n in states.items() if n]
    return Text(", ").join(parts)


def _time(unix_utc: float) -> str:
    return datetime.fromtimestamp(unix_utc, UTC).strftime("%H:%M:%S")
