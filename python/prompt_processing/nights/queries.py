"""Parts of queries of nights, and the cursors of pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, Select, false, select, union_all

from prompt_processing.domain.outcome_message import storable_text

from .tables import DETECTORS, VISITS

__all__ = ["OF_VISIT", "detectors_by_night", "detectors_of_visits", "number_of", "of_visit", "split_cursor"]

OF_VISIT = (VISITS.c.group_name, VISITS.c.visit)
"""Columns that name a visit."""


def detectors_of_visits() -> Select[Any]:
    """Select detectors, each with its visit."""
    return select(
        *OF_VISIT,
        DETECTORS.c.night,
        DETECTORS.c.instrument,
        DETECTORS.c.announced,
        DETECTORS.c.detector,
        DETECTORS.c.n_alerts,
        DETECTORS.c.n_sources,
        DETECTORS.c.content,
    ).join(VISITS, VISITS.c.id == DETECTORS.c.visit_id)


def detectors_by_night(
    instrument: str, detector: int, nights: Sequence[Row[Any]], per_night: int
) -> Select[Any]:
    """Select the last visits of a detector in each of some nights, which have the columns of `NIGHTS`."""
    parts = [
        select(
            detectors_of_visits()
            .where(
                DETECTORS.c.instrument == instrument,
                DETECTORS.c.detector == detector,
                DETECTORS.c.announced.between(one.first, one.last),
            )
            .order_by(DETECTORS.c.announced.desc())
            .limit(per_night)
            # Each with a limit of its own, which SQLite allows in a subquery only.
            .subquery()
        )
        for one in nights
    ]
    return select(union_all(*parts).subquery())


def of_visit(query: Select[Any], visit: int | str, instrument: str | None) -> Select[Any]:
    """Restrict a query to a visit, an exposure id or a group."""
    if isinstance(visit, int):
        # Beyond the range of the column a database would raise an error.
        query = query.where(VISITS.c.visit == visit) if 0 <= visit < 2**63 else query.where(false())
    else:
        query = query.where(VISITS.c.group_name == storable_text(visit))
    return query if instrument is None else query.where(VISITS.c.instrument == storable_text(instrument))


def number_of(text: str) -> int:
    """Return the number in a part of a cursor; 0 if there is none."""
    try:
        return min(max(int(text[:20]), 0), 2**31 - 1)
    except ValueError:
        # A cursor comes from a URL, which anyone can write.
        return 0


def split_cursor(text: str) -> tuple[int, float, int]:
    """Return night, time and row of a cursor; zeros if it is none."""
    parts = [*text.split(":"), "", ""]
    try:
        return number_of(parts[0]), float(parts[1][:40]), int(parts[2][:19])
    except ValueError:
        return 0, 0.0, 0
