"""Compare what was announced and what arrived with what became of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from prompt_processing.domain.visit import NextVisit

__all__ = ["Announced", "Arrived", "Gap", "Kind", "NightRecord", "Outcome", "Remedy", "find_gaps"]

Share = tuple[str, int]
"""Group and detector: the work of one worker."""

Image = tuple[int, int]
"""Exposure and detector. A visit has the id of its exposure."""


class Kind(StrEnum):
    """What is missing."""

    NO_IMAGE = "no image"
    """Announced, but no raw came, and no worker has said so."""
    NO_OUTCOME = "no outcome"
    """Its raw came, but nothing was made of it."""
    RETRIABLE = "may be retried"
    """A worker failed for a passing reason, for example in its preload, and nothing permanent was written."""
    NOT_EXPORTED = "not exported"
    """The APDB has it, the central repository has nothing of it."""
    PARTLY_EXPORTED = "partly exported"
    """The central repository lacks some of its outputs."""
    UNDECIDED = "undecided"
    """The APDB does not answer: the next run decides."""


class Remedy(StrEnum):
    """What can be done."""

    PROCESS = "process"
    """The worker's own code, which checks the APDB again before it writes."""
    FINISH_EXPORT = "finish the export"
    """Its worker left a note: ``prompt repo finish-exports``."""
    REPROCESS = "reprocess the outputs"
    """Only its outputs, in a run of their own: ``reprocess-night``. The APDB is never written twice."""
    NONE = "nothing"


@dataclass(frozen=True, slots=True)
class Announced:
    """A visit that was announced, and the detectors that it was sent to."""

    visit: NextVisit
    detectors: tuple[int, ...]
    at: float
    """Publication, Unix seconds, UTC."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A raw that arrived."""

    uri: str
    group: str
    exposure: int
    detector: int
    at: float
    """Arrival, Unix seconds, UTC."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The last outcome that a worker published."""

    status: str
    at: float
    reason: str = ""
    retry: str | None = None
    exposures: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class NightRecord:
    """All that is known of a night.

    Attributes
    ----------
    lacking
        By image that has outputs in the central repository: types that it lacks.
    unfinished
        Images with a note about an unfinished export.
    in_apdb
        Returns whether the APDB has an image; `None` if it does not answer. Asked only where it matters.
    """

    announced: Sequence[Announced] = ()
    arrived: Sequence[Arrived] = ()
    outcomes: Mapping[Share, Outcome] = field(default_factory=dict)
    lacking: Mapping[Image, Collection[str]] = field(default_factory=dict)
    unfinished: Collection[Image] = ()
    in_apdb: Callable[[int, int], bool | None] = lambda exposure, detector: False


@dataclass(frozen=True, slots=True)
class Gap:
    """One detector of one visit that is not finished.

    Attributes
    ----------
    visit
        The announcement; `None` if only the raw is known.
    raws
        In the order of the exposures.
    """

    group: str
    detector: int
    kind: Kind
    remedy: Remedy
    reason: str
    visit: NextVisit | None = None
    raws: tuple[Arrived, ...] = ()


def find_gaps(record: NightRecord, before: float) -> list[Gap]:
    """Find what is unfinished.

    Parameters
    ----------
    record
        What is known.
    before
        Unix seconds, UTC. What was announced or arrived later is left to the workers.

    Returns
    -------
    gaps
        By time of the visit and detector.
    """
    shares: dict[Share, NextVisit | None] = {}
    times: dict[Share, float] = {}
    for announced in record.announced:
        for detector in announced.detectors:
            share = announced.visit.groupId, detector
            shares[share] = announced.visit
            times[share] = max(times.get(share, 0.0), announced.at)
    raws: defaultdict[Share, dict[int, Arrived]] = defaultdict(dict)
    for arrived in record.arrived:
        share = arrived.group, arrived.detector
        # A raw that was sent twice is one raw.
        raws[share].setdefault(arrived.exposure, arrived)
        shares.setdefault(share, None)
        times[share] = max(times.get(share, 0.0), arrived.at)
    found = []
    for share in sorted(shares, key=lambda one: (times[one], one)):
        if times[share] >= before:
            continue
        images = tuple(raws[share][exposure] for exposure in sorted(raws[share]))
        verdict = _judge(record, share, images)
        if verdict is not None:
            kind, remedy, reason = verdict
            found.append(Gap(*share, kind, remedy, reason, shares[share], images))
    return found


def _judge(record: NightRecord, share: Share, raws: tuple[Arrived, ...]) -> tuple[Kind, Remedy, str] | None:
    """Return what is missing of a share; `None` if it is finished."""
    outcome = record.outcomes.get(share)
    if outcome is not None and outcome.status in ("skipped", "invalid"):
        return None
    if outcome is not None and outcome.status == "processed" and not outcome.exposures:
        # The configuration ran nothing on its images.
        return None
    detector = share[1]
    images = {(raw.exposure, detector) for raw in raws}
    images |= {(exposure, detector) for exposure in (outcome.exposures if outcome else ())}
    exported = [record.lacking[image] for image in images if image in record.lacking]
    if exported and not any(exported):
        return None
    written = _any(record.in_apdb(*image) for image in sorted(images)) if images else False
    if written is None:
        return Kind.UNDECIDED, Remedy.NONE, "the APDB does not answer"
    if written or (outcome is not None and outcome.status == "processed") or exported:
        return _export_gap(record, images, exported, outcome)
    if not raws:
        if outcome is None:
            return Kind.NO_IMAGE, Remedy.NONE, "no raw has arrived"
        # A worker has waited and said so.
        return None
    if outcome is None:
        return Kind.NO_OUTCOME, Remedy.PROCESS, "a raw has arrived, and nothing was made of it"
    if outcome.status in ("retriable", "stale"):
        return Kind.RETRIABLE, Remedy.PROCESS, outcome.reason
    if not outcome.exposures and min(raw.at for raw in raws) > outcome.at:
        return Kind.NO_OUTCOME, Remedy.PROCESS, "its raw arrived after the worker had given up"
    # Failed for good, and nothing permanent was written: another attempt would fail as well.
    return None


def _export_gap(
    record: NightRecord,
    images: Collection[Image],
    exported: Iterable[Collection[str]],
    outcome: Outcome | None,
) -> tuple[Kind, Remedy, str] | None:
    lacking = sorted({name for names in exported for name in names})
    if lacking and outcome is not None and outcome.status == "failed":
        # The worker has handed over what its failed pipeline left.
        return None
    noted = any(image in record.unfinished for image in images)
    remedy = Remedy.FINISH_EXPORT if noted else Remedy.REPROCESS
    if lacking:
        shown = ", ".join(lacking[:3]) + (" and others" if len(lacking) > 3 else "")
        return Kind.PARTLY_EXPORTED, remedy, f"the repository lacks {shown}"
    return Kind.NOT_EXPORTED, remedy, "the repository has none of its outputs"


def _any(answers: Iterable[bool | None]) -> bool | None:
    """Return whether any is true; `None` if that is unknown."""
    known = list(answers)
    if True in known:
        return True
    return None if None in known else False
