"""The message that says what became of a visit's detector, from workers to pages.

Version 1, JSON, one object a message. Delivery is at least once and in any order: a message repeats all that
is known of the visit, and its ``attempt`` makes it recognisable.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, ValidationError

from prompt_processing.domain.clock import day_obs, tai_to_utc
from prompt_processing.domain.errors import MalformedMessageError
from prompt_processing.domain.json_text import parse_json
from prompt_processing.domain.outcome import Outcome
from prompt_processing.domain.visit import NextVisit

__all__ = ["LARGEST_MESSAGE", "OutcomeMessage", "storable_text"]

LARGEST_MESSAGE = 64 * 1024
"""Bytes; larger messages are refused. A usual one has about two thousand."""

_LONGEST_REASON = 1000
_LONGEST_NAME = 100
_MOST_NUMBERS = 150
_MOST_DETECTORS = 1000
_MOST_EXPOSURES = 20
_NOT_STORABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
"""Control characters, which terminals obey and PostgreSQL refuses, and halves of characters."""


def storable_text(text: str, length: int = _LONGEST_NAME) -> str:
    """Return a text as databases can keep it: cut, and without control characters.

    Parameters
    ----------
    text
        Any text.
    length
        Largest number of characters.
    """
    # Cut before the search: a reason may have megabytes.
    plain = _NOT_STORABLE.sub("\ufffd", text[: length + 1])
    return plain if len(plain) <= length else f"{plain[: length - 1]}…"


def _reason(value: Any) -> Any:
    return storable_text(value, _LONGEST_REASON) if isinstance(value, str) else value


def _name(value: Any) -> Any:
    return storable_text(value) if isinstance(value, str) else value


def _numbers(value: Any) -> Any:
    """Keep what a database and a page can show: finite numbers with short names, not too many of them."""
    if not isinstance(value, Mapping):
        return value
    kept: dict[str, float] = {}
    for name, number in value.items():
        if isinstance(number, bool):
            number = int(number)
        if not isinstance(number, int | float) or abs(number) > 1e300 or not math.isfinite(number):
            continue
        kept[storable_text(str(name))] = number
        if len(kept) == _MOST_NUMBERS:
            break
    return kept


Name = Annotated[str, BeforeValidator(_name)]
Numbers = Annotated[dict[str, int | float], BeforeValidator(_numbers)]
Seconds = Annotated[FiniteFloat, Field(ge=0, lt=1e11)]
Id = Annotated[int, Field(ge=0, lt=2**63)]


class OutcomeMessage(BaseModel):
    """One event in the life of a visit's detectors.

    Unknown fields are ignored; long texts are cut. Times are Unix seconds, UTC.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: Literal["visit-outcome"] = "visit-outcome"
    version: Literal[1] = 1
    event: Literal["announced", "began", "ended"]
    """``announced`` by the fan-out for all detectors, ``began`` and ``ended`` by the worker of one."""
    at: Seconds
    """Time of the event."""

    instrument: Annotated[Name, Field(min_length=1)]
    group: Annotated[Name, Field(min_length=1)]
    night: Annotated[int, Field(ge=1900_01_01, le=9999_12_31)]
    """Observing day of the announcement, ``YYYYMMDD``."""
    announced: Seconds
    """Publication of the visit."""
    detectors: Annotated[
        tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], Field(min_length=1, max_length=_MOST_DETECTORS)
    ]
    """Detectors that the event is about."""
    survey: Name = ""
    filter: Name = ""
    ra: FiniteFloat | None = None
    """Boresight, degrees."""
    dec: FiniteFloat | None = None
    """Boresight, degrees."""
    rotation: FiniteFloat | None = None
    """Rotation of the camera on the sky, degrees."""
    snaps: Annotated[int, Field(ge=0, lt=1000)] = 0
    """Images that the visit announced; 0 if unknown."""

    attempt: Name = ""
    """Different for each attempt of a worker; empty for ``announced``."""
    began: Seconds | None = None
    """Begin of the attempt, repeated at its end."""
    host: Name = ""
    """Name of the worker's machine."""
    software: Name = ""
    """Version and deployment of the worker."""

    status: Literal["", "processed", "stale", "skipped", "invalid", "failed", "retriable"] = ""
    """Label of the outcome; empty unless the attempt has ended."""
    reason: Annotated[str, BeforeValidator(_reason)] = ""
    retry: Literal["useless", "unsafe"] | None = None
    pipeline: Name | None = None
    exposures: Annotated[tuple[Id, ...], Field(max_length=_MOST_EXPOSURES)] = ()
    exported: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    image_arrival: Seconds | None = None
    last_alert: Seconds | None = None
    stages: Numbers = Field(default_factory=dict)
    """Seconds by stage."""
    tasks: Numbers = Field(default_factory=dict)
    """Seconds by task label."""
    counts: Numbers = Field(default_factory=dict)
    """Sources, alerts and so on."""
    metrics: Numbers = Field(default_factory=dict)
    """Quality of image and calibration, as ``task.metric``."""

    @classmethod
    def of_visit(
        cls,
        event: Literal["announced", "began", "ended"],
        at: float,
        visit: NextVisit,
        detectors: Sequence[int],
        **further: Any,
    ) -> Self:
        """Make a message about a visit.

        Parameters
        ----------
        event
            The event.
        at
            Its time.
        visit
            The visit.
        detectors
            Detectors that the event is about.
        **further
            Other fields.
        """
        announced = tai_to_utc(visit.private_sndStamp)
        return cls(
            event=event,
            at=max(0.0, at),
            instrument=visit.instrument,
            group=visit.groupId,
            night=day_obs(announced),
            announced=max(0.0, announced),
            detectors=tuple(detectors),
            survey=visit.survey,
            filter=visit.filters,
            ra=visit.ra,
            dec=visit.dec,
            rotation=visit.rotation,
            snaps=min(visit.nimages, 999),
            **further,
        )

    @classmethod
    def of_outcome(
        cls,
        at: float,
        visit: NextVisit,
        detector: int,
        outcome: Outcome,
        metrics: Mapping[str, float] | None = None,
        **further: Any,
    ) -> Self:
        """Make the message at the end of an attempt.

        Parameters
        ----------
        at
            Time of the end.
        visit, detector
            What was processed.
        outcome
            The outcome.
        metrics
            Quality of image and calibration.
        **further
            Other fields: attempt, host, software.
        """
        return cls.of_visit(
            "ended",
            at,
            visit,
            (detector,),
            status=outcome.status.label,
            reason=outcome.reason,
            retry=outcome.retry,
            pipeline=outcome.pipeline,
            exposures=outcome.exposures[:_MOST_EXPOSURES],
            exported=outcome.exported,
            image_arrival=outcome.image_arrival,
            last_alert=outcome.last_alert,
            stages=outcome.stages,
            tasks={label: round(seconds, 4) for label, seconds in outcome.tasks.items()},
            counts=outcome.counts,
            metrics=metrics or {},
            **further,
        )

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a message.

        Parameters
        ----------
        data
            JSON.

        Raises
        ------
        MalformedMessageError
            Raised if it is too large or is another message; the reason names the fields, but no value.
        """
        if len(data) > LARGEST_MESSAGE:
            raise MalformedMessageError(f"It has {len(data)} bytes; {LARGEST_MESSAGE} are allowed.")
        try:
            return cls.model_validate(parse_json(data))
        except ValidationError as error:
            found = error.errors(include_input=False, include_url=False, include_context=False)
            shown = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in found[:5])
            raise MalformedMessageError(f"Not an outcome: {shown}") from error
        except ValueError as error:
            raise MalformedMessageError(f"Not JSON: {error}") from error

    def encode(self) -> bytes:
        """Return the message as JSON without line breaks; what does not fit is left out, metrics first."""
        full = self.model_dump(mode="json", exclude_defaults=True)
        # Readers tell versions apart.
        full |= {"type": self.type, "version": self.version}
        for dropped in ((), ("metrics",), ("metrics", "tasks"), ("metrics", "tasks", "counts", "detectors")):
            # ASCII: a reason cannot break a line of a log or a file.
            data = json.dumps({name: value for name, value in full.items() if name not in dropped}).encode()
            if len(data) <= LARGEST_MESSAGE:
                return data
        raise MalformedMessageError(f"The message has more than {LARGEST_MESSAGE} bytes.")
