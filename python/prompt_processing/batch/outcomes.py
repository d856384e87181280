"""What became of a quantum."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

__all__ = ["QuantumOutcome", "State", "append_outcomes", "read_outcomes"]


class State(StrEnum):
    """States of a quantum; the words are those of the middleware's reports."""

    SUCCESSFUL = "successful"
    """Its metadata are stored."""
    FAILED = "failed"
    """Its task raised an error."""
    BLOCKED = "blocked"
    """It was not tried, since a quantum before it was not successful."""
    UNKNOWN = "unknown"
    """It left no trace: it was not tried yet, or its process died."""


@dataclass(frozen=True, slots=True)
class QuantumOutcome:
    """Outcome of one quantum.

    Attributes
    ----------
    task
        Label of the task in the pipeline.
    data_id
        Required values, such as ``{"instrument": "LSSTCam", "visit": 12, "detector": 4}``.
    reason
        Why the quantum was not successful.
    seconds
        Wall clock time of the execution.
    was_there
        Whether an earlier attempt had succeeded, so that nothing was executed.
    """

    quantum_id: uuid.UUID
    task: str
    data_id: Mapping[str, int | str]
    state: State
    reason: str = ""
    seconds: float = 0.0
    was_there: bool = False
    host: str = field(default="", kw_only=True)

    @property
    def label(self) -> str:
        """The task and its data ID, for messages."""
        values = ", ".join(f"{name} {value}" for name, value in self.data_id.items())
        return f"{self.task} ({values})" if values else self.task


def append_outcomes(path: Path, outcomes: Iterable[QuantumOutcome]) -> None:
    """Append outcomes to a file, one JSON object a line."""
    lines = [
        json.dumps({**asdict(one), "quantum_id": str(one.quantum_id), "data_id": dict(one.data_id)}) + "\n"
        for one in outcomes
    ]
    with path.open("a", encoding="utf-8") as stream:
        stream.write("".join(lines))


def read_outcomes(path: Path) -> dict[uuid.UUID, QuantumOutcome]:
    """Return the last outcome of each quantum in a file; none if the file does not exist.

    A last line that was cut off, since its writer was killed, is ignored.
    """
    found: dict[uuid.UUID, QuantumOutcome] = {}
    if not path.exists():
        return found
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        row |= {"quantum_id": uuid.UUID(row["quantum_id"]), "state": State(row["state"])}
        outcome = QuantumOutcome(**row)
        found[outcome.quantum_id] = outcome
    return found
