"""The telescope's announcement of a visit, as a whole and for one detector.

Attributes have the names of the observatory's event schema.
"""
# ruff: noqa: N815  (these names are in mixed case)

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from enum import IntEnum
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)

from prompt_processing.domain.clock import tai_to_utc
from prompt_processing.domain.errors import InvalidVisitError, MalformedMessageError
from prompt_processing.domain.json_text import parse_json


class CoordinateSystem(IntEnum):
    """Coordinate system of a position."""

    NONE = 1
    ICRS = 2
    OBSERVED = 3
    MOUNT = 4


class RotationSystem(IntEnum):
    """Reference of the camera angle."""

    NONE = 1
    SKY = 2
    HORIZON = 3
    MOUNT = 4


class Dome(IntEnum):
    """State of the dome that the visit needs."""

    CLOSED = 1
    OPEN = 2
    EITHER = 3


def _blank_if_null(value: Any) -> Any:
    # Avro unions of the summit's schema may be null where JSON senders write an empty string.
    return "" if value is None else value


def _default_if_null(value: Any, validate: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
    # What no step needs stops no visit. Python and Avro write an unknown number as NaN, streams as its name.
    is_nan = (
        value.lower() == "nan" if isinstance(value, str) else isinstance(value, float) and math.isnan(value)
    )
    is_unknown = value is None or is_nan
    return validate({"dome": Dome.EITHER}.get(info.field_name or "", 0) if is_unknown else value)


OptionalText = Annotated[str, BeforeValidator(_blank_if_null)]

_Unneeded = WrapValidator(_default_if_null)

UnixSeconds = Annotated[FiniteFloat, Field(ge=0, lt=2.5e11)]
"""A time that Python's calendar can represent: until the year 9892."""

_UNUSABLE_IN_NAMES = re.compile(r"[\x00-\x1f\x7f/]|\A\.{1,2}\Z")
_LONGEST_GROUP = 64
"""Longest name of the Butler's dimension ``group``."""
_TIME = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?")
"""The observatory names groups after a time, TAI."""


class NextVisit(BaseModel):
    """A visit as the telescope announces it on ``next_visit``.

    Frozen; unknown fields are ignored. Angles are in degrees, times in TAI Unix
    seconds, durations in seconds.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    salIndex: int
    """Script queue; it also names a test group of detectors."""
    scriptSalIndex: Annotated[int, _Unneeded] = 0
    """Script that takes the visit."""
    groupId: str = Field(min_length=1)
    """The observatory's id of the visit, the Butler's ``group``."""
    coordinateSystem: CoordinateSystem
    """Coordinate system of ``position``."""
    position: tuple[FiniteFloat, FiniteFloat] | None = None
    """Right ascension and declination if ``coordinateSystem`` is ICRS."""
    startTime: Annotated[UnixSeconds, _Unneeded] = 0.0
    """Expected start of the first exposure, TAI."""
    rotationSystem: RotationSystem
    """Reference of ``cameraAngle``."""
    cameraAngle: FiniteFloat = 0.0
    """Angle of the camera; on the sky, the angle of focal-plane +Y, east of north."""
    filters: OptionalText = ""
    """Physical filter; may be empty."""
    dome: Annotated[Dome, _Unneeded] = Dome.EITHER
    """State of the dome."""
    duration: FiniteFloat = Field(ge=0)
    """Seconds that the script takes; not the exposure time."""
    nimages: Annotated[int, Field(ge=0), _Unneeded]
    """Number of snaps; 0 if not known in advance."""
    instrument: OptionalText = ""
    """Short name of the instrument; empty if the script observes nothing."""
    survey: OptionalText = ""
    """Short name of the survey."""
    totalCheckpoints: Annotated[int, _Unneeded] = 0
    """Checkpoints of the script."""
    private_sndStamp: UnixSeconds
    """Time at which the summit published the message, TAI."""

    @field_validator("*", mode="before")
    @classmethod
    def _no_switch(cls, value: Any) -> Any:
        """Refuse true and false, which Python takes for the numbers 1 and 0."""
        parts = value if isinstance(value, list | tuple) else (value,)
        if any(isinstance(part, bool) for part in parts):
            raise ValueError("true and false are neither numbers nor texts")
        return value

    @field_validator("position", "cameraAngle", mode="wrap")
    @classmethod
    def _not_without_its_system(
        cls, value: Any, validate: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> Any:
        """Accept any value, such as NaN, that its coordinate or rotation system declares to be none."""
        try:
            return validate(value)
        except ValidationError:
            if info.field_name == "position" and info.data.get("coordinateSystem") is CoordinateSystem.NONE:
                return None
            if info.field_name == "cameraAngle" and info.data.get("rotationSystem") is RotationSystem.NONE:
                return 0.0
            raise

    @classmethod
    def parse(cls, data: object) -> Self:
        """Make a visit from decoded JSON, or from a string that holds JSON.

        Parameters
        ----------
        data : `dict`, `str` or `bytes`
            The message.

        Returns
        -------
        visit : `NextVisit`
            The visit.

        Raises
        ------
        MalformedMessageError
            Raised if the message is not a visit; the reason names the fields.
        """
        if isinstance(data, str | bytes | bytearray):
            try:
                data = parse_json(data)
            except ValueError as error:
                raise MalformedMessageError(f"The visit is not JSON: {error}") from error
        if not isinstance(data, Mapping):
            raise MalformedMessageError(f"The visit is not a JSON object but a {type(data).__name__}.")
        try:
            return cls.model_validate(dict(data))
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()
            )
            raise MalformedMessageError(f"Not a visit: {problems}") from error

    @property
    def ra(self) -> float | None:
        """Right ascension of the boresight, degrees in [0, 360), if known."""
        if self.coordinateSystem is not CoordinateSystem.ICRS or self.position is None:
            return None
        return self.position[0] % 360.0

    @property
    def dec(self) -> float | None:
        """Declination of the boresight, degrees, if known."""
        if self.coordinateSystem is not CoordinateSystem.ICRS or self.position is None:
            return None
        return self.position[1]

    @property
    def rotation(self) -> float | None:
        """Rotation of the camera on the sky, degrees, if known."""
        return self.cameraAngle if self.rotationSystem is RotationSystem.SKY else None

    @property
    def has_region(self) -> bool:
        """Whether position and rotation determine the sky region of a detector."""
        return self.ra is not None and self.rotation is not None

    def age(self, now_unix_utc: float) -> float:
        """Return the time since the summit published the visit.

        Parameters
        ----------
        now_unix_utc : `float`
            Current time, as from `time.time`.

        Returns
        -------
        age : `float`
            Age, seconds.
        """
        return now_unix_utc - tai_to_utc(self.private_sndStamp)

    @property
    def group_time(self) -> float | None:
        """When the group was named, Unix seconds, TAI; `None` if its name is not a time.

        A replayed visit has a new `private_sndStamp`, and the group of its night.
        """
        if _TIME.fullmatch(self.groupId) is None:
            return None
        with suppress(ValueError):
            return datetime.fromisoformat(f"{self.groupId}+00:00").timestamp()
        return None

    def require_usable(self) -> None:
        """Refuse a visit with unusable fields.

        Raises
        ------
        InvalidVisitError
            Raised for a coordinate or rotation system that cannot be turned
            into a region, for a position that is missing or not on the sky,
            for a group that is not usable as a name, and for a visit without
            an instrument.
        """
        if not self.instrument:
            raise InvalidVisitError(f"Visit {self.groupId} has no instrument: it is not an observation.")
        if _UNUSABLE_IN_NAMES.search(self.groupId) or len(self.groupId) > _LONGEST_GROUP:
            # The group becomes part of object keys, which must stay in their folder, and a name in databases.
            raise InvalidVisitError(f"{self.groupId[:_LONGEST_GROUP]!r} cannot be the name of a group.")
        if self.coordinateSystem not in (CoordinateSystem.NONE, CoordinateSystem.ICRS):
            raise InvalidVisitError(
                f"Visit {self.groupId} has coordinateSystem {self.coordinateSystem.name}; only ICRS is valid."
            )
        if self.rotationSystem not in (RotationSystem.NONE, RotationSystem.SKY):
            raise InvalidVisitError(
                f"Visit {self.groupId} has rotationSystem {self.rotationSystem.name}; only SKY is valid."
            )
        if self.coordinateSystem is CoordinateSystem.ICRS:
            if self.position is None:
                raise InvalidVisitError(f"Visit {self.groupId} is in ICRS but has no position.")
            if not -90.0 <= self.position[1] <= 90.0:
                raise InvalidVisitError(f"Visit {self.groupId} has declination {self.position[1]}.")

    def for_detector(self, detector: int) -> FannedOutVisit:
        """Return the visit of one detector.

        Parameters
        ----------
        detector : `int`
            Detector id.

        Returns
        -------
        visit : `FannedOutVisit`
            The same visit with a detector.
        """
        return FannedOutVisit.model_validate({**self.model_dump(), "detector": detector})


class FannedOutVisit(NextVisit):
    """The visit of one detector: the work of one worker."""

    detector: int = Field(ge=0)
    """Detector id."""

    def __str__(self) -> str:
        return f"{self.instrument} {self.groupId} detector {self.detector}"

    def to_stream_entry(self) -> dict[str, str]:
        """Write the visit as an entry of a Redis stream.

        Returns
        -------
        entry : `dict` [`str`, `str`]
            Fields as strings. Without a coordinate system, the position is zero, because readers expect one.
        """
        fields = self.model_dump(mode="json", exclude_none=True)
        if self.coordinateSystem is CoordinateSystem.NONE:
            fields.setdefault("position", [0.0, 0.0])
        return {
            name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()
        }

    @classmethod
    def from_stream_entry(cls, entry: Mapping[Any, Any]) -> Self:
        """Read an entry of a Redis stream.

        Parameters
        ----------
        entry : mapping
            Names and values, strings or bytes.

        Returns
        -------
        visit : `FannedOutVisit`
            The visit.

        Raises
        ------
        MalformedMessageError
            Raised if the entry is not a visit.
        """
        try:
            fields: dict[str, Any] = {_text(name): _text(value) for name, value in entry.items()}
        except ValueError as error:
            raise MalformedMessageError(f"The stream entry cannot be read: {error}") from error
        if "position" in fields:
            # Whether a position is necessary is decided with the other fields.
            with suppress(ValueError):
                fields["position"] = parse_json(fields["position"])
        return cls.parse(fields)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes | bytearray) else str(value)
