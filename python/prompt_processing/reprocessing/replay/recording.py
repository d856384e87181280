"""The messages of a night in a file: one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from prompt_processing.domain.clock import night, tai_to_utc
from prompt_processing.domain.errors import MalformedMessageError
from prompt_processing.domain.json_text import parse_json
from prompt_processing.domain.notices import parse_notices
from prompt_processing.domain.visit import NextVisit

from ..errors import ReprocessingError

__all__ = ["Kind", "Recorded", "announcement", "arrival", "of_night", "read_recording", "write_recording"]

Kind = Literal["announcement", "arrival"]


@dataclass(frozen=True, slots=True)
class Recorded:
    """One message.

    Attributes
    ----------
    kind
        Announcement of a visit, or notice that an object has arrived.
    time
        When it was published, Unix seconds, UTC.
    text
        The message as JSON.
    """

    kind: Kind
    time: float
    text: str


def announcement(visit: NextVisit) -> Recorded:
    """Return an announcement, whose time is that of its publication by the summit."""
    return Recorded("announcement", tai_to_utc(visit.private_sndStamp), visit.model_dump_json())


def arrival(message: bytes | str, published: float) -> Recorded | None:
    """Return a notice; `None` if it announces no new object.

    Parameters
    ----------
    message
        S3 event.
    published
        When it was published, Unix seconds, UTC; its own time is preferred.

    Raises
    ------
    MalformedMessageError
        Raised if it is not an S3 event.
    """
    notices = parse_notices(message)
    if not notices:
        return None
    text = message.decode() if isinstance(message, bytes) else message
    return Recorded("arrival", notices[0].arrival or published, text)


def of_night(messages: Iterable[Recorded], wanted: str) -> list[Recorded]:
    """Return the messages of a night (``YYYY-MM-DD``), in the order of time."""
    return sorted((one for one in messages if night(one.time) == wanted), key=lambda one: one.time)


def write_recording(path: Path, messages: Iterable[Recorded]) -> int:
    """Write messages to a file, and return their number."""
    number = 0
    partial = path.with_name(f".{path.name}.part")
    with partial.open("w", encoding="utf-8") as file:
        for one in messages:
            row = {"kind": one.kind, "time": one.time, "message": parse_json(one.text)}
            file.write(json.dumps(row) + "\n")
            number += 1
    partial.replace(path)
    return number


def read_recording(path: Path) -> Iterator[Recorded]:
    """Yield the messages of a file.

    Raises
    ------
    ReprocessingError
        Raised if a line is not a message; the error names the line.
    """
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = parse_json(line)
                kind, time, text = row["kind"], float(row["time"]), json.dumps(row["message"])
                if kind == "announcement":
                    NextVisit.parse(text)
                elif kind == "arrival":
                    parse_notices(text)
                else:
                    raise ValueError(f"{kind!r} is not a kind of message")
            except (ValueError, KeyError, TypeError, MalformedMessageError) as error:
                raise ReprocessingError(f"{path}, line {number}: not a recorded message: {error}") from error
            yield Recorded(kind, time, text)
