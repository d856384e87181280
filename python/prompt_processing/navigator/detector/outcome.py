"""What the database of nights says of a visit's detector."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from prompt_processing.nights.reading import NightsUnavailableError
from prompt_processing.nights.records import Detector

from ..nights.quality import quality_first
from ..sources import Sources, UnavailableError
from ..text import escaped, facts, number, table, utc

__all__ = ["describe_outcome"]

_NIGHTS = 30
_WIDTH, _HEIGHT = 120, 22


def describe_outcome(sources: Sources, visit: int | str, detector: int, instrument: str) -> tuple[str, str]:
    """Return a sentence of the state and its reason, and the details as HTML; empty without the database."""
    if sources.places.nights is None:
        return "", ""
    try:
        nights = sources.nights()
        outcome = nights.outcome(visit, detector, instrument=instrument or None)
        if outcome is None:
            return f"The database of nights has no outcome of visit {visit}, detector {detector}.", ""
        one = outcome.detector
        earlier = (
            nights.nights_of_detector(one.instrument, detector, one.night, n_nights=_NIGHTS)
            if one.metrics
            else []
        )
    except (NightsUnavailableError, UnavailableError) as error:
        return str(error), ""
    sentence = f"{one.state.value}: {one.reason}" if one.reason else f"{one.state.value}."
    stages = facts({**{f"{name} (s)": seconds for name, seconds in one.stages.items()}})
    rows = []
    for name in quality_first(one.metrics):
        value = one.metrics[name]
        rows.append([escaped(name), escaped(number(value)), *_beside(name, value, earlier)])
    attempts = [
        [
            escaped(utc(attempt.began)),
            escaped(attempt.status or "running"),
            escaped(attempt.reason),
            escaped(attempt.host),
            escaped(attempt.software),
        ]
        for attempt in outcome.attempts
    ]
    details = f"<h2>Outcome</h2><p>{escaped(sentence)}</p>{stages}"
    if attempts:
        details += table(("began", "status", "reason", "host", "software"), attempts, "Attempts")
    if rows:
        details += table(
            (
                "metric",
                "value",
                "median",
                "share that is lower",
                "median of each night, oldest first",
            ),
            rows,
            f"Metrics beside the last {_NIGHTS} nights of this detector",
        )
    return sentence, details


def _beside(name: str, value: float, earlier: Sequence[Detector]) -> list[str]:
    """Return the cells that compare a metric with earlier visits: median, share that is lower, course."""
    by_night: dict[int, list[float]] = {}
    for one in earlier:
        if name in one.metrics:
            by_night.setdefault(one.night, []).append(one.metrics[name])
    others = [other for values in by_night.values() for other in values]
    if not others:
        return ["–", "–", ""]
    share = f"{100 * sum(other < value for other in others) / len(others):.0f} %"
    course = [(night, median(by_night[night])) for night in sorted(by_night)]
    return [escaped(number(median(others))), share, _line(course)]


def _line(course: Sequence[tuple[int, float]]) -> str:
    """Return a small line through the values of nights."""
    values = [value for _, value in course]
    low, high = min(values), max(values)
    words = escaped(f"{len(values)} night{'s' if len(values) > 1 else ''}, {number(low)} to {number(high)}")
    if len(values) < 2:
        return f"<small>{words}</small>"
    scale = (_HEIGHT - 4) / (high - low or 1.0)
    step = (_WIDTH - 4) / (len(values) - 1)
    points = " ".join(
        f"{2 + step * place:.1f},{_HEIGHT - 2 - scale * (value - low):.1f}"
        for place, value in enumerate(values)
    )
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="{words}">'
        f'<polyline points="{points}" fill="none" stroke="#0b5cad" stroke-width="1.5"/></svg> '
        f"<small>{words}</small>"
    )
