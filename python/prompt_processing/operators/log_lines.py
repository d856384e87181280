"""Read lines of the service's log, whatever ``kubectl`` or other programs added to them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from prompt_processing.domain.json_text import parse_json

LEVELS = {"TRACE": 5, "DEBUG": 10, "VERBOSE": 15, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}
"""Numbers of the levels, by their names in the service's log."""

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class LogLine:
    """One line of a log.

    Attributes
    ----------
    text
        The message, or the whole line if it is not the service's.
    is_ours
        Whether the service wrote the line.
    level, name
        Level and logger; empty for lines of other programs.
    time
        When the line was written.
    instrument, group, survey
        Of the visit; empty if the line is not about a visit.
    detector
        Of the visit.
    process
        Process id.
    traceback
        Traceback; empty if there is none.
    outcome
        How the visit ended, if the line reports it.
    """

    text: str
    is_ours: bool = False
    level: str = ""
    name: str = ""
    time: datetime | None = None
    instrument: str = ""
    group: str = ""
    survey: str = ""
    detector: int | None = None
    process: int | None = None
    traceback: str = ""
    outcome: Mapping[str, Any] | None = field(default=None)

    @property
    def severity(self) -> int:
        """Number of the level; lines of other programs count as INFO, so that they are shown."""
        return LEVELS.get(self.level, LEVELS["INFO"])

    @property
    def visit(self) -> tuple[str, str, int] | None:
        """Instrument, group and detector, if the line is about a visit."""
        if not self.group or self.detector is None:
            return None
        return self.instrument, self.group, self.detector


def read_line(line: str) -> LogLine:
    """Parse a line.

    Parameters
    ----------
    line
        Line of a file or of ``kubectl logs``. A pod's name or a time may precede it, and another program may
        have written it.

    Returns
    -------
    line
        The line, without control sequences of terminals.
    """
    start = line.find("{")
    if start >= 0:
        try:
            found = parse_json(line[start:])
        except ValueError:
            found = None
        if isinstance(found, dict) and isinstance(found.get("message"), str) and "level" in found:
            return _ours(found)
    return LogLine(printable(line.rstrip("\r\n")))


def printable(text: str) -> str:
    """Replace characters that move the cursor or reverse text."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def _ours(found: Mapping[str, Any]) -> LogLine:
    outcome = found.get("outcome")
    return LogLine(
        text=printable(found["message"]),
        is_ours=True,
        level=_text(found.get("level")).upper(),
        name=_text(found.get("name")),
        time=_time(found.get("asctime")),
        instrument=_text(found.get("instrument")),
        group=_text(found.get("group")),
        survey=_text(found.get("survey")),
        detector=_number(found.get("detector")),
        process=_number(found.get("process")),
        traceback=_text(found.get("exc_info")),
        outcome=outcome if isinstance(outcome, dict) else None,
    )


def _text(value: Any) -> str:
    return "" if value is None else printable(str(value))


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _time(value: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
