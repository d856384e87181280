"""Find the visits of a night, and the order in which they can be processed again."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from lsst.daf.butler import Butler

from .errors import ReprocessingError

__all__ = ["NightVisit", "find_visits", "waves"]


@dataclass(frozen=True, slots=True)
class NightVisit:
    """A visit to process.

    Attributes
    ----------
    visit
        Id.
    begin
        Begin, MJD, TAI.
    centre
        Unit vector to the centre of its field.
    radius
        Radius of its field, radians.
    """

    visit: int
    begin: float
    centre: tuple[float, float, float]
    radius: float

    def overlaps(self, other: NightVisit) -> bool:
        """Return whether the fields of two visits may share a piece of the sky."""
        # The chord is shorter than the arc: no overlap is missed.
        return math.dist(self.centre, other.centre) <= self.radius + other.radius


def waves(visits: Sequence[NightVisit]) -> list[list[NightVisit]]:
    """Divide visits into groups that can each be processed at once.

    The sources of a visit belong to objects that earlier visits of the same field have made. Therefore a
    visit is in a later group than each earlier visit that it overlaps.

    Parameters
    ----------
    visits
        Visits in any order.

    Returns
    -------
    groups
        Groups to process one after the other; within one, visits are in the order of time.
    """
    placed: list[tuple[int, NightVisit]] = []
    for visit in sorted(visits, key=lambda one: (one.begin, one.visit)):
        placed.append((1 + max((n for n, other in placed if visit.overlaps(other)), default=-1), visit))
    groups: list[list[NightVisit]] = [[] for _ in range(1 + max((n for n, _ in placed), default=-1))]
    for number, visit in placed:
        groups[number].append(visit)
    return groups


def find_visits(
    butler: Butler, instrument: str, day_obs: int | None = None, chosen: Collection[int] = ()
) -> list[NightVisit]:
    """Return visits that a repository knows.

    Parameters
    ----------
    butler
        The repository.
    instrument
        Camera.
    day_obs
        Night, ``YYYYMMDD``.
    chosen
        Ids; by default all visits of the night.

    Raises
    ------
    ReprocessingError
        Raised if a chosen visit is unknown or has no region, or the night has no visit.
    """
    where = "instrument = inst" + ("" if day_obs is None else " AND visit.day_obs = night")
    bind: dict[str, Any] = {"inst": instrument} | ({} if day_obs is None else {"night": day_obs})
    records = butler.query_dimension_records("visit", where=where, bind=bind, limit=None, explain=False)
    known = {int(record.id): record for record in records}
    if missing := sorted(set(chosen) - set(known)):
        raise ReprocessingError(
            f"The repository does not know the visits {', '.join(map(str, missing[:5]))} of {instrument}. "
            "What to do: check the ids, or import their raws (prompt repo import-raws)."
        )
    wanted = [known[one] for one in chosen] if chosen else list(known.values())
    if not wanted:
        raise ReprocessingError(
            f"The repository knows no visit of {instrument} on {day_obs}: check the night, which is the "
            "observing day of the exposures, or import raws (prompt repo import-raws)."
        )
    return [_visit(record) for record in wanted]


def _visit(record: Any) -> NightVisit:
    if record.region is None:
        raise ReprocessingError(f"The visit {record.id} has no region: import its raws again.")
    circle = record.region.getBoundingCircle()
    centre = circle.getCenter()
    return NightVisit(
        int(record.id),
        float(record.timespan.begin.tai.mjd),
        (centre.x(), centre.y(), centre.z()),
        float(circle.getOpeningAngle().asRadians()),
    )
