"""What the database of nights says of a visit's detector."""

from __future__ import annotations

from prompt_processing.nights.reading import NightsUnavailableError

from ..sources import Sources, UnavailableError
from ..text import escaped, facts, number, table, utc

__all__ = ["describe_outcome"]

_HISTORY = 200


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
        earlier = nights.history(one.instrument, detector, limit=_HISTORY) if one.metrics else []
    except (NightsUnavailableError, UnavailableError) as error:
        return str(error), ""
    sentence = f"{one.state.value}: {one.reason}" if one.reason else f"{one.state.value}."
    stages = facts({**{f"{name} (s)": seconds for name, seconds in one.stages.items()}})
    rows = []
    for name, value in sorted(one.metrics.items()):
        others = sorted(before.metrics[name] for before in earlier if name in before.metrics)
        middle = others[len(others) // 2] if others else None
        place = sum(other <= value for other in others) / len(others) if others else None
        share = "–" if place is None else f"{100 * place:.0f} %"
        rows.append([escaped(name), escaped(number(value)), escaped(number(middle)), share])
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
            ("metric", "value", "median of its last visits", "share that is lower"), rows, "Metrics"
        )
    return sentence, details
