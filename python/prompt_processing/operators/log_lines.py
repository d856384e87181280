"""Our log's lines, whatever has come between us and them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from prompt_processing.domain.json_text import parse_json

LEVELS = {"TRACE": 5, "DEBUG": 10, "VERBOSE": 15, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}
"""Numbers of the levels, as the service's log names them."""

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class LogLine:
    """One line.

    Attributes
    ----------
    text : `str`
        The message, or the line as it is if it is none of ours.
    is_ours : `bool`
        Whether it is one of the service's.
    level, name : `str`
        Empty for those of others.
    time : `~datetime.datetime` or `None`
        When it was written.
    instrument, group, survey : `str`
        The visit's, empty if it is about none.
    detector : `int` or `None`
        The visit's.
    process : `int` or `None`
        Process id.
    traceback : `str`
        Empty if there is none.
    outcome : mapping or `None`
        How the visit ended, if that is what it tells.
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
        """Number of the level; lines of others count as INFO, so that they are not lost."""
        return LEVELS.get(self.level, LEVELS["INFO"])

    @property
    def visit(self) -> tuple[str, str, int] | None:
        """Instrument, group and detector, if it is about a visit."""
        if not self.group or self.detector is None:
            return None
        return self.instrument, self.group, self.detector


def read_line(line: str) -> LogLine:
    """Read a line.

    Parameters
    ----------
    line : `str`
        As it is in a file, or as ``kubectl logs`` shows it: perhaps with the name of the pod or a time before
        it, perhaps written by somebody else altogether.

    Returns
    -------
    line : `LogLine`
        Without anything that a terminal would take for a command.
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
    """Replace what moves the cursor, or turns text around."""
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
