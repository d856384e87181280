"""Outcomes of visits, read from the worker's log."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

__all__ = ["LogFollower", "VisitOutcome"]


@dataclass(frozen=True, slots=True)
class VisitOutcome:
    """How a visit of one detector ended.

    Attributes
    ----------
    group : `str`
        Of the visit.
    detector : `int`
        Id.
    ended : `float`
        When it ended, Unix seconds, UTC.
    details : mapping
        From the log: ``status``, ``reason``, ``stages``, ``counts`` and so on.
    """

    group: str
    detector: int
    ended: float
    details: Mapping[str, Any]

    @property
    def exposure(self) -> int | None:
        """Id of the first exposure that was processed."""
        exposures = self.details.get("exposures") or [None]
        return None if exposures[0] is None else int(exposures[0])

    @property
    def processed(self) -> bool:
        """Whether the visit was processed with difference imaging."""
        return self.details["status"] == "processed" and self.details.get("pipeline") == "ApPipe"

    @property
    def stages(self) -> dict[str, float]:
        """Seconds by stage."""
        return {name: float(seconds) for name, seconds in self.details.get("stages", {}).items()}

    @property
    def counts(self) -> dict[str, Any]:
        """The pipeline's counts, such as ``numAlertsSent``."""
        return dict(self.details.get("counts", {}))

    def spans(self, announced: float) -> list[tuple[str, float, float]]:
        """Return each stage with when it began (Unix seconds) and how long it took, in order of time.

        The log has the duration of each stage; stages follow each other without pause.

        Parameters
        ----------
        announced : `float`
            When the visit was announced and the first stage, the queue, began; Unix seconds, UTC.
        """
        spans = []
        begin = announced
        for name, seconds in self.stages.items():
            spans.append((name, begin, seconds))
            begin += seconds
        return spans


class LogFollower:
    """Reads the outcomes that have been added to a log since the last time, and who is how far.

    Parameters
    ----------
    path : `~pathlib.Path`
        Log of the activator: one JSON object a line, among what other programs may write there.
    milestone : `str`
        Label of the task whose end is recorded.
    """

    def __init__(self, path: Path, milestone: str = "associateApdb") -> None:
        self._path = path
        self._position = 0
        self._rest = b""
        self._milestone = f"Execution of task '{milestone}'".encode()
        self.past_milestone: set[tuple[str, int]] = set()
        """Groups and detectors for which the task has been run, or whose visits have ended."""

    def read(self) -> list[VisitOutcome]:
        """Return the new outcomes."""
        try:
            with self._path.open("rb") as log:
                log.seek(self._position)
                content = log.read()
        except FileNotFoundError:
            return []
        self._position += len(content)
        *lines, self._rest = (self._rest + content).split(b"\n")
        outcomes = [outcome for line in lines if (outcome := _parse(line)) is not None]
        # The middleware's wording; if it changes, the outcome still marks the end of the visit.
        passed = (line for line in lines if self._milestone in line and b" took " in line)
        self.past_milestone.update(found for line in passed if (found := _parse_visit(line)) is not None)
        self.past_milestone.update((outcome.group, outcome.detector) for outcome in outcomes)
        return outcomes


def _parse_visit(line: bytes) -> tuple[str, int] | None:
    try:
        entry = json.loads(line)
        return entry["group"], int(entry["detector"])
    except (ValueError, KeyError, TypeError):
        return None


def _parse(line: bytes) -> VisitOutcome | None:
    if b'"outcome"' not in line:
        return None
    try:
        entry = json.loads(line)
        return VisitOutcome(
            group=entry["group"],
            detector=int(entry["detector"]),
            ended=datetime.fromisoformat(entry["asctime"]).timestamp(),
            details=entry["outcome"],
        )
    except (ValueError, KeyError, TypeError):
        # Another line that contains the word.
        return None
